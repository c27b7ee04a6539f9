//! Floats of all widths, rounded as asked.

use half::{bf16, f16};

use crate::{
    inst::Rounding,
    types::{Type, truncate},
};

/// The value of some bits, which every width up to 64 bits has exactly.
pub(crate) fn to_f64(bits: u64, ty: Type) -> f64 {
    match ty {
        Type::F16 => f16::from_bits(bits as u16).to_f64(),
        Type::Bf16 => bf16::from_bits(bits as u16).to_f64(),
        Type::F32 => f32::from_bits(bits as u32).into(),
        _ => f64::from_bits(bits),
    }
}

/// The bits of a value that is rounded to a narrower width. `rest` is what the value lacks of an
/// exact result, much smaller than its last bit.
///
/// Source: rounding to odd, Boldo and Melquiond, IEEE Transactions on Computers 57(4), 2008: a
/// result that is not exact gets an odd last bit, after which rounding again makes no second error.
pub(crate) fn round(value: f64, rest: f64, ty: Type, rounding: Rounding) -> u64 {
    let nearest = match ty {
        Type::F64 => value,
        _ => to_odd(value, rest),
    };
    let bits = match ty {
        // By way of 32 bits, for `bf16` drops what of 64 it does not look at.
        Type::F16 => f16::from_f32(narrow_to_odd(nearest)).to_bits().into(),
        Type::Bf16 => bf16::from_f32(narrow_to_odd(nearest)).to_bits().into(),
        Type::F32 => (nearest as f32).to_bits().into(),
        _ => nearest.to_bits(),
    };
    if rounding == Rounding::Nearest || value.is_nan() {
        return bits;
    }
    let found = to_f64(bits, ty);
    // Whether the nearest one is above what is exact, or below.
    let error =
        if found.is_infinite() && value.is_finite() { found } else { (found - value) - rest };
    let (is_above, is_below) = (error > 0.0, error < 0.0);
    let is_negative = value < 0.0 || value == 0.0 && rest < 0.0;
    let towards = match rounding {
        Rounding::Zero if is_negative => is_below.then_some(false),
        Rounding::Zero | Rounding::Down => is_above.then_some(true),
        _ => is_below.then_some(false),
    };
    match towards {
        Some(down) => step(bits, ty, down),
        None => bits,
    }
}

/// Rounds `value + rest` to odd.
fn to_odd(value: f64, rest: f64) -> f64 {
    let is_exact = rest == 0.0 || !value.is_finite() || value.to_bits() & 1 == 1;
    if is_exact {
        return value;
    }
    // The other neighbour of what is exact is the odd one.
    if rest > 0.0 { value.next_up() } else { value.next_down() }
}

/// The same for a narrower width.
fn narrow_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    let error = value - f64::from(nearest);
    let is_exact = error == 0.0 || !value.is_finite() || nearest.to_bits() & 1 == 1;
    match (is_exact, error > 0.0) {
        (true, _) => nearest,
        (false, true) => nearest.next_up(),
        (false, false) => nearest.next_down(),
    }
}

/// The next float below or above.
fn step(bits: u64, ty: Type, down: bool) -> u64 {
    let sign = 1 << (ty.bits() - 1);
    let is_negative = bits & sign != 0;
    let is_zero = bits & !sign == 0;
    match (is_zero, is_negative == down) {
        (true, _) => u64::from(down) * sign + 1,
        (false, true) => bits + 1,
        (false, false) => bits - 1,
    }
}

/// What is no number has the same bits whatever it came from.
pub(crate) fn canonical_bits(bits: u64, ty: Type) -> u64 {
    if to_f64(bits, ty).is_nan() { nan(ty) } else { bits }
}

/// The bits of what is no number: all but the sign.
pub(crate) fn nan(ty: Type) -> u64 {
    truncate(u64::MAX, ty.bits() - 1)
}

/// `a + b`, and what of it the result lacks. Source: Knuth, The Art of Computer Programming 2,
/// section 4.2.2, theorem B.
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    let rest = (a - (sum - of_b)) + (b - of_b);
    (sum, if sum.is_finite() { rest } else { 0.0 })
}

/// A whole number: rounded as asked.
pub(crate) fn to_whole(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => value.round_ties_even(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}
