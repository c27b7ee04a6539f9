//! Whole numbers.

use super::{Shape, one, three, two};
use crate::{
    inst::{Binary, Part, Space, Unary},
    kernel::{LOCAL, SHARED},
    packed,
    registers::Width,
    types::Type,
    vector::Run,
};

/// Predicates.
pub(super) fn logic(op: Binary) -> Option<Shape> {
    macro_rules! predicates {
        ($f:expr) => {{
            let run: Run = |registers, rows, active| {
                let [a, b] = [0, 1].map(|it| registers.predicates[rows.from[it] as usize]);
                let f: fn(u32, u32) -> u32 = $f;
                registers.fill_predicate(rows.dst, f(a, b), active);
            };
            Some(Shape { run, dst: Width::Predicate, from: &[Width::Predicate; 2] })
        }};
    }
    match op {
        Binary::And => predicates!(|a, b| a & b),
        Binary::Or => predicates!(|a, b| a | b),
        Binary::Xor => predicates!(|a, b| a ^ b),
        _ => None,
    }
}

pub(super) fn moved_predicate() -> Shape {
    let run: Run = |registers, rows, active| {
        let a = registers.predicates[rows.from[0] as usize];
        registers.fill_predicate(rows.dst, a, active);
    };
    Shape { run, dst: Width::Predicate, from: &[Width::Predicate] }
}

/// Numbers of 16 bits.
pub(super) fn halves(op: Binary, is_signed: bool) -> Option<Shape> {
    match op {
        Binary::Add => two!(u16, u16 => u16: u16::wrapping_add),
        Binary::Sub => two!(u16, u16 => u16: u16::wrapping_sub),
        Binary::Mul(Part::Low) => two!(u16, u16 => u16: u16::wrapping_mul),
        Binary::Mul(Part::Wide) if is_signed => {
            two!(i16, i16 => i32: |a, b| i32::from(a) * i32::from(b))
        }
        Binary::Mul(Part::Wide) => {
            two!(u16, u16 => u32: |a, b| u32::from(a).wrapping_mul(u32::from(b)))
        }
        Binary::And => two!(u16, u16 => u16: |a, b| a & b),
        Binary::Or => two!(u16, u16 => u16: |a, b| a | b),
        Binary::Xor => two!(u16, u16 => u16: |a, b| a ^ b),
        Binary::ShiftLeft => {
            two!(u16, u32 => u16: |a, by| if by < 16 { a << (by & 15) } else { 0 })
        }
        Binary::ShiftRight if is_signed => two!(i16, u32 => i16: |a, by| a >> by.min(15)),
        Binary::ShiftRight => {
            two!(u16, u32 => u16: |a, by| if by < 16 { a >> (by & 15) } else { 0 })
        }
        _ => None,
    }
}

/// Numbers of 32 bits.
pub(super) fn words(op: Binary, is_signed: bool) -> Option<Shape> {
    match op {
        Binary::Add => two!(u32, u32 => u32: u32::wrapping_add),
        Binary::Sub => two!(u32, u32 => u32: u32::wrapping_sub),
        Binary::Mul(Part::Low) => two!(u32, u32 => u32: u32::wrapping_mul),
        Binary::Mul(Part::High) if is_signed => {
            two!(i32, i32 => i32: |a, b| ((i64::from(a) * i64::from(b)) >> 32) as i32)
        }
        Binary::Mul(Part::High) => {
            two!(u32, u32 => u32: |a, b| ((u64::from(a) * u64::from(b)) >> 32) as u32)
        }
        Binary::Mul(Part::Wide) if is_signed => {
            two!(i32, i32 => i64: |a, b| i64::from(a) * i64::from(b))
        }
        Binary::Mul(Part::Wide) => two!(u32, u32 => u64: |a, b| u64::from(a) * u64::from(b)),
        Binary::And => two!(u32, u32 => u32: |a, b| a & b),
        Binary::Or => two!(u32, u32 => u32: |a, b| a | b),
        Binary::Xor => two!(u32, u32 => u32: |a, b| a ^ b),
        Binary::ShiftLeft => {
            two!(u32, u32 => u32: |a, by| if by < 32 { a << (by & 31) } else { 0 })
        }
        Binary::ShiftRight if is_signed => two!(i32, u32 => i32: |a, by| a >> by.min(31)),
        Binary::ShiftRight => {
            two!(u32, u32 => u32: |a, by| if by < 32 { a >> (by & 31) } else { 0 })
        }
        Binary::Min if is_signed => two!(i32, i32 => i32: Ord::min),
        Binary::Min => two!(u32, u32 => u32: Ord::min),
        Binary::Max if is_signed => two!(i32, i32 => i32: Ord::max),
        Binary::Max => two!(u32, u32 => u32: Ord::max),
        Binary::Div if is_signed => {
            two!(i32, i32 => i32: |a, b| if b == 0 { -1 } else { a.wrapping_div(b) })
        }
        Binary::Rem if is_signed => {
            two!(i32, i32 => i32: |a, b| if b == 0 { a } else { a.wrapping_rem(b) })
        }
        Binary::Div => two!(u32, u32 => u32: |a, b| a.checked_div(b).unwrap_or(u32::MAX)),
        Binary::Rem => two!(u32, u32 => u32: |a, b| a.checked_rem(b).unwrap_or(a)),
        _ => None,
    }
}

