//! What the result of an instruction must be.

use std::fmt;

use super::{
    hex,
    numbers::{F32, Format},
};

/// What a result must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    Bits(u32),
    /// Any of the NaNs of a format, in the low bits.
    Nan(Format),
    /// Two numbers of 16 bits, the low one first; none is any NaN.
    Pair([Option<u32>; 2], Format),
    /// A value of 32 bits that may be missed by an error.
    Near(Near),
    /// The documentation does not say.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Near {
    value: f64,
    error: f64,
    /// Whether a result that is not normal becomes zero.
    flushes: bool,
}

/// Values of at least this size round to infinity.
const TOO_LARGE: f64 = f32::MAX as f64 + ulp(f32::MAX as f64) / 2.0;

impl Wanted {
    /// Zero, where it may be missed.
    pub(super) fn about_zero(error: f64) -> Self {
        Self::Near(Near { value: 0.0, error, flushes: false })
    }

    pub(super) fn is_met(self, found: u32) -> bool {
        match self {
            Self::Bits(bits) => bits == found,
            Self::Nan(format) => format.is_nan(found),
            Self::Pair(halves, format) => {
                let [low, high] = halves.map(|it| number(it, format));
                low.is_met(found & 0xFFFF) && high.is_met(found >> 16)
            }
            Self::Near(near) => near.is_met(f32::from_bits(found)),
            Self::Any => true,
        }
    }
}

impl Near {
    fn is_met(self, found: f32) -> bool {
        let Self { value, error, flushes } = self;
        if found.is_infinite() {
            return value.abs() + error >= TOO_LARGE && f64::from(found).signum() == value.signum();
        }
        if flushes && found.abs() < f32::MIN_POSITIVE {
            let may_be_flushed = value.abs() - error < f32::MIN_POSITIVE.into();
            return found == 0.0 && may_be_flushed && found.is_sign_negative() == (value < 0.0);
        }
        (f64::from(found) - value).abs() <= error
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits(bits) => f.write_str(&hex(&[*bits])),
            Self::Nan(_) => f.write_str("NaN"),
            Self::Pair([low, high], format) => {
                write!(f, "{} above {}", number(*high, *format), number(*low, *format))
            }
            Self::Near(Near { value, error, .. }) => write!(f, "{value:e} to {error:e}"),
            Self::Any => f.write_str("anything"),
        }
    }
}

/// A number, or any NaN.
pub(super) fn number(bits: Option<u32>, format: Format) -> Wanted {
    bits.map_or(Wanted::Nan(format), Wanted::Bits)
}

/// A value to the bit, or any NaN.
pub(super) fn exact(value: f32) -> Wanted {
    number((!value.is_nan()).then(|| value.to_bits()), F32)
}

/// A value that may be missed by an error. Zeros, infinities and NaN may not.
#[expect(clippy::cast_possible_truncation, reason = "nothing of these is lost")]
pub(super) fn near(value: f64, error: f64) -> Wanted {
    if value.is_nan() || value.is_infinite() || value == 0.0 {
        return exact(value as f32);
    }
    // One step of the subnormal numbers is more than a relative error of them.
    let error = error.max(ulp(0.0));
    Wanted::Near(Near { value, error, flushes: false })
}

/// The same of an instruction that makes zero of what is not normal.
pub(super) fn flushed(wanted: Wanted) -> Wanted {
    match wanted {
        Wanted::Near(near) => Wanted::Near(Near { flushes: true, ..near }),
        wanted => wanted,
    }
}

/// The unit in the last place of a number of 32 bits.
pub(super) const fn ulp(value: f64) -> f64 {
    /// Of a number of 64 bits, how many of its fraction one of 32 bits lacks, and its bias.
    const LACKS: u64 = 29;
    let exponent = value.to_bits() >> 52 & 0x7FF;
    // The least exponent of normal numbers of 32 bits is -126.
    let exponent = if exponent < 1023 - 126 { 1023 - 126 } else { exponent };
    f64::from_bits((exponent - (52 - LACKS)) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_32_bits() {
        for value in [1.0_f32, 1.5, 3.0, 1e-30, 6.5e30, f32::MIN_POSITIVE, 1e-42] {
            let step = f64::from(value.next_up()) - f64::from(value);
            assert_eq!(ulp(value.into()).to_bits(), step.to_bits(), "{value}");
        }
    }

    #[test]
    fn values_may_be_missed_by_no_more_than_the_error() {
        let wanted = near(1.0, 2.0 * ulp(1.0));
        for (found, is_met) in [(0, true), (2, true), (3, false)] {
            assert_eq!(wanted.is_met(1_f32.to_bits() + found), is_met, "{found}");
        }
        assert!(!near(0.0, 1.0).is_met(1_f32.to_bits()));
        assert!(near(2_f64.powi(200), 1.0).is_met(f32::INFINITY.to_bits()));
        assert!(!near(2_f64.powi(200), 1.0).is_met(f32::NEG_INFINITY.to_bits()));
        assert!(!near(2_f64.powi(120), 1.0).is_met(f32::INFINITY.to_bits()));
        let small = near(-1e-40, 0.0);
        assert!(small.is_met((-1e-40_f32).to_bits()));
        assert!(!flushed(small).is_met((-1e-40_f32).to_bits()));
        assert!(flushed(small).is_met((-0.0_f32).to_bits()));
        assert!(!flushed(small).is_met(0));
        assert!(!flushed(near(1.0, 0.1)).is_met(0));
    }
}
