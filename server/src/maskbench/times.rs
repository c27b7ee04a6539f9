//! Percentiles of measured times.

use std::time::Duration;

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// Sorted times. As JSON, their number and percentiles in microseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Times(Vec<Duration>);

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the least time that `per_mille` thousandths of the times do not exceed; zero if
    /// there are none.
    pub(super) fn at(&self, per_mille: usize) -> Duration {
        let rank = (self.0.len() * per_mille).div_ceil(1000).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(super) fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Times", 6)?;
        fields.serialize_field("num", &self.len())?;
        fields.serialize_field("p50", &microseconds(self.at(500)))?;
        fields.serialize_field("p90", &microseconds(self.at(900)))?;
        fields.serialize_field("p99", &microseconds(self.at(990)))?;
        fields.serialize_field("p99_9", &microseconds(self.at(999)))?;
        fields.serialize_field("max", &microseconds(self.max()))?;
        fields.end()
    }
}

pub(crate) fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Times = (1..=200).rev().map(Duration::from_micros).collect();
        for (per_mille, want) in [(0, 1), (500, 100), (900, 180), (990, 198), (999, 200)] {
            assert_eq!(times.at(per_mille), Duration::from_micros(want), "{per_mille}");
        }
        assert_eq!(times.max(), Duration::from_micros(200));
        assert_eq!(Times::default().at(500), Duration::ZERO);
    }
}
