//! The keywords of numbers, and which numbers keep them.

use std::cmp::Ordering;

use serde_json::Number;

use super::super::numbers::Decimal;
use super::super::values::MAX_EXACT;

#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct NumberRules {
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<Number>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bound {
    pub(crate) value: Number,
    pub(crate) is_exclusive: bool,
}

impl NumberRules {
    /// Returns whether a number is within bounds and a multiple; none if that cannot be computed.
    pub(crate) fn allows(&self, number: &Number) -> Option<bool> {
        let above = self.minimum.as_ref().is_none_or(|bound| {
            let order = order(number, &bound.value);
            order.is_gt() || order.is_eq() && !bound.is_exclusive
        });
        let below = self.maximum.as_ref().is_none_or(|bound| {
            let order = order(number, &bound.value);
            order.is_lt() || order.is_eq() && !bound.is_exclusive
        });
        if !above || !below {
            return Some(false);
        }
        let Some(multiple) = &self.multiple_of else { return Some(true) };
        match (number.as_i64(), multiple.as_i64()) {
            (Some(value), Some(step)) if step > 0 => Some(value % step == 0),
            _ if is_between_multiples(number, multiple) => Some(false),
            _ => Decimal::new(number).is_multiple_of(&Decimal::new(multiple)),
        }
    }
}

/// Returns whether floats suffice to show that a number is no multiple.
fn is_between_multiples(number: &Number, multiple: &Number) -> bool {
    let ratio = number.as_f64().zip(multiple.as_f64()).map(|(value, step)| value / step);
    ratio.is_some_and(|ratio| ratio.abs() < 1e9 && (ratio - ratio.round()).abs() > 1e-6)
}

/// Compares numbers exactly. Small ones are compared as floats, which is faster.
fn order(a: &Number, b: &Number) -> Ordering {
    let floats = a.as_f64().zip(b.as_f64());
    let small = floats.filter(|(a, b)| a.abs() < MAX_EXACT && b.abs() < MAX_EXACT);
    let order = small.and_then(|(a, b)| a.partial_cmp(&b));
    order.unwrap_or_else(|| Decimal::new(a).cmp(&Decimal::new(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_are_exact() {
        for (number, multiple, want) in [
            ("100000000000000001", "3", Some(false)),
            ("100000000000000002", "3", Some(true)),
            ("18446744073709551615", "5", Some(true)),
            ("0.3", "0.1", Some(true)),
            ("0.35", "0.1", Some(false)),
            ("1e300", "3", None),
        ] {
            let rules = NumberRules {
                multiple_of: Some(multiple.parse().unwrap()),
                ..NumberRules::default()
            };
            assert_eq!(rules.allows(&number.parse().unwrap()), want, "{number} {multiple}");
        }
    }
}
