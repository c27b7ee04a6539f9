//! Instructions that are executed in their own width, chosen when a kernel is read.
//!
//! All others go the long way by numbers of 64 bits, which knows every type and rounding. Both give the
//! same bits.

mod compare;
mod convert;
mod floats;
mod whole;

use crate::{
    inst::{Binary, Op, Operand, Reg, Rounding, Unary},
    registers::Width,
    types::Type,
    vector::{Run, Word, select},
};

/// How an instruction is executed, and how wide what it writes and reads must be.
pub(crate) struct Fast {
    pub(crate) run: Run,
    pub(crate) dst: (Reg, Width),
    pub(crate) from: Vec<(Operand, Width)>,
}

/// What is executed, without its operands.
struct Shape {
    run: Run,
    dst: Width,
    from: &'static [Width],
}

#[expect(clippy::unnecessary_wraps, reason = "they end the arms of a match that has others")]
impl Shape {
    fn one<A: Word, R: Word>(run: Run) -> Option<Self> {
        Some(Self { run, dst: R::WIDTH, from: &const { [A::WIDTH] } })
    }

    fn two<A: Word, B: Word, R: Word>(run: Run) -> Option<Self> {
        Some(Self { run, dst: R::WIDTH, from: &const { [A::WIDTH, B::WIDTH] } })
    }

    fn three<A: Word, C: Word, R: Word>(run: Run) -> Option<Self> {
        Some(Self { run, dst: R::WIDTH, from: &const { [A::WIDTH, A::WIDTH, C::WIDTH] } })
    }

    fn test<A: Word>(run: Run) -> Option<Self> {
        Some(Self { run, dst: Width::Predicate, from: &const { [A::WIDTH, A::WIDTH] } })
    }

    fn select<A: Word>() -> Option<Self> {
        let from = &const { [A::WIDTH, A::WIDTH, Width::Predicate] };
        Some(Self { run: select::<A>, dst: A::WIDTH, from })
    }
}

/// An instruction of one operand.
macro_rules! one {
    ($a:ty => $r:ty: $f:expr) => {
        Shape::one::<$a, $r>(|registers, rows, active| {
            crate::vector::one::<$a, $r>(registers, rows, active, $f);
        })
    };
}

/// An instruction of two operands.
macro_rules! two {
    ($a:ty, $b:ty => $r:ty: $f:expr) => {
        Shape::two::<$a, $b, $r>(|registers, rows, active| {
            crate::vector::two::<$a, $b, $r>(registers, rows, active, $f);
        })
    };
}

/// An instruction of three operands.
macro_rules! three {
    ($a:ty, $c:ty => $r:ty: $f:expr) => {
        Shape::three::<$a, $c, $r>(|registers, rows, active| {
            crate::vector::three::<$a, $c, $r>(registers, rows, active, $f);
        })
    };
}

use {one, three, two};

/// An instruction as it is executed fast, if it can be.
pub(crate) fn fast(op: &Op, dst_bits: u32) -> Option<Fast> {
    let (shape, dst, from): (Shape, Reg, Vec<Operand>) = match op {
        Op::Binary { op, ty, rounding, dst, a, b } => {
            (binary(*op, *ty, *rounding)?, *dst, vec![*a, *b])
        }
        Op::Unary { op, ty, flushes: false, dst, a } => (unary(*op, *ty)?, *dst, vec![*a]),
        Op::Fma { ty, rounding: Rounding::Nearest, dst, factors: [a, b], c } => {
            (floats::fma(*ty)?, *dst, vec![*a, *b, *c])
        }
        Op::Mad { part, ty, dst, factors: [a, b], c } => {
            (whole::mad(*ty, *part)?, *dst, vec![*a, *b, *c])
        }
        Op::DotBytes { are_signed, dst, factors: [a, b], c } => {
            (whole::dot_bytes(*are_signed)?, *dst, vec![*a, *b, *c])
        }
        Op::Permute { dst, a, b, selector } => (whole::permute()?, *dst, vec![*a, *b, *selector]),
        Op::Compare { test, dst, a, b } => (compare::compare(*test)?, *dst, vec![*a, *b]),
        Op::Select { dst, a, b, condition } => (chosen(dst_bits)?, *dst, vec![*a, *b, *condition]),
        Op::Convert { conversion, dst, a } => {
            (convert::convert(*conversion, dst_bits)?, *dst, vec![*a])
        }
        Op::Move { dst, a } => (moved(dst_bits)?, *dst, vec![*a]),
        Op::Pack { bits, dst, parts } => (whole::pack(*bits, parts.len())?, *dst, parts.clone()),
        Op::ToGeneric { space, dst, a } => (whole::window(*space, true)?, *dst, vec![*a]),
        Op::FromGeneric { space, dst, a } => (whole::window(*space, false)?, *dst, vec![*a]),
        _ => return None,
    };
    let from = from.into_iter().zip(shape.from.iter().copied()).collect();
    Some(Fast { run: shape.run, dst: (dst, shape.dst), from })
}

fn binary(op: Binary, ty: Type, rounding: Rounding) -> Option<Shape> {
    match ty {
        Type::Pred => whole::logic(op),
        Type::B16 | Type::U16 | Type::S16 => whole::halves(op, ty.is_signed()),
        Type::B32 | Type::U32 | Type::S32 => whole::words(op, ty.is_signed()),
        Type::B64 | Type::U64 | Type::S64 => whole::doubles(op, ty.is_signed()),
        _ if rounding == Rounding::Nearest => floats::binary(op, ty),
        _ => None,
    }
}

fn unary(op: Unary, ty: Type) -> Option<Shape> {
    if ty.is_float() { floats::unary(op, ty) } else { whole::unary(op, ty) }
}

fn moved(bits: u32) -> Option<Shape> {
    match Width::of(bits)? {
        Width::Predicate => Some(whole::moved_predicate()),
        Width::Half => one!(u16 => u16: |a| a),
        Width::Word => one!(u32 => u32: |a| a),
        Width::Double => one!(u64 => u64: |a| a),
    }
}

fn chosen(bits: u32) -> Option<Shape> {
    match Width::of(bits)? {
        Width::Predicate => None,
        Width::Half => Shape::select::<u16>(),
        Width::Word => Shape::select::<u32>(),
        Width::Double => Shape::select::<u64>(),
    }
}
