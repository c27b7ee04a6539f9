//! The lanes without intrinsics, for processors that have none of those we know.

use super::mul_add;

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

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| mul_add(self.0[i], factor.0[i], addend.0[i])))
    }

    /// The sum of the lanes, as a tree.
    #[expect(clippy::many_single_char_names, reason = "eight lanes")]
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

/// Thirty-two unsigned bytes of a weight.
#[derive(Clone, Copy)]
pub(crate) struct Bytes32([u8; 32]);

impl Bytes32 {
    /// The low halves of the bytes, then the high halves.
    #[inline(always)]
    pub(crate) fn nibbles(bytes: &[u8; 16]) -> Self {
        Self(std::array::from_fn(|i| if i < 16 { bytes[i] & 15 } else { bytes[i - 16] >> 4 }))
    }

    /// Adds 16 to byte `i` where bit `i` is set.
    #[inline(always)]
    pub(crate) fn with_fifth_bits(self, bits: u32) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | (((bits >> i) & 1) as u8) << 4))
    }

    /// `8 * start + sum(self[i] * y[i])`, spread over the lanes; exact.
    #[inline(always)]
    pub(crate) fn dot(self, y: &[i8; 32], start: i32) -> F32x8 {
        lanes(|i| i32::from(self.0[i]) * i32::from(y[i]), start)
    }
}

/// Thirty-two signed bytes of a weight.
#[derive(Clone, Copy)]
pub(crate) struct Signed32([u8; 32]);

impl Signed32 {
    #[inline(always)]
    pub(crate) fn load(bytes: &[u8; 32]) -> Self {
        Self(*bytes)
    }

    /// `sum(self[i] * y[i])`, spread over the lanes; exact. `y` holds no -128.
    #[inline(always)]
    pub(crate) fn dot(self, y: &[i8; 32]) -> F32x8 {
        lanes(|i| i32::from(self.0[i].cast_signed()) * i32::from(y[i]), 0)
    }
}

#[inline(always)]
fn lanes(product: impl Fn(usize) -> i32, start: i32) -> F32x8 {
    F32x8(std::array::from_fn(|lane| {
        (0..4).fold(start, |sum, i| sum + product(lane * 4 + i)) as f32
    }))
}
