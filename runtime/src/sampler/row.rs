//! One row: its logits made into the distribution over the tokens that are allowed.

use std::borrow::Cow;

use sluicegate_core::messages::{Penalties, RowSampling, SamplingParams, TokenCount};
use sluicegate_model::softmax;

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowed {
    pub token: u32,
    /// After penalties.
    pub logit: f32,
}

/// The tokens that may be chosen, by id, and the normaliser of their distribution.
#[derive(Debug)]
pub struct Distribution<'a> {
    /// After penalties; minus infinity where a token is not allowed.
    logits: Cow<'a, [f32]>,
    /// Which tokens they are of, in order; without it, of all.
    tokens: Option<Vec<u32>>,
    greatest: f32,
    /// `log(sum(exp(logit)))`.
    log_sum: f64,
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
        let holds_back = params.ignore_eos || (row.step as usize) < params.min_tokens;
        let eos = if holds_back { &params.eos[..] } else { &[] };
        let (logits, tokens, greatest) = if num_allowed < logits.len() / SPARSE {
            let (tokens, mut found) = gather(logits, mask);
            let greatest = greatest_but(&mut found, Some(&tokens), eos);
            (Cow::Owned(found), Some(tokens), greatest)
        } else {
            close(logits, mask);
            let greatest = greatest_but(logits, None, eos);
            (Cow::Borrowed(&*logits), None, greatest)
        };
        let log_sum = softmax::log_sum_exp(&logits, greatest);
        Self { logits, tokens, greatest, log_sum }
    }

    /// Tokens that may be chosen, at most.
    pub(super) fn len(&self) -> usize {
        self.logits.len()
    }

    /// The tokens that may be chosen, by id.
    pub fn allowed(&self) -> impl Iterator<Item = Allowed> {
        let logits = self.logits.iter().enumerate();
        let allowed = logits.filter(|(_, logit)| **logit > f32::NEG_INFINITY);
        allowed.map(|(index, logit)| Allowed { token: self.token(index), logit: *logit })
    }

    /// Natural logarithm of the candidate's probability in this distribution.
    pub fn log_probability(&self, candidate: Allowed) -> f64 {
        f64::from(candidate.logit) - self.log_sum
    }

    /// The most likely token; of equals, the lowest id.
    pub fn most_likely(&self) -> Option<Allowed> {
        let is_greatest = |logit: &f32| *logit >= self.greatest && *logit > f32::NEG_INFINITY;
        let index = self.logits.iter().position(is_greatest)?;
        Some(Allowed { token: self.token(index), logit: self.greatest })
    }

    /// The most likely tokens, most likely first, of equals the lowest id first; fewer where fewer
    /// are allowed.
    pub fn most_likely_tokens(&self, count: usize) -> Vec<Allowed> {
        let count = count.min(self.len());
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

    /// `exp((logit - greatest) / temperature)` of each allowed token.
    pub(super) fn weights(&self, temperature: f32) -> impl Iterator<Item = (Allowed, f32)> {
        // Of those that are not allowed they are zero, and not looked at.
        let weights = softmax::weights(&self.logits, self.greatest, temperature);
        let logits = self.logits.iter().zip(weights).enumerate();
        let allowed = logits.filter(|(_, (logit, _))| **logit > f32::NEG_INFINITY);
        allowed.map(|(index, (logit, weight))| {
            (Allowed { token: self.token(index), logit: *logit }, weight)
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "a vocabulary is below 2^32")]
    fn token(&self, index: usize) -> u32 {
        self.tokens.as_ref().map_or(index as u32, |tokens| tokens[index])
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
                found.push(logit);
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
            *logit = if is_open { *logit } else { f32::NEG_INFINITY };
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
            assert!((distribution.log_probability(*candidate) - want).abs() < 1e-6);
        }
        allowed.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token)));
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
