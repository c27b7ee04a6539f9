//! Numbers in JSON: exact decimals, and the texts of numbers within bounds.

mod decimal;
mod multiple;
mod ranges;

pub(super) use decimal::Decimal;
pub(super) use multiple::Multiple;
pub(crate) use multiple::common_multiple;
pub(super) use ranges::{Bound, COMMON, decimals, fractions, integers};
use serde_json::Number;

/// Returns the text of a schema's number; whole numbers get neither point nor exponent.
pub(crate) fn spelled(number: &Number) -> String {
    let decimal = Decimal::new(number);
    if decimal.is_whole() && decimal.is_writable() { decimal.plain() } else { number.to_string() }
}

/// Returns the spellings of a schema's number, [`spelled`] first.
pub(super) fn spellings(number: &Number) -> Vec<String> {
    let mut all = vec![spelled(number)];
    let decimal = Decimal::new(number);
    if decimal.is_writable() && !all.contains(&decimal.plain()) {
        all.push(decimal.plain());
    }
    // C and Python write a single-digit negative exponent with two digits.
    if let Some((mantissa, digit @ ("0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9"))) =
        all[0].split_once("e-")
    {
        all.push(format!("{mantissa}e-0{digit}"));
    }
    all
}

#[cfg(test)]
mod tests {
    use llguidance::derivre::{RegexAst, RegexBuilder};
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::new(&text.parse().unwrap())
    }

    fn is_match(text: &RegexAst, number: &str) -> bool {
        let mut builder = RegexBuilder::new();
        let expression = builder.mk(text).unwrap();
        builder.into_regex(expression).is_match(number)
    }

    #[test]
    fn numbers_are_spelled_as_readers_expect() {
        for (number, want) in [
            ("1.0", vec!["1"]),
            ("1e2", vec!["100"]),
            ("-0.0", vec!["0"]),
            ("1e-7", vec!["1e-7", "0.0000001", "1e-07"]),
            ("-2.50", vec!["-2.5"]),
            ("18446744073709551615", vec!["18446744073709551615"]),
            ("1e300", vec!["1e+300"]),
        ] {
            assert_eq!(spellings(&number.parse().unwrap()), want, "{number}");
        }
    }

    #[test]
    fn bounds_of_64_bits_are_exact() {
        let least = decimal("-9223372036854775808");
        let most = decimal("18446744073709551615");
        let within = integers(Some((&least, true)), Some((&most, true))).unwrap();
        for (number, want) in [
            ("-9223372036854775808", true),
            ("-9223372036854775809", false),
            ("18446744073709551615", true),
            ("18446744073709551616", false),
            ("0", true),
            ("-1", true),
            ("99999999999999999999", false),
        ] {
            assert_eq!(is_match(&within, number), want, "{number}");
        }
    }

    #[test]
    fn exponents_keep_within_bounds() {
        let zero = decimal("0");
        let above = decimals(Some((&zero, false)), None).unwrap();
        for number in ["1e-7", "0.0000001", "1.5e-7", "2E+10", "1e-07", "3"] {
            assert!(is_match(&above, number), "{number}");
        }
        for number in ["0", "0.0", "-1", "-0.0", "-1e-7", "0e5"] {
            assert!(!is_match(&above, number), "{number}");
        }
        let five = decimal("5");
        let below = decimals(None, Some((&five, true))).unwrap();
        for (number, want) in [
            ("5", true),
            ("5.0", true),
            ("5e0", true),
            ("5.1e0", false),
            ("1e1", false),
            ("1e-3", true),
            ("-1e9", true),
        ] {
            assert_eq!(is_match(&below, number), want, "{number}");
        }
    }

    #[test]
    fn multiples_of_several_numbers_are_those_of_one() {
        let multiple = |text: &str| Multiple::new(&text.parse().unwrap());
        for number in ["65536", "1e-5", "6.55351", "1e300"] {
            assert!(multiple(number).is_none(), "{number}");
        }
        let both = multiple("0.4").unwrap().and(multiple("3")).unwrap();
        for (number, want) in
            [("6", true), ("-12", true), ("1.2", false), ("3", false), ("0", true)]
        {
            assert_eq!(is_match(&both.texts(), number), want, "{number}");
        }
        for (low, high, want) in [
            ("1", "5", false),
            ("1", "6", true),
            ("-5", "-1", false),
            ("-6.5", "-1", true),
            ("-1", "1", true),
        ] {
            let (low, high) = (decimal(low), decimal(high));
            assert_eq!(
                both.is_within(Some((&low, true)), Some((&high, true))),
                want,
                "{low:?} {high:?}"
            );
        }
        let six = decimal("6");
        assert!(!both.is_within(Some((&six, true)), Some((&six, false))));
    }

    proptest! {
        #[test]
        fn ranges_hold_what_is_between(
            a in -2_000i64..2_000, b in -2_000i64..2_000, scale in 0u32..4,
            with_a: bool, with_b: bool, x in -25_000i64..25_000,
        ) {
            let number = |value: i64| {
                let text = format!("{:.3}", value as f64 / f64::from(10u32.pow(scale)));
                decimal(&text)
            };
            let (low, high) = (number(a.min(b)), number(a.max(b)));
            let text = format!("{}", x as f64 / 10.0);
            let value = decimal(&text);
            let is_above = value > low || value == low && with_a;
            let is_below = value < high || value == high && with_b;
            let (least, most) = (Some((&low, with_a)), Some((&high, with_b)));
            let within = decimals(least, most).is_some_and(|it| is_match(&it, &text));
            prop_assert_eq!(within, is_above && is_below, "{} in {:?} {:?}", text, low, high);
            let scientific = format!("{:e}", x as f64 / 10.0);
            if x != 0 {
                let within = decimals(least, most).is_some_and(|it| is_match(&it, &scientific));
                prop_assert_eq!(within, is_above && is_below, "{}", scientific);
            }
            let whole = (x / 10).to_string();
            let value = decimal(&whole);
            let is_above = value > low || value == low && with_a;
            let is_below = value < high || value == high && with_b;
            let within = integers(least, most).is_some_and(|it| is_match(&it, &whole));
            prop_assert_eq!(within, is_above && is_below, "{} in {:?} {:?}", whole, low, high);
        }
    }
}
