//! Random draws: the distribution narrowed, and the number that decides.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::{
    order::RandomKey,
    params::Multinomial,
    row::{Allowed, Distribution},
};

/// A token with its share of the narrowed distribution.
#[derive(Debug, Clone, Copy)]
pub struct Weighted {
    pub candidate: Allowed,
    pub probability: f64,
}

/// Narrows a distribution by temperature, top-k, top-p and min-p, in this order, each on the
/// renormalised result of the one before.
///
/// The order of the result is fixed by the input alone. Source of top-p: Holtzman et al. 2020,
/// arXiv:1904.09751, section 3.1; of min-p: Nguyen et al. 2024, arXiv:2407.01082, section 3.
pub fn narrow(distribution: &Distribution, params: &Multinomial) -> Vec<Weighted> {
    let mut weighted = with_temperature(&distribution.allowed, params.temperature);
    if let Some(top_k) = params.top_k.filter(|top_k| *top_k < weighted.len()) {
        weighted.select_nth_unstable_by(top_k.max(1) - 1, by_probability);
        weighted.truncate(top_k.max(1));
        normalise(&mut weighted);
    }
    if params.top_p < 1.0 {
        keep_top_p(&mut weighted, f64::from(params.top_p));
        normalise(&mut weighted);
    }
    if params.min_p > 0.0 {
        let max = weighted.iter().fold(0.0, |max: f64, next| max.max(next.probability));
        weighted.retain(|next| next.probability >= max * f64::from(params.min_p));
        normalise(&mut weighted);
    }
    weighted
}

/// Draws one token; `weighted` sums to one.
pub fn draw(weighted: &[Weighted], key: RandomKey) -> Option<Allowed> {
    let mut left = uniform(key);
    for next in weighted {
        left -= next.probability;
        if left < 0.0 {
            return Some(next.candidate);
        }
    }
    // Rounding may leave a crumb beyond the last token.
    weighted.iter().rev().find(|next| next.probability > 0.0).map(|next| next.candidate)
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

fn with_temperature(allowed: &[Allowed], temperature: f32) -> Vec<Weighted> {
    let max = allowed.iter().fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit));
    let weigh = |candidate: &Allowed| Weighted {
        candidate: *candidate,
        probability: (f64::from(candidate.logit - max) / f64::from(temperature)).exp(),
    };
    let mut weighted: Vec<Weighted> = allowed.iter().map(weigh).collect();
    normalise(&mut weighted);
    weighted
}

fn normalise(weighted: &mut [Weighted]) {
    let sum: f64 = weighted.iter().map(|next| next.probability).sum();
    for next in weighted {
        next.probability /= sum;
    }
}

fn keep_top_p(weighted: &mut Vec<Weighted>, top_p: f64) {
    // Tokens below this share hold less than 1 - top_p together, so the nucleus is among the rest.
    let floor = (1.0 - top_p) / weighted.len() as f64;
    weighted.retain(|next| next.probability >= floor);
    weighted.sort_unstable_by(by_probability);
    let mut sum = 0.0;
    let num_kept = weighted.iter().position(|next| {
        sum += next.probability;
        sum >= top_p
    });
    weighted.truncate(num_kept.map_or(weighted.len(), |last| last + 1));
}

/// Likeliest first; of equals, the lowest id.
fn by_probability(a: &Weighted, b: &Weighted) -> std::cmp::Ordering {
    b.probability.total_cmp(&a.probability).then(a.candidate.token.cmp(&b.candidate.token))
}
