//! Numbers as people write them: plain, or as text with a unit.

use serde::Deserialize;
use sluicegate_spec::units::Bytes;

use super::names::shown;

/// A number from a file, not yet checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "wanted a number, or a text with a number and its unit")]
pub(super) enum Figure {
    Integer(i64),
    Float(f64),
    Text(String),
}

/// What a number measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Bytes, above 0.
    Memory,
    /// Bytes, 0 or more.
    Reserve,
    /// Bytes per second.
    Speed,
    /// Operations per second.
    Rate,
    Seconds,
    /// A speed-up factor.
    Gain,
    Price,
}

impl Measure {
    /// Describes the allowed numbers, for messages.
    pub fn wanted(self) -> &'static str {
        match self {
            Self::Memory => "a size above 0, such as 24GiB",
            Self::Reserve => "a size, such as 800MiB",
            Self::Speed => "bytes per second above 0, such as 1.5e12 or 900GB/s",
            Self::Rate => "operations per second above 0, such as 6e13 or 60TFLOP/s",
            Self::Seconds => "a time of 0 or more, such as 2e-5 or 20us",
            Self::Gain => "a number of at least 1",
            Self::Price => "a number of at least 0",
        }
    }

    fn allows(self, value: f64) -> bool {
        let in_range = match self {
            Self::Memory => (1.0..u64::MAX as f64).contains(&value),
            Self::Reserve => (0.0..u64::MAX as f64).contains(&value),
            Self::Speed | Self::Rate => value > 0.0,
            Self::Seconds | Self::Price => value >= 0.0,
            Self::Gain => value >= 1.0,
        };
        in_range && value.is_finite()
    }
}

impl Figure {
    /// Returns the value in the measure's base unit.
    ///
    /// # Errors
    /// The text found, if it is not an allowed number.
    pub(super) fn value(&self, measure: Measure) -> Result<f64, String> {
        let value = match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => parse(text, measure),
        };
        value.filter(|value| measure.allows(*value)).ok_or_else(|| self.shown())
    }

    fn shown(&self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => format!("`{}`", shown(text)),
        }
    }
}

/// Parses a size in bytes; the unit's case does not matter.
pub(super) fn size(text: &str) -> Option<Bytes> {
    let (number, unit) = split(text)?;
    let unit = ["B", "KiB", "K", "MiB", "M", "GiB", "G", "TiB", "T", "kB", "MB", "GB", "TB", ""]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(unit))?;
    format!("{number}{unit}").parse().ok()
}

fn parse(text: &str, measure: Measure) -> Option<f64> {
    match measure {
        Measure::Memory | Measure::Reserve => size(text).map(|Bytes(bytes)| bytes as f64),
        Measure::Speed => {
            let (number, unit) = split(text)?;
            let unit = unit.to_ascii_lowercase();
            let per_second = unit.strip_suffix("/s").unwrap_or(&unit).trim_end();
            size(&format!("{number}{per_second}")).map(|Bytes(bytes)| bytes as f64)
        }
        Measure::Rate => scaled(text, &["flop/s", "flops/s", "flops", ""], &RATES),
        Measure::Seconds => scaled(text, &["s"], &TIMES),
        Measure::Gain | Measure::Price => text.trim().parse().ok(),
    }
}

const RATES: [(&str, f64); 5] = [("p", 1e15), ("t", 1e12), ("g", 1e9), ("m", 1e6), ("", 1.0)];
const TIMES: [(&str, f64); 5] = [("m", 1e-3), ("u", 1e-6), ("µ", 1e-6), ("n", 1e-9), ("", 1.0)];

/// Parses a number with one of the prefixes and one of the units; case does not matter.
fn scaled(text: &str, units: &[&str], prefixes: &[(&str, f64)]) -> Option<f64> {
    let (number, found) = split(text)?;
    let found = found.to_lowercase();
    let prefix = units.iter().find_map(|unit| found.strip_suffix(unit))?.trim_end();
    let (_, scale) = prefixes.iter().find(|(name, _)| *name == prefix)?;
    Some(number.parse::<f64>().ok()? * scale)
}

/// Splits the leading digits from the rest.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, measure: Measure, want: Option<f64>) {
        let found = Figure::Text(text.to_owned()).value(measure);
        assert_eq!(found.clone().ok(), want, "{text}: {found:?}");
    }

    #[test]
    fn texts_have_units() {
        check("24GiB", Measure::Memory, Some(24.0 * 1024f64.powi(3)));
        check(" 24 gib ", Measure::Memory, Some(24.0 * 1024f64.powi(3)));
        check("80GB", Measure::Memory, Some(8e10));
        check("0", Measure::Reserve, Some(0.0));
        check("0", Measure::Memory, None);
        check("-1GiB", Measure::Memory, None);
        check("99999999999TiB", Measure::Memory, None);
        check("24XB", Measure::Memory, None);
        check("1.5TB/s", Measure::Speed, Some(1.5e12));
        check("900 gb/s", Measure::Speed, Some(9e11));
        check("2TB", Measure::Speed, Some(2e12));
        check("0GB/s", Measure::Speed, None);
        check("60TFLOP/s", Measure::Rate, Some(6e13));
        check("60 tflops", Measure::Rate, Some(6e13));
        check("1.5P", Measure::Rate, Some(1.5e15));
        check("6TB", Measure::Rate, None);
        check("20us", Measure::Seconds, Some(20.0 * 1e-6));
        check("20 µs", Measure::Seconds, Some(20.0 * 1e-6));
        check("1.5ms", Measure::Seconds, Some(1.5 * 1e-3));
        check("2s", Measure::Seconds, Some(2.0));
        check("2", Measure::Seconds, None);
        check("", Measure::Seconds, None);
        check("1.2.3GB", Measure::Memory, None);
        check(&"9".repeat(400), Measure::Rate, None);
        check("2.5", Measure::Gain, Some(2.5));
        check("nan", Measure::Price, None);
    }

    #[test]
    fn numbers_are_in_range() {
        for measure in [Measure::Memory, Measure::Speed, Measure::Rate, Measure::Seconds] {
            for number in [f64::NAN, f64::INFINITY, -1.0] {
                assert!(Figure::Float(number).value(measure).is_err(), "{measure:?} {number}");
            }
        }
        assert_eq!(Figure::Integer(-5).value(Measure::Memory), Err("-5".to_owned()));
        assert_eq!(Figure::Float(0.5).value(Measure::Gain), Err("0.5".to_owned()));
    }
}
