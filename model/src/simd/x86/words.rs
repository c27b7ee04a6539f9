//! Words of bytes in eight lanes, one weight row per lane.

use std::{
    arch::x86_64::{
        __m128i, __m256i, _mm_cvtsi64_si128, _mm_loadu_si128, _mm256_add_epi32, _mm256_and_si256,
        _mm256_castsi128_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cvtepi32_ps,
        _mm256_cvtph_ps, _mm256_inserti128_si256, _mm256_or_si256, _mm256_packus_epi32,
        _mm256_permute4x64_epi64, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_sll_epi32, _mm256_srai_epi32, _mm256_srl_epi32,
        _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
    },
    ops::{BitAnd, BitOr, Shl, Shr},
};

use super::F32x8;
use crate::simd::Range;

/// Eight lanes of four bytes.
#[derive(Clone, Copy)]
pub(crate) struct Words(__m256i);

impl Words {
    // SAFETY: eight zeros in place of a vector of eight u32.
    pub(crate) const ZERO: Self = Self(unsafe { std::mem::transmute::<[u32; 8], __m256i>([0; 8]) });

    /// Takes one word of each of eight rows.
    #[expect(clippy::many_single_char_names, reason = "eight lanes")]
    #[inline(always)]
    pub(crate) fn gather(rows: [&[u8; 4]; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = rows.map(|row| i32::from_le_bytes(*row));
        // SAFETY: the build's target has AVX.
        Self(unsafe { _mm256_setr_epi32(a, b, c, d, e, f, g, h) })
    }

    /// Transposes the words of eight rows: lane `r` of word `i` is word `i` of row `r`.
    #[inline(always)]
    pub(crate) fn transpose(rows: [&[u8; 16]; 8]) -> [Self; 4] {
        // Rows `r` and `r + 4` share a vector, so that nothing crosses its middle afterwards.
        let [a, b, c, d] = std::array::from_fn(|r| load(rows[r], rows[r + 4]));
        // SAFETY: the build's target has AVX2.
        unsafe {
            let ab = _mm256_unpacklo_epi32(a, b);
            let cd = _mm256_unpacklo_epi32(c, d);
            let ab_high = _mm256_unpackhi_epi32(a, b);
            let cd_high = _mm256_unpackhi_epi32(c, d);
            [
                Self(_mm256_unpacklo_epi64(ab, cd)),
                Self(_mm256_unpackhi_epi64(ab, cd)),
                Self(_mm256_unpacklo_epi64(ab_high, cd_high)),
                Self(_mm256_unpackhi_epi64(ab_high, cd_high)),
            ]
        }
    }

    /// Byte `i` of each word as a number.
    #[inline(always)]
    pub(crate) fn byte(self, i: usize) -> F32x8 {
        // SAFETY: the build's target has AVX.
        F32x8(unsafe { _mm256_cvtepi32_ps((self >> (8 * i) & 0xFF).0) })
    }

    /// Byte `i` of each word as a signed number.
    #[inline(always)]
    pub(crate) fn signed_byte(self, i: usize) -> F32x8 {
        // SAFETY: the build's target has AVX2.
        F32x8(unsafe { _mm256_cvtepi32_ps(_mm256_srai_epi32::<24>((self << (24 - 8 * i)).0)) })
    }

    /// The low half of each word, an f16.
    #[inline(always)]
    pub(crate) fn low_half(self) -> F32x8 {
        (self & 0xFFFF).halves()
    }

    /// The high half of each word, an f16.
    #[inline(always)]
    pub(crate) fn high_half(self) -> F32x8 {
        (self >> 16).halves()
    }

    /// Returns words whose byte `j` is 255 if bit `first + j` is set, else zero. `first` must be a
    /// multiple of four.
    #[inline(always)]
    pub(crate) fn bits_to_bytes(self, first: usize) -> Self {
        let byte = [0, 0x0101_0101, 0x0202_0202, 0x0303_0303][first / 8];
        let picked = [0x0804_0201, 0x8040_2010_u32][first % 8 / 4];
        // SAFETY: the build's target has AVX2.
        Self(unsafe {
            // Replaces each byte of a word by the byte that contains the four bits.
            let order = _mm256_add_epi32(
                _mm256_setr_epi32(
                    0,
                    0x0404_0404,
                    0x0808_0808,
                    0x0C0C_0C0C,
                    0,
                    0x0404_0404,
                    0x0808_0808,
                    0x0C0C_0C0C,
                ),
                _mm256_set1_epi32(byte),
            );
            let pick = _mm256_set1_epi32(picked.cast_signed());
            _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(self.0, order), pick), pick)
        })
    }

    /// Converts words below 2^16 from f16.
    #[inline(always)]
    fn halves(self) -> F32x8 {
        // SAFETY: the build's target has AVX2 and F16C.
        F32x8(unsafe {
            let packed = _mm256_packus_epi32(self.0, self.0);
            let joined = _mm256_permute4x64_epi64::<0b1000>(packed);
            _mm256_cvtph_ps(_mm256_castsi256_si128(joined))
        })
    }
}

impl BitAnd<u32> for Words {
    type Output = Self;

    #[inline(always)]
    fn bitand(self, mask: u32) -> Self {
        // SAFETY: the build's target has AVX2.
        Self(unsafe { _mm256_and_si256(self.0, _mm256_set1_epi32(mask.cast_signed())) })
    }
}

