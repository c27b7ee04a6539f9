//! Classes of tokens that matter to JSON, whatever comes before them.

/// From this many digits on a token is long, and from this many digits of an exponent. A shorter
/// token adds less than 70 to a number's magnitude.
const LONG_DIGITS: usize = 60;
const LONG_EXPONENT: usize = 2;

/// Returns whether a token has so many digits that it may make any number too large.
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

/// Returns whether a token has at least `least` quotes.
pub(crate) fn has_quotes(bytes: &[u8], least: usize) -> bool {
    least == 0 || quotes(bytes).nth(least - 1).is_some()
}

/// Returns the positions of a token's quotes.
pub(crate) fn quotes(bytes: &[u8]) -> impl Iterator<Item = usize> {
    (0..bytes.len()).filter(|at| bytes[*at] == b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

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
