//! The lanes by AVX2 and FMA, with VNNI where the build's target has it.
//!
//! Compiled only where the build's target has AVX2 and FMA, so that every processor that may run
//! this code has them: that is what the intrinsics' safety asks for.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128,
    _mm_movehdup_ps, _mm_movehl_ps, _mm_srli_epi16, _mm256_and_si256, _mm256_castps256_ps128,
    _mm256_castsi128_si256, _mm256_cmpeq_epi8, _mm256_cvtepi32_ps, _mm256_extractf128_ps,
    _mm256_fmadd_ps, _mm256_inserti128_si256, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi64x,
    _mm256_shuffle_epi8, _mm256_sign_epi8,
};

/// Eight lanes of f32.
#[derive(Clone, Copy)]
pub(crate) struct F32x8(__m256);

impl F32x8 {
    // SAFETY: eight zeros in place of a vector of eight f32.
    pub(crate) const ZERO: Self =
        Self(unsafe { std::mem::transmute::<[f32; 8], __m256>([0.0; 8]) });

    #[inline(always)]
    pub(crate) fn splat(value: f32) -> Self {
        // SAFETY: the build's target has AVX.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    pub(crate) fn load(values: &[f32; 8]) -> Self {
        // SAFETY: the build's target has AVX; the array is 32 readable bytes.
        Self(unsafe { _mm256_loadu_ps(values.as_ptr()) })
    }

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the build's target has FMA.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    /// The sum of the lanes, as a tree.
    #[inline(always)]
    pub(crate) fn sum(self) -> f32 {
        // SAFETY: the build's target has AVX.
        unsafe {
            let high = _mm256_extractf128_ps::<1>(self.0);
            let four = _mm_add_ps(_mm256_castps256_ps128(self.0), high);
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}

/// Thirty-two unsigned bytes of a weight.
#[derive(Clone, Copy)]
pub(crate) struct Bytes32(__m256i);

impl Bytes32 {
    /// The low halves of the bytes, then the high halves.
    #[expect(clippy::cast_ptr_alignment, reason = "the load takes any alignment")]
    #[inline(always)]
    pub(crate) fn nibbles(bytes: &[u8; 16]) -> Self {
        // SAFETY: the build's target has AVX2; the array is 16 readable bytes.
        Self(unsafe {
            let low = _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>());
            let high = _mm_srli_epi16::<4>(low);
            let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high);
            _mm256_and_si256(both, _mm256_set1_epi8(15))
        })
    }

    /// Adds 16 to byte `i` where bit `i` is set.
    #[inline(always)]
    pub(crate) fn with_fifth_bits(self, bits: u32) -> Self {
        // SAFETY: the build's target has AVX2.
        Self(unsafe {
            // Byte i of `spread` is byte i / 8 of `bits`; bit i % 8 of it is picked by `pick`.
            let order = _mm256_setr_epi64x(
                0,
                0x0101_0101_0101_0101,
                0x0202_0202_0202_0202,
                0x0303_0303_0303_0303,
            );
            let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(bits.cast_signed()), order);
            let pick = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
            let set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, pick), pick);
            _mm256_or_si256(self.0, _mm256_and_si256(set, _mm256_set1_epi8(16)))
        })
    }

    /// `8 * start + sum(self[i] * y[i])`, spread over the lanes; exact for bytes up to 127.
    #[inline(always)]
    pub(crate) fn dot(self, y: &[i8; 32], start: i32) -> F32x8 {
        // SAFETY: the build's target has AVX2.
        F32x8(unsafe { _mm256_cvtepi32_ps(products(self.0, load(y), _mm256_set1_epi32(start))) })
    }
}

/// Thirty-two signed bytes of a weight.
#[derive(Clone, Copy)]
pub(crate) struct Signed32(__m256i);

impl Signed32 {
    /// Straight from the block: a copy by bytes would cost more than the product.
    #[expect(clippy::cast_ptr_alignment, reason = "the load takes any alignment")]
    #[inline(always)]
    pub(crate) fn load(bytes: &[u8; 32]) -> Self {
        // SAFETY: the build's target has AVX; the array is 32 readable bytes.
        Self(unsafe { _mm256_loadu_si256(bytes.as_ptr().cast::<__m256i>()) })
    }

    /// `sum(self[i] * y[i])`, spread over the lanes; exact. `y` holds no -128.
    #[inline(always)]
    pub(crate) fn dot(self, y: &[i8; 32]) -> F32x8 {
        // SAFETY: the build's target has AVX2.
        F32x8(unsafe {
            let magnitude = _mm256_sign_epi8(self.0, self.0);
            let signed = _mm256_sign_epi8(load(y), self.0);
            _mm256_cvtepi32_ps(products(magnitude, signed, _mm256_set1_epi32(0)))
        })
    }
}

#[expect(clippy::cast_ptr_alignment, reason = "the load takes any alignment")]
#[inline(always)]
fn load(bytes: &[i8; 32]) -> __m256i {
    // SAFETY: the build's target has AVX; the array is 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast::<__m256i>()) }
}

/// Adds four products of unsigned and signed bytes to each of eight i32.
#[cfg(all(target_feature = "avx512vnni", target_feature = "avx512vl"))]
#[inline(always)]
fn products(unsigned: __m256i, signed: __m256i, sums: __m256i) -> __m256i {
    // SAFETY: the build's target has VNNI for vectors of this length.
    unsafe { std::arch::x86_64::_mm256_dpbusd_epi32(sums, unsigned, signed) }
}

/// Adds four products of unsigned and signed bytes to each of eight i32.
///
/// Two products are added in 16 bits first, which both callers' ranges fit.
#[cfg(not(all(target_feature = "avx512vnni", target_feature = "avx512vl")))]
#[inline(always)]
fn products(unsigned: __m256i, signed: __m256i, sums: __m256i) -> __m256i {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_madd_epi16, _mm256_maddubs_epi16, _mm256_set1_epi16,
    };
    // SAFETY: the build's target has AVX2.
    unsafe {
        let pairs = _mm256_maddubs_epi16(unsigned, signed);
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }
}
