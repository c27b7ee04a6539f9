//! Numbers of one type as those of another.

use half::{bf16, f16};

use super::{Shape, one};
use crate::{
    inst::{Conversion, Rounding},
    types::Type::{self, Bf16, F16, F32, F64, S8, S16, S32, S64, U8, U16, U32, U64},
};

pub(super) fn convert(conversion: Conversion, dst_bits: u32) -> Option<Shape> {
    let Conversion { to, from, rounding, is_whole, saturates } = conversion;
    if saturates {
        return None;
    }
    if !from.is_float() && !to.is_float() {
        return whole(to, from, dst_bits);
    }
    if is_whole || to.is_float() && dst_bits != to.bits() {
        return None;
    }
    let exact = from.bits() < to.bits() || rounding == Rounding::Nearest;
    match (to, from) {
        (F32, F16) => one!(u16 => f32: widened),
        (F32, Bf16) => one!(u16 => u32: |a| canonical(bf16::from_bits(a).to_f32())),
        _ if !exact => None,
        (F32, S32) => one!(i32 => f32: |a| a as f32),
        (F32, U32) => one!(u32 => f32: |a| a as f32),
        (F32, S16) => one!(i16 => f32: f32::from),
        (F32, U16) => one!(u16 => f32: f32::from),
        (F64, S32) => one!(i32 => f64: f64::from),
        (F64, U32) => one!(u32 => f64: f64::from),
        (F64, F32) => {
            one!(f32 => u64: |a| if a.is_nan() { u64::MAX >> 1 } else { f64::from(a).to_bits() })
        }
        (F32, F64) => one!(f64 => u32: |a| canonical(a as f32)),
        (F16, F32) => one!(f32 => u16: |a| {
            if a.is_nan() { 0x7fff } else { f16::from_f32(a).to_bits() }
        }),
        (Bf16, F32) => one!(f32 => u16: |a| {
            if a.is_nan() { 0x7fff } else { bf16::from_f32(a).to_bits() }
        }),
        _ => None,
    }
}

#[inline(always)]
fn canonical(value: f32) -> u32 {
    if value.is_nan() { 0x7fff_ffff } else { value.to_bits() }
}

/// The same number with 32 bits: its digits are those of a float that is 2^112 times smaller, which a
/// product with that brings back, as well if it has no leading one.
#[inline(always)]
fn widened(half: u16) -> f32 {
    let scale = f32::from_bits((127 + 112) << 23);
    let magnitude = u32::from(half & 0x7fff);
    let scaled = (f32::from_bits(magnitude << 13) * scale).to_bits();
    let bits = if magnitude >= 0x7c00 { 0x7f80_0000 } else { scaled };
    // What is no number has no sign either.
    let with_sign = bits | u32::from(half & 0x8000) << 16;
    f32::from_bits(if magnitude > 0x7c00 { 0x7fff_ffff } else { with_sign })
}

/// Whole numbers: those with a sign keep it where the register is wider than the type.
fn whole(to: Type, from: Type, dst_bits: u32) -> Option<Shape> {
    // What is written has at least the bits of the type; a sign is kept, other bits are zero.
    match (to, from, dst_bits) {
        (U64 | S64, U32, 64) => one!(u32 => u64: u64::from),
        (U64 | S64, S32, 64) => one!(i32 => i64: i64::from),
        (U64 | S64, U16, 64) => one!(u16 => u64: u64::from),
        (U64 | S64, S16, 64) => one!(i16 => i64: i64::from),
        (U32 | S32, U64 | S64, 32) => one!(u64 => u32: |a| a as u32),
        (U32 | S32, U16, 32) => one!(u16 => u32: u32::from),
        (U32 | S32, S16, 32) => one!(i16 => i32: i32::from),
        (U16 | S16, U32 | S32, 16) => one!(u32 => u16: |a| a as u16),
        (U16 | S16, U64 | S64, 16) => one!(u64 => u16: |a| a as u16),
        // Numbers of 8 bits have registers of 16 or more.
        (U16 | S16, S8, 16) => one!(u16 => i16: |a| i16::from(a as u8 as i8)),
        (U16 | S16, U8, 16) => one!(u16 => u16: |a| a & 0xff),
        (U32 | S32, S8, 32) => one!(u32 => i32: |a| i32::from(a as u8 as i8)),
        (U32 | S32, U8, 32) => one!(u32 => u32: |a| a & 0xff),
        _ => None,
    }
}
