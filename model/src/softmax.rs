//! The parts of a softmax over many numbers: the greatest, and exponentials relative to it.
//!
//! Minus infinity has no weight. NaN is never the greatest.
//!
//! Weights are whole numbers, so that their sum is the same in any order, and no product is fused with
//! a sum: whoever adds them up, a processor or a GPU's threads (`kernels/sampling.cu`), finds the same
//! to the last bit.

use crate::simd::exp_unfused;

/// The weight of the greatest number: of so many parts. Up to 2^24 weights add up in 64 bits.
pub const ONE: u64 = 1 << 40;

/// Numbers processed side by side.
const LANES: usize = 8;

/// Returns the greatest number; minus infinity if there is none.
pub fn greatest(values: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, *value);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, b| greater(a, *b))
}

/// Returns `exp((value - greatest) / temperature)` of each, in parts of [`ONE`].
///
/// `greatest` is finite, and no value is greater.
pub fn weights(values: &[f32], greatest: f32, temperature: f32) -> Vec<u64> {
    values.iter().map(|value| parts(exp_unfused((value - greatest) / temperature))).collect()
}

/// Returns the sum of `exp(value - greatest)`, in parts of [`ONE`].
///
/// `greatest` is finite, and no value is greater.
pub fn sum(values: &[f32], greatest: f32) -> u64 {
    values.iter().map(|value| parts(exp_unfused(value - greatest))).sum()
}

/// The nearest whole number of parts of [`ONE`]; of two, the even one. `share` is in `[0, 1]`.
#[inline(always)]
pub fn parts(share: f32) -> u64 {
    // From here to its double, the numbers that f64 has are as far apart as the parts are.
    const SHIFT: f64 = (1u64 << 52) as f64 / ONE as f64;
    (f64::from(share) + SHIFT).to_bits() - SHIFT.to_bits()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the greatest is one of the numbers")]
mod tests {
    use super::*;

    /// From -20 to 10, in no order.
    fn values(num: u32) -> Vec<f32> {
        (0..num).map(|i| ((i * 7_919) % 3_001) as f32 * 0.01 - 20.0).collect()
    }

    #[test]
    fn sums_equal_those_of_f64() {
        for num in [1, 7, 8, 9, 1_000, 50_001] {
            let values = values(num);
            let want = values.iter().map(|value| f64::from(*value).exp()).sum::<f64>().ln();
            let greatest = greatest(&values);
            assert_eq!(greatest, values.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let got = f64::from(greatest) + (sum(&values, greatest) as f64 / ONE as f64).ln();
            assert!((got - want).abs() < 3e-7, "{num} values: {got} is not {want}");
        }
    }

    #[test]
    fn what_is_minus_infinity_or_no_number_has_no_part() {
        let infinite = f32::NEG_INFINITY;
        let mut with = vec![infinite; 20];
        with[3] = 1.5;
        with[17] = 0.5;
        assert_eq!(greatest(&with), 1.5);
        assert_eq!(sum(&with, 1.5), sum(&[1.5, 0.5], 1.5));
        let weights = weights(&with, 1.5, 0.5);
        assert_eq!((weights[3], weights[0]), (ONE, 0));
        assert!((weights[17] as f64 / ONE as f64 - (-2.0_f64).exp()).abs() < 1e-7);
        for none in [&[][..], &[infinite; 9]] {
            assert_eq!(greatest(none), infinite);
        }
        assert_eq!(greatest(&[f32::NAN, 2.0, f32::NAN]), 2.0);
    }

    #[test]
    fn parts_are_rounded_to_the_nearest() {
        for (share, want) in [(0.0, 0), (1.0, ONE), (0.5, ONE / 2)] {
            assert_eq!(parts(share), want);
        }
        let part = 1.0 / ONE as f32;
        for (numerator, want) in [(0.25, 0), (0.5, 0), (0.75, 1), (1.5, 2), (2.5, 2), (7.0, 7)] {
            assert_eq!(parts(numerator * part), want, "{numerator} parts");
        }
    }
}
