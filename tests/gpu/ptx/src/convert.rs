//! Numbers of one type as those of another.

use crate::{
    float::{canonical_bits, round, to_f64, to_whole, two_sum},
    inst::{Conversion, Rounding},
    types::{Type, sign_extend, truncate},
};

/// Converts a value.
pub(crate) fn convert(conversion: Conversion, value: u64) -> u64 {
    let Conversion { to, from, rounding, is_whole, saturates } = conversion;
    match (from.is_float(), to.is_float()) {
        (false, false) => whole_to_whole(value, from, to, saturates),
        (false, true) => {
            let (value, rest) = whole_to_f64(value, from);
            round(value, rest, to, rounding)
        }
        (true, false) => float_to_whole(value, (from, to), rounding),
        (true, true) => {
            let mut value = to_f64(value, from);
            if is_whole {
                value = to_whole(value, rounding);
            }
            if saturates {
                // What is no number becomes zero.
                value = if value > 0.0 { value.min(1.0) } else { 0.0 };
            }
            let is_exact = is_whole || from.bits() <= to.bits() && from == to;
            let rounding = if is_exact { Rounding::Nearest } else { rounding };
            canonical_bits(round(value, 0.0, to, rounding), to)
        }
    }
}

fn whole_to_whole(value: u64, from: Type, to: Type, saturates: bool) -> u64 {
    let wide = whole(value, from);
    let (least, most) = limits(to);
    let wide = if saturates { wide.clamp(least, most) } else { wide };
    truncate(wide.cast_unsigned() as u64, to.bits())
}

/// The number that the bits of a type stand for.
fn whole(value: u64, ty: Type) -> i128 {
    if ty.is_signed() {
        sign_extend(value, ty.bits()).into()
    } else {
        truncate(value, ty.bits()).into()
    }
}

/// The least and the greatest number of a type.
fn limits(ty: Type) -> (i128, i128) {
    let bits = ty.bits();
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The nearest float, and what it lacks: both halves are exact.
fn whole_to_f64(value: u64, from: Type) -> (f64, f64) {
    let value = whole(value, from);
    let low = value & 0xffff_ffff;
    two_sum((value - low) as f64, low as f64)
}

/// What is no number becomes zero, but the topmost bit alone where either side has 64 bits; what is
/// out of range the nearest number that is not.
fn float_to_whole(value: u64, (from, to): (Type, Type), rounding: Rounding) -> u64 {
    let value = to_f64(value, from);
    let (least, most) = limits(to);
    if value.is_nan() {
        let is_wide = from == Type::F64 || to.bits() == 64;
        return if is_wide { 1 << (to.bits() - 1) } else { 0 };
    }
    let whole = to_whole(value, rounding);
    truncate((whole as i128).clamp(least, most).cast_unsigned() as u64, to.bits())
}
