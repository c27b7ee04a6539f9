//! Random draws: the distribution narrowed, and the number that decides.
//!
//! Weights are whole numbers and tokens stay in the order of their ids, so that a draw depends on no
//! order of additions: a GPU draws the same token (`model/src/kernels/sampling.cu`).

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sluicegate_core::messages::{Multinomial, RandomKey};
use sluicegate_model::softmax::parts;

use super::row::{Allowed, Distribution};

/// What is left of a distribution, and how much each token weighs in it.
#[derive(Debug)]
pub struct Narrowed<'a> {
    distribution: &'a Distribution<'a>,
    logits: &'a [f32],
    /// Of each logit; zero where a token is not left.
    weights: Vec<u64>,
    /// Of all weights.
    sum: u64,
}

/// Weights that are added up before one of them is looked at.
const CHUNK: usize = 64;

impl<'a> Narrowed<'a> {
    /// Narrows a distribution by temperature, top-k, top-p and min-p, in this order, each on the
    /// renormalised result of the one before.
    ///
    /// Source of top-p: Holtzman et al. 2020, arXiv:1904.09751, section 3.1; of min-p: Nguyen et al.
    /// 2024, arXiv:2407.01082, section 3.
    pub fn of(distribution: &'a Distribution<'_>, params: &Multinomial) -> Self {
        let (logits, weights) = distribution.weights(params.temperature);
        let sum = weights.iter().sum();
        let mut narrowed = Self { distribution, logits, weights, sum };
        if let Some(top_k) = params.top_k {
            narrowed.top_k(top_k.max(1));
        }
        if let Some(share) = top_p_share(params.top_p) {
            narrowed.top_p(share);
        }
        if params.min_p > 0.0 {
            let floor = min_p_floor(params.min_p);
            narrowed.retain(|_, _, weight| weight >= floor);
        }
        narrowed
    }

    /// The tokens that are left with their probabilities, which add up to one.
    pub fn probabilities(&self) -> impl Iterator<Item = (u32, f64)> {
        let left = self.weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
        left.map(|(index, weight)| {
            (self.distribution.token(index), *weight as f64 / self.sum as f64)
        })
    }

    /// Draws one token; none if none is left.
    pub fn draw(&self, key: RandomKey) -> Option<Allowed> {
        let mut left = share_of(self.sum, random(key));
        let chunk_idx = self.weights.chunks(CHUNK).position(|chunk| falls_within(&mut left, chunk));
        let start = chunk_idx? * CHUNK;
        let mut weights = self.weights[start..].iter();
        let index = start + weights.position(|weight| falls_within(&mut left, &[*weight]))?;
        Some(Allowed { token: self.distribution.token(index), logit: self.logits[index] })
    }

    /// The tokens that are left, at their indices.
    fn left(&self) -> impl Iterator<Item = (Allowed, u64)> {
        let allowed = |index: usize| Allowed {
            token: u32::try_from(index).expect("a vocabulary is below 2^32"),
            logit: self.logits[index],
        };
        let weights = self.weights.iter().enumerate();
        weights.map(move |(index, weight)| (allowed(index), *weight))
    }

    fn top_k(&mut self, top_k: usize) {
        let is_allowed = |allowed: &Allowed| allowed.logit > f32::NEG_INFINITY;
        let mut allowed = exactly(|| self.left().map(|(it, _)| it).filter(is_allowed));
        if top_k < allowed.len() {
            let (_, last, _) =
                allowed.select_nth_unstable_by(top_k - 1, |a, b| a.by_likelihood(*b));
            self.cut_behind(*last);
        }
    }

    fn top_p(&mut self, share: u64) {
        if self.sum == 0 {
            return;
        }
        let wanted = share_of(self.sum, share).max(1);
        // Tokens that weigh less than this weigh less than the rest together, so that the last one
        // that is wanted is not among them, nor among those that are less likely.
        let floor = (self.sum - wanted) / self.weights.len() as u64;
        let heavy = self.left().filter(|(_, weight)| *weight > 0 && *weight >= floor);
        let least = heavy.map(|(it, _)| it.logit).fold(f32::INFINITY, f32::min);
        let is_likely = |(it, weight): &(Allowed, u64)| *weight > 0 && it.logit >= least;
        let mut likely = exactly(|| self.left().filter(is_likely));
        likely.sort_unstable_by(|(a, _), (b, _)| a.by_likelihood(*b));
        let mut sum = 0;
        let reaches = |(_, weight): &&(Allowed, u64)| {
            sum += weight;
            sum >= wanted
        };
        if let Some((last, _)) = likely.iter().find(reaches) {
            self.cut_behind(*last);
        }
    }

    /// Keeps a token and those that are more likely.
    fn cut_behind(&mut self, last: Allowed) {
        self.retain(|index, logit, _| {
            logit > last.logit || logit >= last.logit && index <= last.token as usize
        });
    }

    /// Keeps tokens by index, logit and weight.
    fn retain(&mut self, is_kept: impl Fn(usize, f32, u64) -> bool) {
        let logits = self.logits.iter().enumerate();
        for (weight, (index, logit)) in self.weights.iter_mut().zip(logits) {
            *weight = if is_kept(index, *logit, *weight) { *weight } else { 0 };
        }
        self.sum = self.weights.iter().sum();
    }
}

/// Collects what is counted first, into no more memory than it takes.
fn exactly<I: Iterator>(items: impl Fn() -> I) -> Vec<I::Item> {
    let mut collected = Vec::with_capacity(items().count());
    collected.extend(items());
    collected
}

/// Whether what is left falls within these weights; takes them away if not.
fn falls_within(left: &mut u64, weights: &[u64]) -> bool {
    let sum: u64 = weights.iter().sum();
    let falls = *left < sum;
    *left -= if falls { 0 } else { sum };
    falls
}

/// So many 2^64ths of a number, rounded down.
fn share_of(whole: u64, share: u64) -> u64 {
    ((u128::from(whole) * u128::from(share)) >> 64) as u64
}

/// Top-p in 2^64ths; none where all tokens are kept.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is in [0, 1)")]
pub(super) fn top_p_share(top_p: f32) -> Option<u64> {
    (top_p < 1.0).then(|| (f64::from(top_p.max(0.0)) * 2.0_f64.powi(64)) as u64)
}

/// What a token must weigh, where the most likely one weighs [`softmax::ONE`].
///
/// [`softmax::ONE`]: sluicegate_model::softmax::ONE
pub(super) fn min_p_floor(min_p: f32) -> u64 {
    parts(min_p.clamp(0.0, 1.0))
}

/// 64 bits that depend on the key alone.
pub(super) fn random(key: RandomKey) -> u64 {
    let mut seed = [0; 32];
    for (chunk, word) in seed.chunks_exact_mut(8).zip([key.seed, key.prompt, key.sample, key.step])
    {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(seed).next_u64()
}
