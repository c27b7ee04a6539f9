//! Numbers that the engine computes with as it should: it uses floating point for bounds, and 32 bits
//! for decimals.

/// Says whether the engine, which computes bounds in floating point, holds this number exactly.
pub(super) fn is_exact(number: &serde_json::Number) -> bool {
    const LIMIT: f64 = 9_007_199_254_740_992.0;
    number.as_f64().is_some_and(|value| value.abs() < LIMIT)
}

/// Says whether the product of any two multiples fits the engine's 32-bit decimals.
pub(super) fn multiples_fit(multiples: &[f64]) -> bool {
    const MAX_DECIMALS: usize = 9;
    let decimals = |value: &f64| {
        let text = format!("{value}");
        text.split_once('.').map_or(0, |(_, fraction)| fraction.len())
    };
    let most = multiples.iter().map(decimals).max().unwrap_or(0);
    if multiples.len() < 2 {
        return true;
    }
    let scale = 10f64.powi(i32::try_from(most.min(MAX_DECIMALS + 1)).unwrap_or(i32::MAX));
    most <= MAX_DECIMALS && multiples.iter().all(|value| value * scale <= 65_535.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_table() {
        let exact = |text: &str| is_exact(&text.parse().unwrap());
        assert!(exact("0") && exact("-9007199254740991") && exact("0.1") && exact("-1e-300"));
        assert!(!exact("9007199254740993") && !exact("-1e16") && !exact("18446744073709551615"));
        assert!(multiples_fit(&[]) && multiples_fit(&[4e9]) && multiples_fit(&[0.01, 0.01, 5.0]));
        assert!(!multiples_fit(&[65_537.0, 65_539.0]) && !multiples_fit(&[1e-10, 1.0]));
        assert!(!multiples_fit(&[0.001, 66.0]));
    }
}