impl BitOr for Words {
    type Output = Self;

    #[inline(always)]
    fn bitor(self, other: Self) -> Self {
        // SAFETY: the build's target has AVX2.
        Self(unsafe { _mm256_or_si256(self.0, other.0) })
    }
}

impl Shl<usize> for Words {
    type Output = Self;

    #[inline(always)]
    fn shl(self, bits: usize) -> Self {
        // SAFETY: the build's target has AVX2.
        Self(unsafe { _mm256_sll_epi32(self.0, _mm_cvtsi64_si128(bits.cast_signed() as i64)) })
    }
}

impl Shr<usize> for Words {
    type Output = Self;

    #[inline(always)]
    fn shr(self, bits: usize) -> Self {
        // SAFETY: the build's target has AVX2.
        Self(unsafe { _mm256_srl_epi32(self.0, _mm_cvtsi64_si128(bits.cast_signed() as i64)) })
    }
}

#[expect(clippy::cast_ptr_alignment, reason = "the loads take any alignment")]
#[inline(always)]
fn load(low: &[u8; 16], high: &[u8; 16]) -> __m256i {
    // SAFETY: the build's target has AVX2; the arrays are 16 readable bytes each.
    unsafe {
        let low = _mm_loadu_si128(low.as_ptr().cast::<__m128i>());
        let high = _mm_loadu_si128(high.as_ptr().cast::<__m128i>());
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
    }
}

#[inline(always)]
fn broadcast(input: [i8; 4]) -> __m256i {
    // SAFETY: the build's target has AVX.
    unsafe { _mm256_set1_epi32(i32::from_le_bytes(input.map(i8::cast_unsigned))) }
}

#[cfg(all(target_feature = "avx512vnni", target_feature = "avx512vl"))]
impl Words {
    /// Prepares bytes from a file for [`Words::dot`].
    ///
    /// Signed bytes are shifted by 128, since the products are of unsigned bytes.
    #[inline(always)]
    pub(crate) fn prepare(self, range: Range) -> Self {
        use std::arch::x86_64::_mm256_xor_si256;
        match range {
            Range::UpTo(_) => self,
            // SAFETY: the build's target has AVX2.
            Range::Signed => Self(unsafe {
                _mm256_xor_si256(self.0, _mm256_set1_epi32(0x8080_8080_u32.cast_signed()))
            }),
        }
    }

    /// Returns the exact sums of the products of the lanes' bytes with `input`, which must not
    /// contain -128. `input_sum` is the sum of `input`.
    #[inline(always)]
    pub(crate) fn dot<const N: usize>(
        words: &[Self; N],
        input: &[[i8; 4]; N],
        input_sum: f32,
        range: Range,
    ) -> F32x8 {
        use std::arch::x86_64::_mm256_dpbusd_epi32;
        // SAFETY: the build's target has VNNI for vectors of this length.
        let sums = F32x8(unsafe {
            let mut sums = _mm256_setzero_si256();
            for (word, input) in words.iter().zip(input) {
                sums = _mm256_dpbusd_epi32(sums, word.0, broadcast(*input));
            }
            _mm256_cvtepi32_ps(sums)
        });
        match range {
            Range::UpTo(_) => sums,
            // Exact: at most 32 * 255 * 127 < 2^24.
            Range::Signed => F32x8::splat(input_sum).mul_add(F32x8::splat(-128.0), sums),
        }
    }
}

#[cfg(not(all(target_feature = "avx512vnni", target_feature = "avx512vl")))]
impl Words {
    /// Prepares bytes from a file for [`Words::dot`].
    #[inline(always)]
    pub(crate) fn prepare(self, _range: Range) -> Self {
        self
    }

    /// Returns the exact sums of the products of the lanes' bytes with `input`, which must not
    /// contain -128. `input_sum` is the sum of `input`.
    #[inline(always)]
    pub(crate) fn dot<const N: usize>(
        words: &[Self; N],
        input: &[[i8; 4]; N],
        _input_sum: f32,
        range: Range,
    ) -> F32x8 {
        use std::arch::x86_64::{
            _mm256_abs_epi8, _mm256_add_epi16, _mm256_madd_epi16, _mm256_maddubs_epi16,
            _mm256_set1_epi16, _mm256_sign_epi8,
        };
        // A pair of products is at most `2 * largest * 127`; for signed bytes, with magnitudes up
        // to 128, it is at most 32_512. This many pairs fit 16 bits.
        let num_pairs = match range {
            Range::UpTo(largest) => 32_767 / (2 * 127 * usize::from(largest)),
            Range::Signed => 1,
        };
        // SAFETY: the build's target has AVX2.
        F32x8(unsafe {
            let mut sums = _mm256_setzero_si256();
            let mut pairs = _mm256_setzero_si256();
            for i in 0..N {
                let (weights, input) = (words[i].0, broadcast(input[i]));
                let products = match range {
                    Range::UpTo(_) => _mm256_maddubs_epi16(weights, input),
                    Range::Signed => _mm256_maddubs_epi16(
                        _mm256_abs_epi8(weights),
                        _mm256_sign_epi8(input, weights),
                    ),
                };
                pairs = _mm256_add_epi16(pairs, products);
                if (i + 1) % num_pairs == 0 || i + 1 == N {
                    sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                    pairs = _mm256_setzero_si256();
                }
            }
            _mm256_cvtepi32_ps(sums)
        })
    }
}
