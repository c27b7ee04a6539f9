//! The lanes without intrinsics, for processors without the known ones.

use std::ops::{BitAnd, BitOr, Shl, Shr};

use half::f16;

use super::{Range, mul_add};

/// Eight lanes of f32.
#[derive(Clone, Copy)]
pub(crate) struct F32x8([f32; 8]);

impl F32x8 {
    pub(crate) const ZERO: Self = Self([0.0; 8]);

    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        Self([value; 8])
    }

    #[inline(always)]
    pub(crate) fn load(values: &[f32; 8]) -> Self {
        Self(*values)
    }

    #[inline(always)]
    pub(crate) fn to_array(self) -> [f32; 8] {
        self.0
    }

    #[inline(always)]
    pub(crate) fn mul(self, factor: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * factor.0[i]))
    }

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| mul_add(self.0[i], factor.0[i], addend.0[i])))
    }

    /// Returns the sum of the lanes, as a tree.
    #[expect(clippy::many_single_char_names, reason = "eight lanes")]
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// Eight lanes of four bytes.
#[derive(Clone, Copy)]
pub(crate) struct Words([u32; 8]);

impl Words {
    pub(crate) const ZERO: Self = Self([0; 8]);

    /// Takes one word of each of eight rows.
    #[inline(always)]
    pub(crate) fn gather(rows: [&[u8; 4]; 8]) -> Self {
        Self(rows.map(|row| u32::from_le_bytes(*row)))
    }

    /// Transposes the words of eight rows: lane `r` of word `i` is word `i` of row `r`.
    #[inline(always)]
    pub(crate) fn transpose(rows: [&[u8; 16]; 8]) -> [Self; 4] {
        let rows = rows.map(|row| row.as_chunks().0);
        std::array::from_fn(|i| Self::gather(rows.map(|row: &[[u8; 4]]| &row[i])))
    }

    /// Byte `i` of each word as a number.
    #[inline(always)]
    pub(crate) fn byte(self, i: usize) -> F32x8 {
        F32x8(self.0.map(|word| f32::from(word.to_le_bytes()[i])))
    }

    /// Byte `i` of each word as a signed number.
    #[inline(always)]
    pub(crate) fn signed_byte(self, i: usize) -> F32x8 {
        F32x8(self.0.map(|word| f32::from(word.to_le_bytes()[i].cast_signed())))
    }

    /// The low half of each word, an f16.
    #[inline(always)]
    pub(crate) fn low_half(self) -> F32x8 {
        F32x8(self.0.map(|word| {
            let [a, b, ..] = word.to_le_bytes();
            f16::from_le_bytes([a, b]).to_f32()
        }))
    }

    /// The high half of each word, an f16.
    #[inline(always)]
    pub(crate) fn high_half(self) -> F32x8 {
        (self >> 16).low_half()
    }

    /// Returns words whose byte `j` is 255 if bit `first + j` is set, else zero. `first` must be a
    /// multiple of four.
    #[inline(always)]
    pub(crate) fn bits_to_bytes(self, first: usize) -> Self {
        Self(self.0.map(|word| {
            let byte = |j: usize| if word >> (first + j) & 1 == 1 { 255 } else { 0 };
            u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)])
        }))
    }

    /// Prepares bytes from a file for [`Words::dot`].
    #[inline(always)]
    pub(crate) fn prepare(self, _range: Range) -> Self {
        self
    }

    /// Returns the exact sums of the products of the lanes' bytes with `input`, which must not
    /// contain -128.
    #[inline(always)]
    pub(crate) fn dot<const N: usize>(
        words: &[Self; N],
        input: &[[i8; 4]; N],
        _input_sum: f32,
        range: Range,
    ) -> F32x8 {
        let value = |byte: u8| match range {
            Range::UpTo(_) => i32::from(byte),
            Range::Signed => i32::from(byte.cast_signed()),
        };
        F32x8(std::array::from_fn(|lane| {
            let mut sum = 0;
            for (word, input) in words.iter().zip(input) {
                for (weight, input) in word.0[lane].to_le_bytes().into_iter().zip(input) {
                    sum += value(weight) * i32::from(*input);
                }
            }
            sum as f32
        }))
    }
}

impl BitAnd<u32> for Words {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, mask: u32) -> Self {
        Self(self.0.map(|word| word & mask))
    }
}

impl BitOr for Words {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }
}

impl Shl<usize> for Words {
    type Output = Self;

    #[inline(always)]
    fn shl(self, bits: usize) -> Self {
        Self(self.0.map(|word| word << bits))
    }
}

impl Shr<usize> for Words {
    type Output = Self;

    #[inline(always)]
    fn shr(self, bits: usize) -> Self {
        Self(self.0.map(|word| word >> bits))
    }
}

/// Prefetches bytes, where the processor can.
#[inline(always)]
pub(crate) fn prefetch(_bytes: &[u8]) {}
