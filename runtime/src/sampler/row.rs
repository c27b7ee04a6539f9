//! One row: its logits made into the distribution over the tokens that are allowed.

use std::{borrow::Cow, cmp::Ordering};

use sluicegate_core::messages::{Penalties, RowSampling, SamplingParams, TokenCount};
use sluicegate_model::softmax;

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowed {
    pub token: u32,
    /// After penalties.
    pub logit: f32,
}

impl Allowed {
    /// Most likely first; of equals, the lowest id.
    pub(super) fn by_likelihood(self, other: Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.token.cmp(&other.token))
    }
}

/// What makes probabilities of the logits of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normaliser {
    /// Of the logits of the tokens that are allowed.
    pub greatest: f32,
    /// `exp(logit - greatest)` of all of them, in parts of [`softmax::ONE`].
    pub sum: u64,
}

impl Normaliser {
    /// Natural logarithm of the probability of a token with this logit.
    pub fn log_probability(self, logit: f32) -> f64 {
        let sum = self.sum as f64 / softmax::ONE as f64;
        f64::from(logit) - (f64::from(self.greatest) + sum.ln())
    }
}

/// The tokens that may be chosen, by id, and the normaliser of their distribution.
#[derive(Debug)]
pub struct Distribution<'a> {
    /// After penalties; minus infinity where a token is not allowed.
    logits: Cow<'a, [f32]>,
    /// Which tokens they are of, in order; without it, of all.
    tokens: Option<Vec<u32>>,
    /// None if no token is allowed.
    normaliser: Option<Normaliser>,
}

/// Where so few tokens are allowed, they are taken out of the row: one in so many.
const SPARSE: usize = 8;

impl<'a> Distribution<'a> {
    /// The distribution of a row: penalties first, then the mask, then held-back end tokens.
    ///
    /// `logits`: `[vocab]`. Tokens whose logit is not finite are not allowed. Empty if nothing is
    /// left.
    pub fn new(
        logits: &'a mut [f32],
        mask: &[u32],
        params: &SamplingParams,
        row: &RowSampling,
    ) -> Self {
        penalise(logits, &params.penalties, &row.counts);
        let num_allowed: usize = mask.iter().map(|word| word.count_ones() as usize).sum();
        let eos = held_back(params, row);
        let (logits, tokens, greatest) = if num_allowed < logits.len() / SPARSE {
            let (tokens, mut found) = gather(logits, mask);
            let greatest = greatest_but(&mut found, Some(&tokens), eos);
            (Cow::Owned(found), Some(tokens), greatest)
        } else {
            close(logits, mask);
            let greatest = greatest_but(logits, None, eos);
            (Cow::Borrowed(&*logits), None, greatest)
        };
        let normalise = || Normaliser { greatest, sum: softmax::sum(&logits, greatest) };
        let normaliser = greatest.is_finite().then(normalise);
        Self { logits, tokens, normaliser }
    }

    /// None if no token is allowed.
    pub fn normaliser(&self) -> Option<Normaliser> {
        self.normaliser
    }

    /// The tokens that may be chosen, by id.
    pub fn allowed(&self) -> impl Iterator<Item = Allowed> {
        let logits = self.logits.iter().enumerate();
        let allowed = logits.filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        allowed.map(|(index, logit)| Allowed { token: self.token(index), logit: *logit })
    }

    /// The most likely token; of equals, the lowest id.
    pub fn most_likely(&self) -> Option<Allowed> {
        let greatest = self.normaliser?.greatest;
        let index = self.logits.iter().position(|logit| *logit >= greatest)?;
        Some(Allowed { token: self.token(index), logit: greatest })
    }

    /// The most likely tokens, most likely first, of equals the lowest id first; fewer where fewer
    /// are allowed.
    pub fn most_likely_tokens(&self, count: usize) -> Vec<Allowed> {
        let count = count.min(self.logits.len());
        let mut best: Vec<Allowed> = Vec::with_capacity(count + 1);
        for next in self.allowed() {
            if best.len() == count && best.last().is_none_or(|last| next.logit <= last.logit) {
                continue;
            }
            let index = best.partition_point(|earlier| earlier.logit >= next.logit);
            best.insert(index, next);
            best.truncate(count);
        }
        best
    }

    /// The logits of tokens that may be chosen, minus infinity where one may not, and their weights:
    /// `exp((logit - greatest) / temperature)`, in parts of [`softmax::ONE`].
    pub(super) fn weights(&self, temperature: f32) -> (&[f32], Vec<u64>) {
        let greatest = self.normaliser.map_or(f32::NEG_INFINITY, |it| it.greatest);
        let logits = if greatest.is_finite() { &*self.logits } else { &[] };
        (logits, softmax::weights(logits, greatest, temperature))
    }

    #[expect(clippy::cast_possible_truncation, reason = "a vocabulary is below 2^32")]
    pub(super) fn token(&self, index: usize) -> u32 {
        self.tokens.as_ref().map_or(index as u32, |tokens| tokens[index])
    }
}

/// Tokens that a row may choose only if nothing else is allowed.
pub(super) fn held_back<'a>(params: &'a SamplingParams, row: &RowSampling) -> &'a [u32] {
    let holds_back = params.ignore_eos || (row.step as usize) < params.min_tokens;
    if holds_back { &params.eos } else { &[] }
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