/// Numbers of 64 bits.
pub(super) fn doubles(op: Binary, is_signed: bool) -> Option<Shape> {
    match op {
        Binary::Add => two!(u64, u64 => u64: u64::wrapping_add),
        Binary::Sub => two!(u64, u64 => u64: u64::wrapping_sub),
        Binary::Mul(Part::Low) => two!(u64, u64 => u64: u64::wrapping_mul),
        Binary::And => two!(u64, u64 => u64: |a, b| a & b),
        Binary::Or => two!(u64, u64 => u64: |a, b| a | b),
        Binary::Xor => two!(u64, u64 => u64: |a, b| a ^ b),
        Binary::ShiftLeft => {
            two!(u64, u32 => u64: |a, by| if by < 64 { a << (by & 63) } else { 0 })
        }
        Binary::ShiftRight if is_signed => two!(i64, u32 => i64: |a, by| a >> by.min(63)),
        Binary::ShiftRight => {
            two!(u64, u32 => u64: |a, by| if by < 64 { a >> (by & 63) } else { 0 })
        }
        Binary::Min if is_signed => two!(i64, i64 => i64: Ord::min),
        Binary::Min => two!(u64, u64 => u64: Ord::min),
        Binary::Max if is_signed => two!(i64, i64 => i64: Ord::max),
        Binary::Max => two!(u64, u64 => u64: Ord::max),
        Binary::Div if is_signed => {
            two!(i64, i64 => i64: |a, b| if b == 0 { -1 } else { a.wrapping_div(b) })
        }
        Binary::Rem if is_signed => {
            two!(i64, i64 => i64: |a, b| if b == 0 { a } else { a.wrapping_rem(b) })
        }
        Binary::Div => two!(u64, u64 => u64: |a, b| a.checked_div(b).unwrap_or(u64::MAX)),
        Binary::Rem => two!(u64, u64 => u64: |a, b| a.checked_rem(b).unwrap_or(a)),
        _ => None,
    }
}

pub(super) fn unary(op: Unary, ty: Type) -> Option<Shape> {
    match (op, ty.bits()) {
        (Unary::Not, 1) => {
            let run: Run = |registers, rows, active| {
                let a = registers.predicates[rows.from[0] as usize];
                registers.fill_predicate(rows.dst, !a, active);
            };
            Some(Shape { run, dst: Width::Predicate, from: &[Width::Predicate] })
        }
        (Unary::Not, 16) => one!(u16 => u16: |a| !a),
        (Unary::Not, 32) => one!(u32 => u32: |a| !a),
        (Unary::Not, 64) => one!(u64 => u64: |a| !a),
        (Unary::Neg, 16) => one!(u16 => u16: u16::wrapping_neg),
        (Unary::Neg, 32) => one!(u32 => u32: u32::wrapping_neg),
        (Unary::Neg, 64) => one!(u64 => u64: u64::wrapping_neg),
        (Unary::Abs, 32) => one!(i32 => u32: i32::unsigned_abs),
        (Unary::CountOnes, 32) => one!(u32 => u32: u32::count_ones),
        (Unary::LeadingZeros, 32) => one!(u32 => u32: u32::leading_zeros),
        _ => None,
    }
}

/// `a * b + c`.
pub(super) fn mad(ty: Type, part: Part) -> Option<Shape> {
    match (ty.bits(), part) {
        (32, Part::Low) => {
            three!(u32, u32 => u32: |a: u32, b, c| a.wrapping_mul(b).wrapping_add(c))
        }
        (64, Part::Low) => {
            three!(u64, u64 => u64: |a: u64, b, c| a.wrapping_mul(b).wrapping_add(c))
        }
        (32, Part::Wide) if ty.is_signed() => three!(i32, i64 => i64: |a, b, c: i64| {
            (i64::from(a) * i64::from(b)).wrapping_add(c)
        }),
        (32, Part::Wide) => three!(u32, u64 => u64: |a, b, c: u64| {
            (u64::from(a) * u64::from(b)).wrapping_add(c)
        }),
        _ => None,
    }
}

/// The bytes of two words multiplied, and added to a third.
pub(super) fn dot_bytes(are_signed: [bool; 2]) -> Option<Shape> {
    match are_signed {
        [true, true] => three!(u32, u32 => u32: |a, b, c| packed::dot_bytes([true; 2], [a, b, c])),
        [true, false] => {
            three!(u32, u32 => u32: |a, b, c| packed::dot_bytes([true, false], [a, b, c]))
        }
        [false, true] => {
            three!(u32, u32 => u32: |a, b, c| packed::dot_bytes([false, true], [a, b, c]))
        }
        [false, false] => {
            three!(u32, u32 => u32: |a, b, c| packed::dot_bytes([false; 2], [a, b, c]))
        }
    }
}

pub(super) fn permute() -> Option<Shape> {
    three!(u32, u32 => u32: packed::permute)
}

/// Two parts of so many bits as one, the lower first.
pub(super) fn pack(bits: u32, num_parts: usize) -> Option<Shape> {
    match (bits, num_parts) {
        (16, 2) => two!(u16, u16 => u32: |low, high| u32::from(low) | u32::from(high) << 16),
        (32, 2) => two!(u32, u32 => u64: |low, high| u64::from(low) | u64::from(high) << 32),
        _ => None,
    }
}

/// Addresses of a space among those of all, or back.
pub(super) fn window(space: Space, to_generic: bool) -> Option<Shape> {
    match (space, to_generic) {
        (Space::Shared, true) => one!(u64 => u64: |a| a.wrapping_add(SHARED)),
        (Space::Shared, false) => one!(u64 => u64: |a| a.wrapping_sub(SHARED)),
        (Space::Local, true) => one!(u64 => u64: |a| a.wrapping_add(LOCAL)),
        (Space::Local, false) => one!(u64 => u64: |a| a.wrapping_sub(LOCAL)),
        _ => one!(u64 => u64: |a| a),
    }
}
