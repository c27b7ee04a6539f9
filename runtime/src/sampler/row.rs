//! One row: its logits made into the distribution over the tokens that are allowed.

use super::{
    order::{RowSampling, TokenCount},
    params::{Penalties, SamplingParams},
};

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowed {
    pub token: u32,
    /// After penalties.
    pub logit: f32,
}

/// The tokens that may be chosen, by id, and the normaliser of their distribution.
#[derive(Debug)]
pub struct Distribution {
    pub allowed: Vec<Allowed>,
    /// `log(sum(exp(logit)))` over `allowed`.
    pub log_sum: f64,
}

impl Distribution {
    /// The distribution of a row: penalties first, then held-back end tokens, then the mask.
    ///
    /// `logits`: `[vocab]`. Tokens whose logit is not finite are not allowed.
    /// Empty if nothing is left.
    pub fn new(
        logits: &mut [f32],
        mask: &[u32],
        params: &SamplingParams,
        row: &RowSampling,
    ) -> Self {
        penalise(logits, &params.penalties, &row.counts);
        let mut allowed = gather(logits, mask);
        if params.ignore_eos || (row.step as usize) < params.min_tokens {
            let is_end = |candidate: &Allowed| params.eos.contains(&candidate.token);
            // A finished value that cannot go on may only end: holding back would leave nothing.
            if !allowed.iter().all(is_end) {
                allowed.retain(|candidate| !is_end(candidate));
            }
        }
        let log_sum = log_sum_exp(&allowed);
        Self { allowed, log_sum }
    }

    pub fn log_probability(&self, candidate: Allowed) -> f64 {
        f64::from(candidate.logit) - self.log_sum
    }

    /// The most likely token; of equals, the lowest id.
    pub fn most_likely(&self) -> Option<Allowed> {
        self.allowed
            .iter()
            .copied()
            .reduce(|best, next| if next.logit > best.logit { next } else { best })
    }
}

fn penalise(logits: &mut [f32], penalties: &Penalties, counts: &[TokenCount]) {
    if penalties.is_none() {
        return;
    }
    for count in counts {
        let Some(logit) = logits.get_mut(count.token as usize) else { continue };
        *logit = if *logit > 0.0 {
            *logit / penalties.repetition
        } else {
            *logit * penalties.repetition
        };
        *logit -= count.in_output as f32 * penalties.frequency;
        if count.in_output > 0 {
            *logit -= penalties.presence;
        }
    }
}

fn gather(logits: &[f32], mask: &[u32]) -> Vec<Allowed> {
    let mut allowed = Vec::new();
    for (word_idx, word) in mask.iter().enumerate() {
        let mut bits = *word;
        while bits != 0 {
            let token_idx = word_idx * 32 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let Some(&logit) = logits.get(token_idx) else { continue };
            if logit.is_finite() {
                #[expect(clippy::cast_possible_truncation, reason = "a vocabulary is below 2^32")]
                allowed.push(Allowed { token: token_idx as u32, logit });
            }
        }
    }
    allowed
}

fn log_sum_exp(allowed: &[Allowed]) -> f64 {
    let max = allowed.iter().fold(f32::NEG_INFINITY, |max, candidate| max.max(candidate.logit));
    let sum: f64 = allowed.iter().map(|candidate| f64::from((candidate.logit - max).exp())).sum();
    f64::from(max) + sum.ln()
}
