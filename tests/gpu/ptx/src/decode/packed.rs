//! Instructions on words that hold several numbers.

use super::{Body, modifiers::Name};
use crate::{
    error::ParseError,
    inst::{Binary, Op, Pairwise, Part, Unary},
    lanes::WARP,
    packed::pairwise,
    types::Type,
};

impl<'a> Body<'_, '_, 'a> {
    pub(super) fn dot_bytes(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let is_signed = |part: &str| match part {
            "s32" => Ok(true),
            "u32" => Ok(false),
            _ => Err(name.unknown()),
        };
        let &[a, b] = name.modifiers() else { return Err(name.unknown()) };
        let are_signed = [is_signed(a)?, is_signed(b)?];
        let dst = self.register()?;
        let factors = [self.next_operand(Type::B32)?, self.next_operand(Type::B32)?];
        Ok(Op::DotBytes { are_signed, dst, factors, c: self.next_operand(Type::B32)? })
    }

    pub(super) fn permute(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        if name.modifiers() != ["b32"] {
            return Err(name.unknown());
        }
        let dst = self.register()?;
        let (a, b) = (self.next_operand(Type::B32)?, self.next_operand(Type::B32)?);
        Ok(Op::Permute { dst, a, b, selector: self.next_operand(Type::B32)? })
    }

    /// Reads an instruction on two floats at once, by the rules of the one on a single one.
    ///
    /// Source: PTX ISA 9.0, section 9.7.4, half precision floating point instructions.
    pub(super) fn pairwise(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = if name.has("f16x2") { Type::F16 } else { Type::Bf16 };
        let op = match (name.first(), name.has("NaN")) {
            ("add", _) => Pairwise::Binary(Binary::Add),
            ("sub", _) => Pairwise::Binary(Binary::Sub),
            ("mul", _) => Pairwise::Binary(Binary::Mul(Part::Low)),
            ("min", true) => Pairwise::Binary(Binary::MinOrNan),
            ("max", true) => Pairwise::Binary(Binary::MaxOrNan),
            ("min", false) => Pairwise::Binary(Binary::Min),
            ("max", false) => Pairwise::Binary(Binary::Max),
            ("neg", _) => Pairwise::Unary(Unary::Neg),
            ("abs", _) => Pairwise::Unary(Unary::Abs),
            ("fma", _) => Pairwise::Fma,
            _ => return Err(name.unknown()),
        };
        let is_exact = |part: &&str| ["rn", "NaN", "f16x2", "bf16x2"].contains(part);
        if !name.modifiers().iter().all(is_exact) {
            return Err(name.unknown());
        }
        pairwise(op, ty, &[[0; WARP]; 3]).ok_or_else(|| name.unknown())?;
        let dst = self.register()?;
        let operands = (0..op.num_operands()).map(|_| self.next_operand(Type::B32));
        Ok(Op::Pairwise { op, ty, dst, operands: operands.collect::<Result<_, _>>()? })
    }
}