/// The allowed tokens, by id, with their logits.
fn gather(logits: &[f32], mask: &[u32]) -> (Vec<u32>, Vec<f32>) {
    let (mut tokens, mut found) = (Vec::new(), Vec::new());
    for (word_idx, word) in mask.iter().enumerate() {
        let mut bits = *word;
        while bits != 0 {
            let token_idx = word_idx * 32 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            let Some(&logit) = logits.get(token_idx) else { continue };
            if logit.is_finite() {
                #[expect(clippy::cast_possible_truncation, reason = "a vocabulary is below 2^32")]
                tokens.push(token_idx as u32);
                found.push(logit + 0.0);
            }
        }
    }
    (tokens, found)
}

/// Makes what is not allowed impossible.
fn close(logits: &mut [f32], mask: &[u32]) {
    let mut chunks = logits.chunks_mut(32);
    for (word, chunk) in mask.iter().zip(&mut chunks) {
        for (bit, logit) in chunk.iter_mut().enumerate() {
            let is_open = word >> bit & 1 == 1 && logit.is_finite();
            // Zero has one sign, so that equal logits have the same bits.
            *logit = if is_open { *logit + 0.0 } else { f32::NEG_INFINITY };
        }
    }
    for logit in chunks.flatten() {
        *logit = f32::NEG_INFINITY;
    }
}

/// The greatest logit but those of the end tokens, which are made impossible; unless nothing else
/// is allowed: a finished value that cannot go on may only end.
fn greatest_but(logits: &mut [f32], tokens: Option<&[u32]>, eos: &[u32]) -> f32 {
    let mut held_back = Vec::new();
    for token in eos {
        let index = match tokens {
            Some(tokens) => tokens.binary_search(token).ok(),
            None => Some(*token as usize),
        };
        let Some((index, logit)) = index.and_then(|it| Some((it, logits.get_mut(it)?))) else {
            continue;
        };
        held_back.push((index, std::mem::replace(logit, f32::NEG_INFINITY)));
    }
    let greatest = softmax::greatest(logits);
    if greatest > f32::NEG_INFINITY || held_back.is_empty() {
        return greatest;
    }
    // The same token may be named twice: the first has what was there.
    for (index, logit) in held_back.into_iter().rev() {
        logits[index] = logit;
    }
    softmax::greatest(logits)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sampler::{MaskRule, Method};

    /// 64 logits that repeat, and are not all finite.
    fn logits() -> Vec<f32> {
        let logit = |i: u16| match i {
            5 => f32::NAN,
            6 => f32::INFINITY,
            _ => f32::from((i * 37) % 41) * 0.25,
        };
        (0..64).map(logit).collect()
    }

    fn params(ignore_eos: bool, eos: &[u32]) -> Arc<SamplingParams> {
        Arc::new(SamplingParams {
            method: Method::Greedy,
            penalties: Penalties::default(),
            eos: eos.to_vec(),
            min_tokens: 0,
            ignore_eos,
            num_top_tokens: 0,
        })
    }

    fn row() -> RowSampling {
        RowSampling { mask: MaskRule::Free, step: 0, counts: Vec::new(), draws: Vec::new() }
    }

    /// By the definition, in f64.
    fn check(mask: [u32; 2], ignore_eos: bool) {
        let eos = [9, 50];
        let mut allowed: Vec<Allowed> = (0..)
            .zip(logits())
            .filter(|(token, logit)| {
                mask[*token as usize / 32] >> (token % 32) & 1 == 1 && logit.is_finite()
            })
            .map(|(token, logit)| Allowed { token, logit })
            .collect();
        if ignore_eos && !allowed.iter().all(|it| eos.contains(&it.token)) {
            allowed.retain(|it| !eos.contains(&it.token));
        }
        let mut logits = logits();
        let distribution = Distribution::new(&mut logits, &mask, &params(ignore_eos, &eos), &row());
        assert_eq!(distribution.allowed().collect::<Vec<_>>(), allowed);
        let sum: f64 = allowed.iter().map(|it| f64::from(it.logit).exp()).sum();
        for candidate in &allowed {
            let want = f64::from(candidate.logit) - sum.ln();
            let got = distribution.normaliser().unwrap().log_probability(candidate.logit);
            assert!((got - want).abs() < 1e-6);
        }
        allowed.sort_by(|a, b| a.by_likelihood(*b));
        assert_eq!(distribution.most_likely(), allowed.first().copied());
        for count in [0, 1, 5, 64, usize::MAX] {
            let want = &allowed[..count.min(allowed.len())];
            assert_eq!(distribution.most_likely_tokens(count), want, "{count} of {mask:?}");
        }
    }

    #[test]
    fn rows_are_masked_and_normalised_whatever_the_mask_is_like() {
        let all = [u32::MAX; 2];
        let few = [1 << 9 | 1 << 30, 1 << 1 | 1 << 18];
        for mask in [all, few, [1 << 9, 1 << 18], [0, 0], [0xFFFF_0000, 0x0F0F_0F0F], [1 << 5, 0]] {
            check(mask, false);
            check(mask, true);
        }
    }

    #[test]
    fn logits_beyond_the_mask_are_closed() {
        let mut logits = logits();
        let distribution = Distribution::new(&mut logits, &[u32::MAX], &params(false, &[]), &row());
        assert_eq!(distribution.allowed().count(), 30);
    }
}
