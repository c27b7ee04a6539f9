//! JSON values: which are the same, and which floats do not hold.

use serde_json::Value;

/// Whole numbers below this are exact as floats.
pub(super) const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns whether it holds a number that a float may not hold exactly.
pub(super) fn has_inexact(literal: &Value) -> bool {
    match literal {
        Value::Number(number) => number.as_f64().is_none_or(|it| it.abs() >= MAX_EXACT),
        Value::Array(items) => items.iter().any(has_inexact),
        Value::Object(members) => members.values().any(has_inexact),
        _ => false,
    }
}

/// Compares values as JSON Schema does: 1 and 1.0 are equal.
pub(crate) fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // Whole numbers of 64 bits are compared as such, all others as floats.
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            a.as_f64() == b.as_f64()
        }
        (Value::Number(a), Value::Number(b)) => a == b,
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}
