//! Instructions that move values: between registers, to and from memory, between lanes.

use super::{Body, modifiers::Name};
use crate::{
    arith::binary,
    error::ParseError,
    inst::{Address, Atomic, AtomicOp, Binary, Op, Rounding, Shuffle, ShuffleOp, Space},
    lanes::WARP,
    memory::MAX_BYTES,
    types::Type,
};

impl<'a> Body<'_, '_, 'a> {
    pub(super) fn load(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let (space, ty) = (name.space(), name.ty()?);
        let dsts = self.listed(Self::register)?;
        if dsts.len() != name.vector() || dsts.len() * ty.bytes() > MAX_BYTES {
            return Err(name.unknown());
        }
        self.comma()?;
        let (space, address) = self.place(space, name)?;
        Ok(Op::Load { space, ty, dsts, address })
    }

    pub(super) fn store(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        let (space, address) = self.place(name.space(), name)?;
        self.comma()?;
        let values = self.listed(|body| body.operand(ty))?;
        if values.len() != name.vector() || values.len() * ty.bytes() > MAX_BYTES {
            return Err(name.unknown());
        }
        Ok(Op::Store { space, ty, values, address })
    }

    /// Reads an address, and says in which space it is: parameters of calls are in local memory.
    fn place(&mut self, space: Space, name: &Name<'a>) -> Result<(Space, Address), ParseError> {
        let is_argument = self.is_at_argument();
        let address = self.address()?;
        match (space, is_argument) {
            (Space::Param, true) => Ok((Space::Local, address)),
            // In a function, a register does not tell.
            (Space::Param, false) if !self.calls.is_empty() => Err(name.unknown()),
            _ => Ok((space, address)),
        }
    }

    pub(super) fn atomic(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ops = [
            ("add", Atomic::Combine(Binary::Add)),
            ("min", Atomic::Combine(Binary::Min)),
            ("max", Atomic::Combine(Binary::Max)),
            ("and", Atomic::Combine(Binary::And)),
            ("or", Atomic::Combine(Binary::Or)),
            ("exch", Atomic::Exchange),
            ("cas", Atomic::CompareAndSwap),
        ];
        let op = ops.into_iter().find(|(known, _)| name.has(known));
        let (_, op) = op.ok_or_else(|| name.unknown())?;
        let ty = name.ty()?;
        let zeros = [0; WARP];
        if let Atomic::Combine(op) = op
            && binary(op, ty, Rounding::Nearest, (&zeros, &zeros)).is_none()
        {
            return Err(name.unknown());
        }
        let mut dst = None;
        if name.first() == "atom" {
            dst = self.target()?;
            self.comma()?;
        }
        let address = self.address()?;
        let b = self.next_operand(ty)?;
        let c = match op {
            Atomic::CompareAndSwap => Some(self.next_operand(ty)?),
            _ => None,
        };
        let space = name.space();
        Ok(Op::Atomic(AtomicOp { op, space, ty, dst, address, operands: (b, c) }))
    }

    pub(super) fn shuffle(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let modes = [
            ("up", Shuffle::Up),
            ("down", Shuffle::Down),
            ("bfly", Shuffle::Butterfly),
            ("idx", Shuffle::Index),
        ];
        let mode = modes.into_iter().find(|(known, _)| name.has(known));
        let (_, mode) = mode.ok_or_else(|| name.unknown())?;
        let dst = self.register()?;
        let is_in_range = if self.parser.take("|") { Some(self.register()?) } else { None };
        let a = self.next_operand(Type::B32)?;
        let by = self.next_operand(Type::U32)?;
        let clamp = self.next_operand(Type::U32)?;
        let members = self.next_operand(Type::U32)?;
        Ok(Op::Shuffle(ShuffleOp { mode, dst, is_in_range, a, by, clamp, members }))
    }

    pub(super) fn convert_address(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        let dst = self.register()?;
        let a = self.next_operand(ty)?;
        let space = name.space();
        Ok(if name.has("to") {
            Op::FromGeneric { space, dst, a }
        } else {
            Op::ToGeneric { space, dst, a }
        })
    }

    pub(super) fn mov(&mut self, name: &Name<'a>) -> Result<Op, ParseError> {
        let ty = name.ty()?;
        if self.parser.peek().is_some_and(|token| token.text == "{") {
            let dsts = self.listed(Self::target)?;
            let bits = part_bits(ty, dsts.len(), name)?;
            return Ok(Op::Unpack { bits, dsts, a: self.next_operand(ty)? });
        }
        let dst = self.register()?;
        self.comma()?;
        if self.parser.peek().is_some_and(|token| token.text == "{") {
            let parts = self.listed(|body| body.operand(ty))?;
            return Ok(Op::Pack { bits: part_bits(ty, parts.len(), name)?, dst, parts });
        }
        Ok(Op::Move { dst, a: self.operand(ty)? })
    }
}

/// Bits of each of so many parts of a value.
fn part_bits(ty: Type, num_parts: usize, name: &Name<'_>) -> Result<u32, ParseError> {
    let num_parts = u32::try_from(num_parts).ok();
    let num_parts = num_parts.filter(|num| *num > 1 && ty.bits().is_multiple_of(*num));
    Ok(ty.bits() / num_parts.ok_or_else(|| name.unknown())?)
}
