//! What instructions compute in every lane.

use std::cmp::Ordering;

use crate::{
    float::{canonical_bits, nan, round, to_f64, two_sum},
    inst::{Binary, Comparison, Part, Rounding, Test, Unary},
    lanes::{Lanes, Mask, each, each2, where2},
    types::{Type, sign_extend, truncate},
};

/// Why an instruction that is executed always has a result.
pub(crate) const IS_OF_TYPE: &str =
    "an instruction that is none of its type is refused when it is read";

/// An instruction of two operands; none where it is none of this type.
pub(crate) fn binary(
    op: Binary,
    ty: Type,
    rounding: Rounding,
    (a, b): (&Lanes, &Lanes),
) -> Option<Lanes> {
    if ty.is_float() {
        return float(op, ty, rounding, (a, b));
    }
    let bits = ty.bits();
    let unsigned = |f: fn(u64, u64) -> u64| each2(a, b, move |a, b| truncate(f(a, b), bits));
    let signed = |f: fn(i64, i64) -> i64| {
        each2(a, b, move |a, b| {
            truncate(f(sign_extend(a, bits), sign_extend(b, bits)).cast_unsigned(), bits)
        })
    };
    let is_signed = ty.is_signed();
    Some(match op {
        Binary::Add => unsigned(u64::wrapping_add),
        Binary::Sub => unsigned(u64::wrapping_sub),
        Binary::Mul(part) => each2(a, b, |a, b| product(a, b, ty, part)),
        // By zero: an unspecified value, as on hardware all bits.
        Binary::Div if is_signed => signed(|a, b| if b == 0 { -1 } else { a.wrapping_div(b) }),
        Binary::Div => unsigned(|a, b| a.checked_div(b).unwrap_or(u64::MAX)),
        Binary::Rem if is_signed => signed(|a, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        Binary::Rem => unsigned(|a, b| a.checked_rem(b).unwrap_or(a)),
        Binary::Min if is_signed => signed(Ord::min),
        Binary::Min => unsigned(Ord::min),
        Binary::Max if is_signed => signed(Ord::max),
        Binary::Max => unsigned(Ord::max),
        Binary::And => unsigned(|a, b| a & b),
        Binary::Or => unsigned(|a, b| a | b),
        Binary::Xor => unsigned(|a, b| a ^ b),
        Binary::ShiftLeft => {
            each2(a, b, |a, by| if by >= bits.into() { 0 } else { truncate(a << by, bits) })
        }
        Binary::ShiftRight if is_signed => each2(a, b, |a, by| {
            truncate((sign_extend(a, bits) >> by.min(63)).cast_unsigned(), bits)
        }),
        Binary::ShiftRight => each2(a, b, |a, by| if by >= bits.into() { 0 } else { a >> by }),
        Binary::CopySign | Binary::DivApproximately | Binary::MinOrNan | Binary::MaxOrNan => {
            return None;
        }
    })
}

/// A part of a product of whole numbers.
pub(crate) fn product(a: u64, b: u64, ty: Type, part: Part) -> u64 {
    let bits = ty.bits();
    let whole = if ty.is_signed() {
        let (a, b) = (sign_extend(a, bits), sign_extend(b, bits));
        (i128::from(a) * i128::from(b)).cast_unsigned()
    } else {
        u128::from(a) * u128::from(b)
    };
    let low = whole as u64;
    match part {
        Part::Low => truncate(low, bits),
        Part::High => truncate((whole >> bits) as u64, bits),
        Part::Wide => truncate(low, 2 * bits),
    }
}

/// The lowest `length` bits of the first in place of those of the second from `start` on.
pub(crate) fn insert(ty: Type, [a, b]: [u64; 2], (start, length): (u64, u64)) -> u64 {
    let bits = ty.bits();
    if start >= bits.into() {
        return b;
    }
    let ones = truncate(u64::MAX, length.min(64) as u32) << start;
    truncate(b & !ones | a << start & ones, bits)
}

fn float(op: Binary, ty: Type, rounding: Rounding, (a, b): (&Lanes, &Lanes)) -> Option<Lanes> {
    let sign = 1_u64 << (ty.bits() - 1);
    // The usual case, in the width that it has.
    if ty == Type::F32 && rounding == Rounding::Nearest {
        let f32s = |f: fn(f32, f32) -> f32| {
            each2(a, b, move |a, b| {
                canonical(f(f32::from_bits(a as u32), f32::from_bits(b as u32)))
            })
        };
        match op {
            Binary::Add => return Some(f32s(|a, b| a + b)),
            Binary::Sub => return Some(f32s(|a, b| a - b)),
            Binary::Mul(_) => return Some(f32s(|a, b| a * b)),
            Binary::Div => return Some(f32s(|a, b| a / b)),
            _ => {}
        }
    }
    let exact = |f: fn(f64, f64) -> (f64, f64)| {
        each2(a, b, move |a, b| {
            let (a, b) = (to_f64(a, ty), to_f64(b, ty));
            let (value, rest) = f(a, b);
            // Nothing is wider than 64 bits: too large a result is infinite before it is rounded.
            let is_too_large = value.is_infinite() && a.is_finite() && b.is_finite() && b != 0.0;
            let value = if is_too_large { bounded(value, rounding) } else { value };
            canonical_bits(round(value, rest, ty, rounding), ty)
        })
    };
    Some(match op {
        Binary::Add if rounding == Rounding::Down => exact(sum_down),
        Binary::Sub if rounding == Rounding::Down => exact(|a, b| sum_down(a, -b)),
        Binary::Add => exact(two_sum),
        Binary::Sub => exact(|a, b| two_sum(a, -b)),
        Binary::Mul(_) => exact(|a, b| {
            let value = a * b;
            (value, rest_of(a.mul_add(b, -value)))
        }),
        Binary::Div => exact(|a, b| {
            let value = a / b;
            // Of the quotient only the sign of what is left matters, and its not being zero.
            (value, rest_of((-value).mul_add(b, a) / b))
        }),
        Binary::DivApproximately if ty != Type::F32 => return None,
        Binary::DivApproximately => each2(a, b, |a, b| {
            canonical(approximate_quotient(f32::from_bits(a as u32), f32::from_bits(b as u32)))
        }),
        Binary::Min => each2(a, b, |a, b| chosen((a, b), ty, true).0),
        Binary::Max => each2(a, b, |a, b| chosen((a, b), ty, false).0),
        Binary::MinOrNan => each2(a, b, |a, b| or_nan(chosen((a, b), ty, true), ty)),
        Binary::MaxOrNan => each2(a, b, |a, b| or_nan(chosen((a, b), ty, false), ty)),
        Binary::CopySign => each2(a, b, |from, to| to & !sign | from & sign),
        _ => return None,
    })
}

/// Source: PTX ISA 9.0, section 9.7.3.8, `div`: of divisors greater than 2^126 the reciprocal is
/// zero.
fn approximate_quotient(a: f32, b: f32) -> f32 {
    const LARGEST: f32 = f32::from_bits((126 + 127) << 23);
    if b.is_finite() && b.abs() > LARGEST { a * 0_f32.copysign(b) } else { a / b }
}

/// The lesser or the greater of two, and whether both are numbers: if one is not, the other.
fn chosen((bits_a, bits_b): (u64, u64), ty: Type, least: bool) -> (u64, bool) {
    let (a, b) = (to_f64(bits_a, ty), to_f64(bits_b, ty));
    let takes_a = match a.partial_cmp(&b) {
        None if a.is_nan() && b.is_nan() => return (nan(ty), false),
        None => return (if a.is_nan() { bits_b } else { bits_a }, false),
        // Of two zeros the one with a sign is less.
        Some(Ordering::Equal) => (bits_a >> (ty.bits() - 1) & 1 == 1) == least,
        Some(Ordering::Less) => least,
        Some(Ordering::Greater) => !least,
    };
    (if takes_a { bits_a } else { bits_b }, true)
}

fn or_nan((bits, are_numbers): (u64, bool), ty: Type) -> u64 {
    if are_numbers { bits } else { nan(ty) }
}

/// As `two_sum`, where exact results of zero have a sign: rounded down, `x - x` is -0, and only
/// zeros without a sign give one without.
fn sum_down(a: f64, b: f64) -> (f64, f64) {
    let (sum, rest) = two_sum(a, b);
    let has_sign = a.is_sign_negative() || b.is_sign_negative();
    (if sum == 0.0 && has_sign { -0.0 } else { sum }, rest)
}

/// A result too large for 64 bits, rounded: infinite only on the side to which it is rounded.
fn bounded(value: f64, rounding: Rounding) -> f64 {
    let is_bounded = match rounding {
        Rounding::Nearest => false,
        Rounding::Zero => true,
        Rounding::Down => value > 0.0,
        Rounding::Up => value < 0.0,
    };
    if is_bounded { f64::MAX.copysign(value) } else { value }
}

/// What a result lacks, if that is a number.
fn rest_of(rest: f64) -> f64 {
    if rest.is_finite() { rest } else { 0.0 }
}

/// The same of a float in its own width.
fn canonical(value: f32) -> u64 {
    if value.is_nan() { 0x7fff_ffff } else { value.to_bits().into() }
}

/// `a * b + c`, rounded once.
pub(crate) fn fma(ty: Type, rounding: Rounding, [a, b, c]: [&Lanes; 3]) -> Lanes {
    std::array::from_fn(|lane| {
        if rounding == Rounding::Nearest && ty == Type::F32 {
            let of = |lanes: &Lanes| f32::from_bits(lanes[lane] as u32);
            return canonical(of(a).mul_add(of(b), of(c)));
        }
        let of = |lanes: &Lanes| to_f64(lanes[lane], ty);
        let (a, b, c) = (of(a), of(b), of(c));
        if ty == Type::F64 {
            return canonical_bits(a.mul_add(b, c).to_bits(), ty);
        }
        // Of narrower floats the product is exact.
        let sum = if rounding == Rounding::Down { sum_down } else { two_sum };
        let (value, rest) = sum(a * b, c);
        canonical_bits(round(value, rest, ty, rounding), ty)
    })
}

/// An instruction of one operand; none where it is none of this type.
pub(crate) fn unary(op: Unary, ty: Type, a: &Lanes) -> Option<Lanes> {
    let bits = ty.bits();
    let sign = 1_u64 << (bits - 1);
    let computed = |f: fn(f64) -> f64| {
        each(a, move |a| canonical_bits(round(f(to_f64(a, ty)), 0.0, ty, Rounding::Nearest), ty))
    };
    Some(match op {
        Unary::Neg if ty.is_float() => each(a, |a| a ^ sign),
        Unary::Neg => each(a, |a| truncate(a.wrapping_neg(), bits)),
        Unary::Abs if ty.is_float() => each(a, |a| a & !sign),
        Unary::Abs => each(a, |a| truncate(sign_extend(a, bits).unsigned_abs(), bits)),
        Unary::Not => each(a, |a| truncate(!a, bits)),
        Unary::LeadingZeros => {
            each(a, |a| u64::from(truncate(a, bits).leading_zeros() - (64 - bits)))
        }
        Unary::CountOnes => each(a, |a| u64::from(truncate(a, bits).count_ones())),
        Unary::ReverseBits => each(a, |a| a.reverse_bits() >> (64 - bits)),
        _ if !ty.is_float() => return None,
        Unary::Reciprocal => computed(|a| 1.0 / a),
        Unary::SquareRoot => computed(f64::sqrt),
        Unary::ReciprocalRoot => computed(|a| 1.0 / a.sqrt()),
        Unary::Exp2 => computed(f64::exp2),
        Unary::Log2 => computed(f64::log2),
    })
}

/// Makes zeros of the floats that are too small to be normal.
pub(crate) fn flush(a: &Lanes, ty: Type) -> Lanes {
    let sign = 1 << (ty.bits() - 1);
    let exponent: u64 = match ty {
        Type::F16 => 0x7c00,
        Type::Bf16 => 0x7f80,
        Type::F32 => 0x7f80_0000,
        _ => 0x7ff0_0000_0000_0000,
    };
    each(a, |a| if a & exponent == 0 { a & sign } else { a })
}

/// The lanes in which a comparison is so.
pub(crate) fn compare(test: Test, a: &Lanes, b: &Lanes) -> Mask {
    let Test { is, if_unordered, ty } = test;
    let bits = ty.bits();
    if ty.is_float() {
        let holds = |f: fn(&f64, &f64) -> bool| {
            where2(a, b, move |a, b| {
                let (a, b) = (to_f64(a, ty), to_f64(b, ty));
                if a.is_nan() || b.is_nan() { if_unordered } else { f(&a, &b) }
            })
        };
        return match is {
            Comparison::Eq => holds(f64::eq),
            Comparison::Ne => holds(f64::ne),
            Comparison::Lt => holds(f64::lt),
            Comparison::Le => holds(f64::le),
            Comparison::Gt => holds(f64::gt),
            Comparison::Ge => holds(f64::ge),
        };
    }
    // With the sign flipped, numbers with one are in the order of those without.
    let flip = if ty.is_signed() { 1_u64 << (bits - 1) } else { 0 };
    let holds = |f: fn(&u64, &u64) -> bool| where2(a, b, move |a, b| f(&(a ^ flip), &(b ^ flip)));
    match is {
        Comparison::Eq => holds(u64::eq),
        Comparison::Ne => holds(u64::ne),
        Comparison::Lt => holds(u64::lt),
        Comparison::Le => holds(u64::le),
        Comparison::Gt => holds(u64::gt),
        Comparison::Ge => holds(u64::ge),
    }
}
