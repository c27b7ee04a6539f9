//! Numbers that the engine computes with as it should: it uses floating point for bounds, and 32 bits
//! for decimals.

use serde_json::Number;

/// Says whether the engine, which computes bounds in floating point, holds this number exactly.
pub(super) fn is_exact(number: &Number) -> bool {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    number.as_f64().is_some_and(|value| value.abs() < LIMIT)
}

/// Says whether the product of any two such numbers, scaled to whole ones, fits the engine's 32-bit
/// decimals.
pub(super) fn is_small_decimal(number: &Number) -> bool {
    const MAX_DECIMALS: usize = 4;
    let Some(value) = number.as_f64() else { return false };
    let text = format!("{value}");
    let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = 10f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX));
    decimals <= MAX_DECIMALS && value > 0.0 && value * scale <= 65_535.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_table() {
        let exact = |text: &str| is_exact(&text.parse().unwrap());
        assert!(exact("0") && exact("-9007199254740991") && exact("0.1") && exact("-1e-300"));
        assert!(!exact("9007199254740993") && !exact("-1e16") && !exact("18446744073709551615"));
        let small = |text: &str| is_small_decimal(&text.parse().unwrap());
        assert!(small("1") && small("0.01") && small("65535") && small("6.5535"));
        assert!(!small("65536") && !small("1e-5") && !small("6.55351") && !small("1e300"));
    }
}
