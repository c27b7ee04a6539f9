//! Instructions that compute.

use super::{Body, modifiers::Name};
use crate::{
    arith::{binary, unary},
    carry::Carried,
    error::ParseError,
    inst::{Binary, CarryOp, Conversion, Op, Part, Rounding, Unary},
    lanes::WARP,
    types::Type,
};

impl<'a> Body<'_, '_, 'a> {
    /// Instructions of one or two operands.
    pub(super) fn arithmetic(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        let op = match name.first() {
            "add" => Binary::Add,
            "sub" => Binary::Sub,
            "mul" => Binary::Mul(name.part()),
            "div" if name.has("approx") => Binary::DivApproximately,
            "div" => Binary::Div,
            "rem" => Binary::Rem,
            "min" if name.has("NaN") => Binary::MinOrNan,
            "max" if name.has("NaN") => Binary::MaxOrNan,
            "min" => Binary::Min,
            "max" => Binary::Max,
            "and" => Binary::And,
            "or" => Binary::Or,
            "xor" => Binary::Xor,
            "shl" => Binary::ShiftLeft,
            "shr" => Binary::ShiftRight,
            "copysign" => Binary::CopySign,
            _ => return self.unary(name, ty),
        };
        // What it gives says whether the type has it.
        binary(op, ty, name.rounding(), (&[0; WARP], &[0; WARP])).ok_or_else(|| name.unknown())?;
        let dst = self.register()?;
        let a = self.next_operand(ty)?;
        let is_shift = matches!(op, Binary::ShiftLeft | Binary::ShiftRight);
        let b = self.next_operand(if is_shift { Type::U32 } else { ty })?;
        Ok(Op::Binary { op, ty, rounding: name.rounding(), dst, a, b })
    }

    fn unary(&mut self, name: &Name<'a>, ty: Type) -> Result<Op, ParseError> {
        let op = match name.first() {
            "neg" => Unary::Neg,
            "abs" => Unary::Abs,
            "not" => Unary::Not,
            "rcp" => Unary::Reciprocal,
            "sqrt" => Unary::SquareRoot,
            "rsqrt" => Unary::ReciprocalRoot,
            "ex2" => Unary::Exp2,
            "lg2" => Unary::Log2,
            "clz" => Unary::LeadingZeros,
            "popc" => Unary::CountOnes,
            "brev" => Unary::ReverseBits,
            _ => return Err(name.unknown()),
        };
        let of_zeros = unary(op, ty, &[0; WARP]).filter(|_| !name.flushes() || ty.is_float());
        of_zeros.ok_or_else(|| name.unknown())?;
        let dst = self.register()?;
        let a = self.next_operand(ty)?;
        Ok(Op::Unary { op, ty, flushes: name.flushes(), dst, a })
    }

    pub(super) fn fma(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let (ty, rounding) = (name.ty()?, name.rounding());
        // Rounding to the nearest is all that a product with 64 bits has.
        if !ty.is_float() || ty == Type::F64 && rounding != Rounding::Nearest {
            return Err(name.unknown());
        }
        let dst = self.register()?;
        let factors = [self.next_operand(ty)?, self.next_operand(ty)?];
        Ok(Op::Fma { ty, rounding, dst, factors, c: self.next_operand(ty)? })
    }

    pub(super) fn mad(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let (ty, part) = (name.ty()?, name.part());
        if ty.is_float() {
            return self.fma(name);
        }
        let dst = self.register()?;
        let factors = [self.next_operand(ty)?, self.next_operand(ty)?];
        let wide = if part == Part::Wide { Type::B64 } else { ty };
        Ok(Op::Mad { part, ty, dst, factors, c: self.next_operand(wide)? })
    }

    /// Reads an instruction of which something is carried on, or that takes what was.
    pub(super) fn carrying(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        let is_whole = matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::S64);
        let op = match name.first() {
            "add" | "addc" => Carried::Add,
            "sub" | "subc" => Carried::Sub,
            _ => Carried::Mad(name.part()),
        };
        let is_exact = name.rounding_or_none().is_none() && name.part() != Part::Wide;
        if !is_whole || !is_exact {
            return Err(name.unknown());
        }
        let (reads_carry, writes_carry) = (name.first().ends_with('c'), name.has("cc"));
        let dst = self.register()?;
        let operands = (0..op.num_operands()).map(|_| self.next_operand(ty));
        let operands = operands.collect::<Result<_, _>>()?;
        let carry = self.names.carry();
        Ok(Op::Carry(CarryOp { op, ty, dst, operands, carry, reads_carry, writes_carry }))
    }

    pub(super) fn insert(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        let dst = self.register()?;
        let (a, b) = (self.next_operand(ty)?, self.next_operand(ty)?);
        let (start, length) = (self.next_operand(Type::U32)?, self.next_operand(Type::U32)?);
        Ok(Op::Insert { ty, dst, a, b, start, length })
    }

    pub(super) fn compare(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let test = name.test(name.ty()?)?;
        let dst = self.register()?;
        let a = self.next_operand(test.ty)?;
        Ok(Op::Compare { test, dst, a, b: self.next_operand(test.ty)? })
    }

    pub(super) fn set(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let (ty, of) = name.two_types()?;
        let test = name.test(of)?;
        let dst = self.register()?;
        let a = self.next_operand(of)?;
        Ok(Op::Set { test, ty, dst, a, b: self.next_operand(of)? })
    }

    pub(super) fn select(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        let dst = self.register()?;
        let (a, b) = (self.next_operand(ty)?, self.next_operand(ty)?);
        Ok(Op::Select { dst, a, b, condition: self.next_operand(Type::Pred)? })
    }

    pub(super) fn convert(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let (to, from) = name.two_types()?;
        let conversion = Conversion {
            to,
            from,
            rounding: name.rounding(),
            is_whole: name.rounds_to_whole(),
            saturates: name.has("sat"),
        };
        let dst = self.register()?;
        Ok(Op::Convert { conversion, dst, a: self.next_operand(from)? })
    }
}
