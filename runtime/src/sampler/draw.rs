//! Random draws: the distribution narrowed, and the number that decides.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sluicegate_core::messages::{Multinomial, RandomKey};

use super::row::{Allowed, Distribution};

/// What is left of a distribution, and how much each token weighs in it.
#[derive(Debug)]
pub struct Narrowed {
    candidates: Vec<Weighted>,
    /// Of all weights.
    sum: f64,
}

#[derive(Debug, Clone, Copy)]
struct Weighted {
    candidate: Allowed,
    weight: f32,
}

impl Narrowed {
    fn new(candidates: Vec<Weighted>) -> Self {
        let sum = candidates.iter().map(|next| f64::from(next.weight)).sum();
        Self { candidates, sum }
    }

    /// Narrows a distribution by temperature, top-k, top-p and min-p, in this order, each on the
    /// renormalised result of the one before.
    ///
    /// The order of the result is fixed by the input alone. Source of top-p: Holtzman et al. 2020,
    /// arXiv:1904.09751, section 3.1; of min-p: Nguyen et al. 2024, arXiv:2407.01082, section 3.
    pub fn of(distribution: &Distribution<'_>, params: &Multinomial) -> Self {
        let weights = distribution.weights(params.temperature);
        let mut candidates = Vec::with_capacity(distribution.len());
        candidates.extend(weights.map(|(candidate, weight)| Weighted { candidate, weight }));
        let mut narrowed = Self::new(candidates);
        if let Some(top_k) = params.top_k.filter(|top_k| *top_k < narrowed.candidates.len()) {
            narrowed = narrowed.top_k(top_k.max(1));
        }
        if params.top_p < 1.0 {
            narrowed = narrowed.top_p(f64::from(params.top_p));
        }
        if params.min_p > 0.0 {
            narrowed = narrowed.min_p(params.min_p);
        }
        narrowed
    }

    /// The tokens that are left with their probabilities, which add up to one.
    pub fn probabilities(&self) -> impl Iterator<Item = (u32, f64)> {
        let share = |next: &Weighted| (next.candidate.token, f64::from(next.weight) / self.sum);
        self.candidates.iter().map(share)
    }

    /// Draws one token; none if none is left.
    pub fn draw(&self, key: RandomKey) -> Option<Allowed> {
        let mut left = uniform(key) * self.sum;
        for next in &self.candidates {
            left -= f64::from(next.weight);
            if left < 0.0 {
                return Some(next.candidate);
            }
        }
        // Rounding may leave a crumb beyond the last token.
        let last = self.candidates.iter().rev().find(|next| next.weight > 0.0);
        last.map(|next| next.candidate)
    }

    fn top_k(mut self, top_k: usize) -> Self {
        self.candidates.select_nth_unstable_by(top_k - 1, by_logit);
        self.candidates.truncate(top_k);
        Self::new(self.candidates)
    }

    fn top_p(mut self, top_p: f64) -> Self {
        // Tokens below this share hold less than 1 - top_p together, so the nucleus is among the
        // rest.
        let floor = self.sum * (1.0 - top_p) / self.candidates.len() as f64;
        self.candidates.retain(|next| f64::from(next.weight) >= floor);
        self.candidates.sort_unstable_by(by_logit);
        let mut sum = 0.0;
        let num_kept = self.candidates.iter().position(|next| {
            sum += f64::from(next.weight);
            sum >= top_p * self.sum
        });
        self.candidates.truncate(num_kept.map_or(self.candidates.len(), |last| last + 1));
        Self::new(self.candidates)
    }

    fn min_p(mut self, min_p: f32) -> Self {
        let most = self.candidates.iter().fold(0.0, |most: f32, next| most.max(next.weight));
        let floor = f64::from(most) * f64::from(min_p);
        self.candidates.retain(|next| f64::from(next.weight) >= floor);
        Self::new(self.candidates)
    }
}

/// A number in `[0, 1)` that depends on the key alone.
fn uniform(key: RandomKey) -> f64 {
    let mut seed = [0; 32];
    for (chunk, word) in seed.chunks_exact_mut(8).zip([key.seed, key.prompt, key.sample, key.step])
    {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let bits = ChaCha8Rng::from_seed(seed).next_u64() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// Most likely first; of equals, the lowest id.
fn by_logit(a: &Weighted, b: &Weighted) -> std::cmp::Ordering {
    let (a, b) = (a.candidate, b.candidate);
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}
