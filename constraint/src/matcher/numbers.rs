//! Keeps the numbers of a JSON text within what readers hold.
//!
//! JSON bounds no number, and so neither does the grammar. But many readers refuse a number beyond
//! 64-bit floats, or read it as infinite. Here a number stays finite as such a float, and an
//! exponent has three digits at most. Owns nothing else of the text.

use crate::TokenId;
use crate::mask::Mask;
use crate::vocab::Vocab;

const MAX_EXPONENT_DIGITS: u8 = 3;
/// Significant digits that are compared with those of the largest float.
const MAX_LEAD_DIGITS: u8 = 17;
/// The largest float in that many digits, and where its decimal point is behind the first of them.
const MAX_LEAD: u64 = 17_976_931_348_623_157;
const MAX_MAGNITUDE: i32 = 309;
/// What follows a number that is no larger than this can be too large only if its token is long.
const SAFE_MAGNITUDE: i32 = 200;
/// Digits of a long token, and of the exponent in one. Below both, a token adds less than 70 to a
/// magnitude.
const LONG_DIGITS: usize = 60;
const LONG_EXPONENT: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Outside,
    Text,
    Escape,
    Whole,
    Fraction,
    Exponent,
}

/// Where a text is, as far as its numbers go.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    kind: Kind,
    /// Digits of `lead`, and of the exponent.
    num_lead: u8,
    num_exponent: u8,
    is_small: bool,
    exponent: i16,
    /// Digits between the first one that is not zero and the decimal point; below zero where zeros
    /// follow the point.
    magnitude: i32,
    /// The first digits that are not leading zeros.
    lead: u64,
}

impl Place {
    /// Reads on; false once a number is too large.
    fn read(&mut self, bytes: &[u8]) -> bool {
        let mut is_within = true;
        for byte in bytes {
            self.next(*byte);
            is_within &= self.is_within();
        }
        is_within
    }

    fn next(&mut self, byte: u8) {
        self.kind = match (self.kind, byte) {
            (Kind::Text, b'\\') => Kind::Escape,
            (Kind::Text, b'"') => Kind::Outside,
            (Kind::Text | Kind::Escape, _) | (_, b'"') => Kind::Text,
            (Kind::Whole, b'.') => Kind::Fraction,
            (Kind::Whole | Kind::Fraction, b'e' | b'E') | (Kind::Exponent, b'+') => Kind::Exponent,
            (Kind::Exponent, b'-') => {
                self.is_small = true;
                Kind::Exponent
            }
            (Kind::Outside, b'-' | b'0'..=b'9') => {
                *self = Self::default();
                self.digit(Kind::Whole, byte);
                Kind::Whole
            }
            (kind, b'0'..=b'9') => {
                self.digit(kind, byte);
                kind
            }
            _ => Kind::Outside,
        };
    }

    fn digit(&mut self, kind: Kind, byte: u8) {
        if byte == b'-' {
            return;
        }
        let digit = byte - b'0';
        if kind == Kind::Exponent {
            self.num_exponent = self.num_exponent.saturating_add(1);
            self.exponent = self.exponent.saturating_mul(10).saturating_add(digit.into());
            return;
        }
        let is_leading_zero = self.num_lead == 0 && digit == 0;
        match kind {
            Kind::Whole if !is_leading_zero => self.magnitude += 1,
            Kind::Fraction if is_leading_zero => self.magnitude -= 1,
            _ => {}
        }
        if !is_leading_zero && self.num_lead < MAX_LEAD_DIGITS {
            self.num_lead += 1;
            self.lead = self.lead * 10 + u64::from(digit);
        }
    }

    fn is_within(&self) -> bool {
        if !matches!(self.kind, Kind::Whole | Kind::Fraction | Kind::Exponent) {
            return true;
        }
        let exponent = if self.is_small { -self.exponent } else { self.exponent };
        let magnitude = self.magnitude + i32::from(exponent);
        let padding = u32::from(MAX_LEAD_DIGITS - self.num_lead);
        let is_finite = self.num_lead == 0
            || magnitude < MAX_MAGNITUDE
            || magnitude == MAX_MAGNITUDE && self.lead * 10u64.pow(padding) <= MAX_LEAD;
        is_finite && self.num_exponent <= MAX_EXPONENT_DIGITS
    }

