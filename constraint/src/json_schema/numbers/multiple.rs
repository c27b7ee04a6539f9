//! `multipleOf` as the engine computes it: a whole number of 32 bits, scaled by a power of ten.

use llguidance::derivre::RegexAst;
use serde_json::Number;

use super::{Bound, Decimal};

/// The most digits after the point.
const MAX_DECIMALS: usize = 4;
/// The largest scaled number.
const MAX_DIGITS: u32 = 65_535;
/// The most states that a common multiple may take.
const MAX_COMMON: u64 = 10_000_000;

/// A number whose multiples are allowed: `digits` divided by a power of ten.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Multiple {
    digits: u32,
    decimals: u32,
}

impl Multiple {
    /// Makes it; none if the engine cannot compute with the number.
    pub(in super::super) fn new(number: &Number) -> Option<Self> {
        let decimal = Decimal::new(number);
        if !decimal.is_writable() {
            return None;
        }
        let text = decimal.plain();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        if fraction.len() > MAX_DECIMALS {
            return None;
        }
        let digits = format!("{whole}{fraction}").parse().ok()?;
        let decimals = u32::try_from(fraction.len()).ok()?;
        (1..=MAX_DIGITS).contains(&digits).then_some(Self { digits, decimals })
    }

    /// Returns the least common multiple of both; none if it is too large.
    pub(in super::super) fn and(self, other: Option<Self>) -> Option<Self> {
        let Some(other) = other else { return Some(self) };
        let decimals = self.decimals.max(other.decimals);
        let scaled = |it: Self| u64::from(it.digits) * 10_u64.pow(decimals - it.decimals);
        let (a, b) = (scaled(self), scaled(other));
        let common = a / greatest_divisor(a, b) * b;
        let digits = u32::try_from(common).ok().filter(|_| common <= MAX_COMMON)?;
        Some(Self { digits, decimals })
    }

    /// Returns the number whose multiples are exactly the whole multiples of this one.
    pub(in super::super) fn whole(self) -> Self {
        let scale = 10_u64.pow(self.decimals);
        let digits = u64::from(self.digits);
        let common = digits / greatest_divisor(digits, scale);
        u32::try_from(common).map_or(self, |digits| Self { digits, decimals: 0 })
    }

    /// Returns the texts of the multiples, none of them with an exponent.
    pub(in super::super) fn texts(self) -> RegexAst {
        let sign = RegexAst::Regex("-?".to_owned());
        RegexAst::Concat(vec![sign, RegexAst::MultipleOf(self.digits, self.decimals)])
    }

    /// Returns whether some multiple is within bounds; true if that is not easy to see.
    pub(in super::super) fn is_within(
        self,
        least: Option<Bound<'_>>,
        most: Option<Bound<'_>>,
    ) -> bool {
        let (Some((least, with_least)), Some((most, with_most))) = (least, most) else {
            return true;
        };
        let scale = usize::try_from(self.decimals).unwrap_or(0);
        let Some(least) = least.scaled(scale) else { return true };
        let Some(most) = most.scaled(scale) else { return true };
        let step = i128::from(self.digits);
        // The first multiple at or above the lower bound.
        let whole = least.floor.div_euclid(step) * step;
        let is_first = whole == least.floor && least.is_whole && with_least;
        let first = if is_first { whole } else { whole + step };
        first < most.floor || first == most.floor && (!most.is_whole || with_most)
    }
}

/// Returns the least common multiple of the numbers; none if unknown.
pub(crate) fn common_multiple<'n>(numbers: impl Iterator<Item = &'n Number>) -> Option<f64> {
    let mut common = None;
    for number in numbers {
        common = Some(Multiple::new(number)?.and(common)?);
    }
    common.map(|it| f64::from(it.digits) / 10_f64.powf(f64::from(it.decimals)))
}

fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
