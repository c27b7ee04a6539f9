//! Registers that hold several numbers: four bytes, or two floats of 16 bits.

use crate::{
    arith::{IS_OF_TYPE, binary, fma, unary},
    inst::{Pairwise, Rounding},
    lanes::{Lanes, each},
    types::Type,
};

/// Multiplies bytes of two words, and adds the products to a third, whose carry is lost.
///
/// Source: PTX ISA 9.0, section 9.7.1.23, `dp4a`. The sum is taken modulo 2 to the power of 32, so
/// that it does not depend on the sign of the third.
#[inline(always)]
pub(crate) fn dot_bytes([is_signed_a, is_signed_b]: [bool; 2], [a, b, c]: [u32; 3]) -> u32 {
    let number = |byte: u8, is_signed| {
        if is_signed { i32::from(byte.cast_signed()) } else { i32::from(byte) }
    };
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    (0..4).fold(c, |sum, it| {
        let product = number(a[it], is_signed_a) * number(b[it], is_signed_b);
        sum.wrapping_add(product.cast_unsigned())
    })
}

/// Takes four of the eight bytes of two words: for each a number of three bits, and a fourth that
/// says whether all of its bits are the sign of the one taken.
///
/// Source: PTX ISA 9.0, section 9.7.9.7, `prmt` without a mode.
#[inline(always)]
pub(crate) fn permute(a: u32, b: u32, selector: u32) -> u32 {
    let both = u64::from(a) | u64::from(b) << 32;
    (0..4).fold(0, |result, it| {
        let chosen = selector >> (4 * it);
        let byte = (both >> (8 * (chosen & 7))) as u8;
        let is_sign = chosen & 8 != 0;
        let byte = if is_sign { (byte.cast_signed() >> 7).cast_unsigned() } else { byte };
        result | u32::from(byte) << (8 * it)
    })
}

/// Computes in the lower and in the upper half of a word; none where there is no such instruction
/// of the type that the halves have.
pub(crate) fn pairwise(op: Pairwise, ty: Type, operands: &[Lanes]) -> Option<Lanes> {
    let half = |shift: u32| -> Option<Lanes> {
        let of = |index: usize| each(&operands[index], |it| it >> shift & 0xffff);
        match op {
            Pairwise::Unary(op) => unary(op, ty, &of(0)),
            Pairwise::Binary(op) => binary(op, ty, Rounding::Nearest, (&of(0), &of(1))),
            Pairwise::Fma => Some(fma(ty, Rounding::Nearest, [&of(0), &of(1), &of(2)])),
        }
    };
    let (low, high) = (half(0)?, half(16)?);
    Some(std::array::from_fn(|lane| low[lane] | high[lane] << 16))
}

/// As [`pairwise`], of what was checked when it was read.
pub(crate) fn known_pairwise(op: Pairwise, ty: Type, operands: &[Lanes]) -> Lanes {
    pairwise(op, ty, operands).expect(IS_OF_TYPE)
}
