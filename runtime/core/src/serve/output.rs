//! What a caller gets.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use super::input::MatcherError;
use crate::{
    messages::{RowError, Token},
    sequence::{FinishReason, Sequence},
};

/// Which output of a request: the `index`-th of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OutputId {
    pub prompt: usize,
    pub index: usize,
}

/// A finished output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub id: OutputId,
    pub text: String,
    /// Without the end token.
    pub token_ids: Vec<TokenId>,
    /// The same with their log-probabilities; empty unless the request asked for them.
    pub tokens: Vec<Token>,
    pub finish_reason: FinishReason,
    /// Sum of the tokens' log-probabilities, an end token's included, each in the masked,
    /// renormalised distribution. A token that took the place of a vetoed one counts as that one.
    pub score: f64,
}

impl Output {
    /// Its tokens, an end token included.
    pub fn num_tokens(&self) -> usize {
        self.token_ids.len() + usize::from(self.finish_reason == FinishReason::EndToken)
    }

    pub(super) fn of(sequence: Sequence, id: OutputId, finish_reason: FinishReason) -> Self {
        let (token_ids, transcript) = sequence.into_parts();
        let (text, score, tokens) = transcript.into_parts();
        Self { id, text, token_ids, tokens, finish_reason, score }
    }
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Tokens of all outputs, end tokens included; of a beam search those of every hypothesis that
    /// was kept.
    pub completion_tokens: usize,
    /// Those of them that followed without being sampled, since the constraint left no choice.
    pub jump_forward_tokens: usize,
    /// Tokens that were sampled and not taken, since the constraint found no valid output that
    /// begins with them; another was taken instead, and is among the above.
    pub vetoed_tokens: usize,
}

impl Usage {
    pub(super) fn add(&mut self, other: Self) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.jump_forward_tokens += other.jump_forward_tokens;
        self.vetoed_tokens += other.vetoed_tokens;
    }
}

/// How long a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From the submission to the first token of the last prompt, waiting included.
    pub prefill: Duration,
    /// From there to the last token.
    pub decode: Duration,
    /// Tokens sampled in that time.
    pub decode_tokens: usize,
    pub mask_wait: MaskWait,
}

/// How long the last stage, its logits ready, waited for the masks of microbatches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskWait {
    /// Over all of them.
    pub total: Duration,
    /// Half of them waited no longer.
    pub p50: Duration,
    /// 99 of 100 waited no longer.
    pub p99: Duration,
}

impl MaskWait {
    /// Sums up waits. Of the quantiles only these are looked at; `total` is of all that there were.
    pub(super) fn of(waits: impl Iterator<Item = Duration>, total: Duration) -> Self {
        let mut waits: Vec<Duration> = waits.collect();
        waits.sort_unstable();
        let quantile = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            waits.get(rank - 1).copied().unwrap_or_default()
        };
        Self { total, p50: quantile(50), p99: quantile(99) }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// More of an output: never half a character, never part of a stop string. With it the tokens
    /// that have come since the last such event; what a stop string cuts off may be among them.
    Text { output: OutputId, text: String, tokens: Vec<Token> },
    /// An output is complete.
    Output(Output),
    /// All outputs are complete; the last event.
    Finished { usage: Usage, timings: Timings },
}

/// Why a request ended without its outputs. Prompts are indices here, and numbers from 1 in
/// messages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestError {
    #[error("no token can be chosen for prompt {}", prompt + 1)]
    Row { prompt: usize, source: RowError },
    #[error("the constraint failed on prompt {}", prompt + 1)]
    Constraint { prompt: usize, source: MatcherError },
    #[error("it waited longer than {limit:?} for its turn; try again later")]
    WaitedTooLong { limit: Duration },
    #[error("a stage failed twice while it computed rows of the request")]
    StageLost,
    #[error("the engine was shut down")]
    ShutDown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_waits_that_occurred() {
        let wait = |waits: &[u64]| {
            let waits = || waits.iter().copied().map(Duration::from_micros);
            let MaskWait { total, p50, p99 } = MaskWait::of(waits(), waits().sum());
            [total, p50, p99].map(|time| time.as_micros())
        };
        assert_eq!(wait(&[]), [0, 0, 0]);
        assert_eq!(wait(&[5]), [5, 5, 5]);
        assert_eq!(wait(&[9, 1, 2]), [12, 2, 9]);
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(wait(&hundred), [5050, 50, 99]);
    }
}