    /// Whether short tokens may make a number too large here.
    fn is_near(&self) -> bool {
        match self.kind {
            Kind::Whole | Kind::Fraction => self.magnitude > SAFE_MAGNITUDE,
            Kind::Exponent => true,
            Kind::Outside | Kind::Text | Kind::Escape => false,
        }
    }
}

/// Follows one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// Where the text is behind each token.
    places: Vec<Place>,
}

impl Numbers {
    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or_default()
    }

    /// Whether all numbers stay small enough with these bytes behind the text.
    pub(super) fn allow(&self, bytes: &[u8]) -> bool {
        self.place().read(bytes)
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut place = self.place();
        // A finish that was known before may have been taken.
        place.read(bytes);
        self.places.push(place);
    }

    pub(super) fn rollback(&mut self, num_tokens: usize) {
        self.places.truncate(self.places.len() - num_tokens);
    }

    /// Takes out of a mask what would make a number too large. If nothing else is allowed, as where
    /// a number must still become a multiple, all stays.
    pub(super) fn trim(&self, mask: Mask, vocab: &Vocab) -> Mask {
        let is_beyond = |token: &TokenId| !self.allow(vocab.token_bytes(*token));
        let denied: Vec<TokenId> = if self.place().is_near() {
            mask.iter().filter(is_beyond).collect()
        } else {
            let long = vocab.long_numbers().iter().copied();
            long.filter(|token| mask.allows(*token)).filter(is_beyond).collect()
        };
        if denied.is_empty() {
            return mask;
        }
        let mut trimmed = mask.clone();
        if trimmed.deny(&denied) { trimmed } else { mask }
    }
}

/// Whether a token holds so many digits that it may make any number too large.
pub(crate) fn is_long(bytes: &[u8]) -> bool {
    let num_digits = |from: &[u8]| from.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (0..bytes.len()).any(|at| match bytes[at] {
        b'0'..=b'9' => {
            (at == 0 || !bytes[at - 1].is_ascii_digit()) && num_digits(&bytes[at..]) >= LONG_DIGITS
        }
        b'e' | b'E' => {
            let rest = &bytes[at + 1..];
            let rest = rest.strip_prefix(b"+").unwrap_or(rest);
            num_digits(rest.strip_prefix(b"-").unwrap_or(rest)) >= LONG_EXPONENT
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: bool) {
        let mut place = Place::default();
        assert_eq!(place.read(text.as_bytes()), want, "{text}");
    }

    #[test]
    fn numbers_are_within_floats() {
        let ones = "1".repeat(309);
        for text in [
            "[-1.5e+300,\"1e9999\\\"1e9999\",1E-999]",
            "1.7976931348623157e308",
            "-179769313486231570e291",
            "0.00001e313",
            "[1e308, 1e308]",
            "0e999",
            "0.0e999",
            &ones[1..],
            &ones,
            "true",
            "1e",
            "1e+",
        ] {
            check(text, true);
            let value = serde_json::from_str::<serde_json::Value>(text);
            let is_broken = |error: &serde_json::Error| error.is_eof();
            assert!(value.as_ref().err().is_none_or(is_broken), "{text}: {value:?}");
        }
        let twos = "2".repeat(309);
        for text in [
            "1e309",
            "[1,2,1e309",
            "1.7976931348623158e308",
            "0.00001e314",
            "20e307",
            "1e0001",
            "1e-1000",
            &twos,
            &format!("{ones}1"),
            &format!("{}.5e1", &ones[1..].replace('1', "9")),
        ] {
            check(text, false);
        }
    }

    #[test]
    fn tokens_with_many_digits_are_told_apart() {
        let zeros = "0".repeat(60);
        for (text, want) in [
            ("e10", true),
            ("1e+99,", true),
            ("E-123", true),
            ("e1", false),
            ("hello 12", false),
            (zeros.as_str(), true),
            (&zeros[1..], false),
            ("", false),
        ] {
            assert_eq!(is_long(text.as_bytes()), want, "{text}");
        }
    }
}
