//! The lanes with AVX2, FMA and F16C, and VNNI if the build's target has it.
//!
//! Compiled only if the build's target has AVX2, FMA and F16C, so every processor that may run this
//! code has them, as the intrinsics' safety requires.

use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehdup_ps, _mm_movehl_ps,
    _mm_prefetch, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_mul_ps, _mm256_set1_ps, _mm256_storeu_ps,
};

mod words;
pub(crate) use words::Words;

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

    #[inline(always)]
    pub(crate) fn to_array(self) -> [f32; 8] {
        let mut values = [0.0; 8];
        // SAFETY: the build's target has AVX; the array is 32 writable bytes.
        unsafe { _mm256_storeu_ps(values.as_mut_ptr(), self.0) };
        values
    }

    #[inline(always)]
    pub(crate) fn mul(self, factor: Self) -> Self {
        // SAFETY: the build's target has AVX.
        Self(unsafe { _mm256_mul_ps(self.0, factor.0) })
    }

    /// `self * factor + addend`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the build's target has FMA.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, addend.0) })
    }

    /// Returns the sum of the lanes, as a tree.
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

/// Prefetches bytes.
#[inline(always)]
pub(crate) fn prefetch(bytes: &[u8]) {
    for line in bytes.chunks(64) {
        // SAFETY: a hint, for a valid address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast::<i8>()) };
    }
}
