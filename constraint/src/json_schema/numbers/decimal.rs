//! Decimal numbers of any size: comparison and JSON notation.

use serde_json::Number;

/// The most zeros written out before or after the digits.
const MAX_ZEROS: i32 = 40;

/// A decimal number: `0.DIGITS` times a power of ten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Decimal {
    pub(super) is_negative: bool,
    /// Without leading or trailing zeros; empty for zero.
    pub(super) digits: String,
    pub(super) exponent: i32,
}

/// A number rounded down, and whether it was whole.
pub(super) struct Scaled {
    pub(super) floor: i128,
    pub(super) is_whole: bool,
}

impl Decimal {
    pub(in super::super) fn new(number: &Number) -> Self {
        let text = if number.is_f64() {
            format!("{:e}", number.as_f64().unwrap_or(0.0))
        } else {
            number.to_string()
        };
        Self::parse(&text)
    }

    /// Parses the text of a [`Number`] or a float.
    pub(super) fn parse(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let is_negative = mantissa.starts_with('-');
        let mantissa = mantissa.trim_start_matches('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let num_zeros = all.len() - digits.len();
        let size = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
        let point = size(whole.len()) - size(num_zeros);
        let exponent = exponent.parse::<i64>().unwrap_or(0).saturating_add(point);
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Self { is_negative: false, digits, exponent: 0 };
        }
        let exponent = i32::try_from(exponent).unwrap_or(i32::MAX);
        Self { is_negative, digits, exponent }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    fn size(&self) -> (bool, i32, &str) {
        (!self.is_zero(), self.exponent, &self.digits)
    }

    pub(super) fn negated(&self) -> Self {
        Self { is_negative: !self.is_negative && !self.is_zero(), ..self.clone() }
    }

    /// Returns the digits before the point, at least one, and those after it.
    pub(super) fn split(&self) -> (String, String) {
        let num_whole = usize::try_from(self.exponent).unwrap_or(0);
        if num_whole == 0 {
            let zeros = usize::try_from(-self.exponent).unwrap_or(0);
            let zeros = if self.is_zero() { 0 } else { zeros };
            return ("0".to_owned(), "0".repeat(zeros) + &self.digits);
        }
        let num_digits = self.digits.len().min(num_whole);
        let padding = "0".repeat(num_whole - num_digits);
        (self.digits[..num_digits].to_owned() + &padding, self.digits[num_digits..].to_owned())
    }

    /// Returns whether it can be written out without an exponent.
    pub(in super::super) fn is_writable(&self) -> bool {
        self.exponent.abs() <= MAX_ZEROS
    }

    /// Returns the number in plain notation, without an exponent.
    pub(in super::super) fn plain(&self) -> String {
        let (whole, fraction) = self.split();
        let sign = if self.is_negative { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    /// Returns the number times a power of ten, if 128 bits hold it.
    pub(super) fn scaled(&self, power: usize) -> Option<Scaled> {
        let (whole, fraction) = self.split();
        let num_kept = fraction.len().min(power);
        let padding = "0".repeat(power - num_kept);
        let size = format!("{whole}{}{padding}", &fraction[..num_kept]).parse::<i128>().ok()?;
        let is_whole = num_kept == fraction.len();
        let floor = match self.is_negative {
            false => size,
            true if is_whole => -size,
            true => -size - 1,
        };
        Some(Scaled { floor, is_whole })
    }

    /// Returns whether the number is a multiple of another; none if 128 bits do not hold both.
    pub(in crate::json_schema) fn is_multiple_of(&self, other: &Self) -> Option<bool> {
        let decimals = self.split().1.len().max(other.split().1.len());
        let (value, step) = (self.scaled(decimals)?.floor, other.scaled(decimals)?.floor);
        (step != 0).then(|| value % step == 0)
    }

    pub(in super::super) fn is_whole(&self) -> bool {
        let num_before = usize::try_from(self.exponent).unwrap_or(0);
        self.digits.len() <= num_before
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self.is_negative, other.is_negative) {
            (false, false) => self.size().cmp(&other.size()),
            (true, true) => other.size().cmp(&self.size()),
            (a, b) => b.cmp(&a),
        }
    }
}
