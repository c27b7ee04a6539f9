//! Numbers that look drawn, and are the same in every run.

/// What the state moves on by: 2^64 over the golden ratio.
pub(crate) const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A sequence of numbers that follows from its seed.
#[derive(Debug, Clone)]
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self(splitmix64(seed))
    }

    /// A number of 64 bits.
    pub fn bits(&mut self) -> u64 {
        let drawn = splitmix64(self.0);
        self.0 = self.0.wrapping_add(GOLDEN);
        drawn
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "less than `end`")]
        let drawn = (self.bits() % end as u64) as usize;
        drawn
    }

    /// A number between minus and plus `largest`.
    pub fn float(&mut self, largest: f32) -> f32 {
        let unit = (self.bits() >> 40) as f64 / f64::from(1 << 24) * 2.0 - 1.0;
        #[expect(clippy::cast_possible_truncation, reason = "24 bits were drawn")]
        let unit = unit as f32;
        unit * largest
    }

    /// All numbers below `end`, in some order.
    pub fn permutation(&mut self, end: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..end).collect();
        for last in (1..end).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

/// Source: Steele, Lea and Flood 2014, section 5, as in Vigna's `splitmix64.c`.
pub(crate) fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_the_published_ones() {
        assert_eq!(splitmix64(0), 0xE220_A839_7B1D_CDAF);
    }
}
