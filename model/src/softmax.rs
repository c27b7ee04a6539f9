//! The parts of a softmax over many numbers: the greatest, and exponentials relative to it.
//!
//! Minus infinity has no weight. NaN is never the greatest.

use crate::simd::exp;

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

/// Returns `exp((value - greatest) / temperature)` of each, with the relative error of f32.
pub fn weights(values: &[f32], greatest: f32, temperature: f32) -> Vec<f32> {
    values.iter().map(|value| exp((value - greatest) / temperature)).collect()
}

/// Returns `log(sum(exp(values)))`, summed in f64; minus infinity if no value has weight.
pub fn log_sum_exp(values: &[f32], greatest: f32) -> f64 {
    if greatest == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0_f64; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(exp(value - greatest));
        }
    }
    let rest = rest.iter().map(|value| f64::from(exp(value - greatest)));
    f64::from(greatest) + lanes.into_iter().chain(rest).sum::<f64>().ln()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the greatest is one of the numbers, and zero is zero")]
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
            let got = log_sum_exp(&values, greatest);
            assert!((got - want).abs() < 3e-7, "{num} values: {got} is not {want}");
        }
    }

    #[test]
    fn what_is_minus_infinity_or_no_number_has_no_part() {
        let infinite = f32::NEG_INFINITY;
        let mut with = vec![infinite; 20];
        with[3] = 1.5;
        with[17] = 0.5;
        let alone = [1.5, 0.5];
        assert_eq!(greatest(&with), 1.5);
        assert!((log_sum_exp(&with, 1.5) - log_sum_exp(&alone, 1.5)).abs() < 1e-12);
        let weights = weights(&with, 1.5, 0.5);
        assert_eq!((weights[3], weights[0]), (1.0, 0.0));
        assert!((f64::from(weights[17]) - (-2.0_f64).exp()).abs() < 1e-7);
        for none in [&[][..], &[infinite; 9]] {
            assert_eq!(greatest(none), infinite);
            assert_eq!(log_sum_exp(none, infinite), f64::NEG_INFINITY);
        }
        assert_eq!(greatest(&[f32::NAN, 2.0, f32::NAN]), 2.0);
    }
}
