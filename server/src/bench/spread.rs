//! Medians and quantiles.

use serde::Serialize;

/// Median, least and greatest of several runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let (least, most) = (values[0], values[values.len() - 1]);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Self { median: f64::midpoint(low, high), least, most }
    }
}

/// Returns the value that `percent` of 100 values do not exceed; zero if there are no values.
pub(super) fn quantile(values: &mut [u64], percent: usize) -> u64 {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        #[track_caller]
        fn check(values: &[f64], [median, least, most]: [f64; 3]) {
            assert_eq!(Spread::of(values.to_vec()), Spread { median, least, most });
        }
        check(&[2.0], [2.0, 2.0, 2.0]);
        check(&[4.0, 1.0], [2.5, 1.0, 4.0]);
        check(&[9.0, 1.0, 3.0], [3.0, 1.0, 9.0]);
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        assert_eq!(quantile(&mut [], 50), 0);
        assert_eq!(quantile(&mut [7, 1, 5], 50), 5);
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!((quantile(&mut hundred, 50), quantile(&mut hundred, 99)), (50, 99));
    }
}
