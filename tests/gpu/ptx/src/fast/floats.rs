//! Floats, rounded to the nearest.

#![expect(clippy::float_cmp, reason = "instructions compare exactly")]

use half::{bf16, f16};

use super::{Shape, one, three, two};
use crate::{
    inst::{Binary, Unary},
    types::Type,
};

/// What is no number has the same bits whatever it came from.
#[inline(always)]
fn canonical(value: f32) -> u32 {
    if value.is_nan() { 0x7fff_ffff } else { value.to_bits() }
}

#[inline(always)]
fn canonical_wide(value: f64) -> u64 {
    if value.is_nan() { u64::MAX >> 1 } else { value.to_bits() }
}

#[inline(always)]
fn canonical_f16(value: f32) -> u16 {
    let bits = f16::from_f32(value).to_bits();
    if value.is_nan() { 0x7fff } else { bits }
}

#[inline(always)]
fn canonical_bf16(value: f32) -> u16 {
    let bits = bf16::from_f32(value).to_bits();
    if value.is_nan() { 0x7fff } else { bits }
}

/// The lesser of two, of zeros that with a sign; if one is no number, the other.
#[inline(always)]
fn least(a: f32, b: f32) -> u32 {
    let of_equals = f32::from_bits(a.to_bits() | b.to_bits());
    let least = if a < b { a } else { b };
    let least = if a == b { of_equals } else { least };
    let least = if b.is_nan() { a } else { least };
    canonical(if a.is_nan() { b } else { least })
}

/// The greater of two, in the same way.
#[inline(always)]
fn greatest(a: f32, b: f32) -> u32 {
    let of_equals = f32::from_bits(a.to_bits() & b.to_bits());
    let greatest = if a > b { a } else { b };
    let greatest = if a == b { of_equals } else { greatest };
    let greatest = if b.is_nan() { a } else { greatest };
    canonical(if a.is_nan() { b } else { greatest })
}

/// Sums and products of narrow floats: those of 32 bits, rounded again, which has twice their digits
/// and two more. Source: Figueroa, When is double rounding innocuous?, SIGNUM Newsletter 30(3), 1995.
macro_rules! narrow {
    ($float:ty, $canonical:expr, $f:expr) => {
        two!(u16, u16 => u16: |a, b| {
            let f: fn(f32, f32) -> f32 = $f;
            $canonical(f(<$float>::from_bits(a).to_f32(), <$float>::from_bits(b).to_f32()))
        })
    };
}

pub(super) fn binary(op: Binary, ty: Type) -> Option<Shape> {
    match (ty, op) {
        (Type::F32, Binary::Add) => two!(f32, f32 => u32: |a, b| canonical(a + b)),
        (Type::F32, Binary::Sub) => two!(f32, f32 => u32: |a, b| canonical(a - b)),
        (Type::F32, Binary::Mul(_)) => two!(f32, f32 => u32: |a, b| canonical(a * b)),
        (Type::F32, Binary::Div) => two!(f32, f32 => u32: |a, b| canonical(a / b)),
        (Type::F32, Binary::Min) => two!(f32, f32 => u32: least),
        (Type::F32, Binary::Max) => two!(f32, f32 => u32: greatest),
        (Type::F64, Binary::Add) => two!(f64, f64 => u64: |a, b| canonical_wide(a + b)),
        (Type::F64, Binary::Sub) => two!(f64, f64 => u64: |a, b| canonical_wide(a - b)),
        (Type::F64, Binary::Mul(_)) => two!(f64, f64 => u64: |a, b| canonical_wide(a * b)),
        (Type::F64, Binary::Div) => two!(f64, f64 => u64: |a, b| canonical_wide(a / b)),
        (Type::F16, Binary::Add) => narrow!(f16, canonical_f16, |a, b| a + b),
        (Type::F16, Binary::Sub) => narrow!(f16, canonical_f16, |a, b| a - b),
        (Type::F16, Binary::Mul(_)) => narrow!(f16, canonical_f16, |a, b| a * b),
        (Type::Bf16, Binary::Add) => narrow!(bf16, canonical_bf16, |a, b| a + b),
        (Type::Bf16, Binary::Sub) => narrow!(bf16, canonical_bf16, |a, b| a - b),
        (Type::Bf16, Binary::Mul(_)) => narrow!(bf16, canonical_bf16, |a, b| a * b),
        _ => None,
    }
}

pub(super) fn unary(op: Unary, ty: Type) -> Option<Shape> {
    match (ty, op) {
        (Type::F32, Unary::Neg) => one!(u32 => u32: |a| a ^ 1 << 31),
        (Type::F32, Unary::Abs) => one!(u32 => u32: |a| a & (u32::MAX >> 1)),
        (Type::F32, Unary::Reciprocal) => one!(f32 => u32: |a| canonical(1.0 / a)),
        (Type::F32, Unary::SquareRoot) => one!(f32 => u32: |a| canonical(a.sqrt())),
        (Type::F64, Unary::Neg) => one!(u64 => u64: |a| a ^ 1 << 63),
        (Type::F64, Unary::Abs) => one!(u64 => u64: |a| a & (u64::MAX >> 1)),
        (Type::F64, Unary::Reciprocal) => one!(f64 => u64: |a| canonical_wide(1.0 / a)),
        (Type::F64, Unary::SquareRoot) => one!(f64 => u64: |a| canonical_wide(a.sqrt())),
        (Type::F16 | Type::Bf16, Unary::Neg) => one!(u16 => u16: |a| a ^ 1 << 15),
        (Type::F16 | Type::Bf16, Unary::Abs) => one!(u16 => u16: |a| a & 0x7fff),
        _ => None,
    }
}

/// `a * b + c`, rounded once.
pub(super) fn fma(ty: Type) -> Option<Shape> {
    match ty {
        Type::F32 => three!(f32, f32 => u32: |a: f32, b, c| canonical(a.mul_add(b, c))),
        Type::F64 => three!(f64, f64 => u64: |a: f64, b, c| canonical_wide(a.mul_add(b, c))),
        _ => None,
    }
}
