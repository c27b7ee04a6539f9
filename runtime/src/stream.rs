//! What a caller gets: a stream of events. The one bridge between threads and `async`.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use crossbeam_channel::Sender;
use futures_core::Stream;
use serde::Serialize;
use sluicegate_spec::units::TokenId;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::{
    engine::{Command, FailureSlot, GenerationError},
    request::RequestId,
    sampler::Likely,
};

/// Which output of a request: the `index`-th of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct OutputId {
    pub prompt: usize,
    pub index: usize,
}

/// Why an output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model chose an end token.
    EndToken,
    /// A stop string came up.
    StopString,
    /// The constraint is fulfilled and nothing may follow.
    Constraint,
    /// `max_tokens` were generated.
    Length,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndToken => "end_token",
            Self::StopString => "stop_string",
            Self::Constraint => "constraint",
            Self::Length => "length",
        })
    }
}

/// A finished output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Output {
    pub id: OutputId,
    pub text: String,
    /// Without the end token.
    pub token_ids: Vec<TokenId>,
    /// The same with their log-probabilities; empty unless
    /// [`Request::log_probabilities`](crate::Request::log_probabilities) asked for them.
    pub tokens: Vec<Token>,
    pub finish_reason: FinishReason,
    /// Sum of the tokens' log-probabilities, an end token's included, each in the masked,
    /// renormalised distribution. A token that took the place of a vetoed one counts as that one.
    pub score: f64,
}

/// A token of an output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Token {
    pub id: TokenId,
    /// Natural logarithm of its probability in the masked, renormalised distribution; 0 where the
    /// constraint left no choice.
    pub log_probability: f64,
    /// The likeliest tokens of that distribution, likeliest first, as many as the request asked for;
    /// none where the constraint left no choice. Of a vetoed token's place those that it was among.
    pub likeliest: Vec<Likely>,
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// Tokens of all outputs, end tokens included; of a beam search those of every hypothesis that
    /// was kept.
    pub completion_tokens: usize,
    /// Those of them that followed without being sampled, since the constraint left no choice.
    pub forced_tokens: usize,
    /// Tokens that were sampled and not taken, since the constraint found no valid output that
    /// begins with them; another was taken instead, and is among the above.
    pub vetoed_tokens: usize,
}

/// How long a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// From the submission to the first token of the last prompt, waiting included.
    pub prefill: Duration,
    /// From there to the last token.
    pub decode: Duration,
    /// Tokens sampled in that time.
    pub decode_tokens: usize,
    pub mask_exposed: MaskExposed,
}

/// How long the last stage, its logits ready, waited for the masks of the request's microbatches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MaskExposed {
    /// Over all of them.
    pub total: Duration,
    /// Half of them waited no longer.
    pub p50: Duration,
    /// 99 of 100 waited no longer.
    pub p99: Duration,
}

impl MaskExposed {
    /// Sums up the waits, which it sorts.
    pub(crate) fn of(waits: &mut [Duration]) -> Self {
        waits.sort_unstable();
        let quantile = |percent: usize| {
            let rank = (waits.len() * percent).div_ceil(100).max(1);
            waits.get(rank - 1).copied().unwrap_or_default()
        };
        Self { total: waits.iter().sum(), p50: quantile(50), p99: quantile(99) }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// More of an output: never half a character, never part of a stop string. With it the tokens
    /// that have come since the last such event; what a stop string cuts off may be among them.
    Text { output: OutputId, text: String, tokens: Vec<Token> },
    /// An output is complete.
    Output(Output),
    /// All outputs are complete; the last event.
    Finished { usage: Usage, timings: Timings },
}

/// The running request. A [`Stream`] of events, and a blocking iterator; dropping it cancels.
#[derive(Debug)]
pub struct Generation {
    events: UnboundedReceiver<Result<Event, GenerationError>>,
    has_ended: bool,
    failure: Arc<FailureSlot>,
    _cancel: CancelOnDrop,
}

impl Generation {
    pub(crate) fn new(
        request: RequestId,
        events: UnboundedReceiver<Result<Event, GenerationError>>,
        commands: Sender<Command>,
        failure: Arc<FailureSlot>,
    ) -> Self {
        Self { events, has_ended: false, failure, _cancel: CancelOnDrop { request, commands } }
    }

    /// Waits for the next event, in an `async` context.
    pub async fn next_event(&mut self) -> Option<Result<Event, GenerationError>> {
        let event = self.events.recv().await;
        self.checked(event)
    }

    /// Waits for the end and collects the outputs, by prompt and index.
    ///
    /// Blocks; not for an `async` context.
    ///
    /// # Errors
    /// [`GenerationError`] if the request failed.
    pub fn wait(self) -> Result<Completion, GenerationError> {
        let mut completion = Completion::default();
        for event in self {
            match event? {
                Event::Text { .. } => {}
                Event::Output(output) => completion.outputs.push(output),
                Event::Finished { usage, timings } => {
                    completion.usage = usage;
                    completion.timings = timings;
                }
            }
        }
        completion.outputs.sort_by_key(|output| output.id);
        Ok(completion)
    }
}

impl Generation {
    /// An engine that ended without a word to this request is an error, and not a short output.
    fn checked(
        &mut self,
        event: Option<Result<Event, GenerationError>>,
    ) -> Option<Result<Event, GenerationError>> {
        match &event {
            Some(Ok(Event::Finished { .. }) | Err(_)) => self.has_ended = true,
            Some(Ok(_)) => {}
            None if self.has_ended => {}
            None => {
                self.has_ended = true;
                let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let error = failure.map_or(GenerationError::ShutDown, GenerationError::Engine);
                return Some(Err(error));
            }
        }
        event
    }
}

/// A finished request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    pub outputs: Vec<Output>,
    pub usage: Usage,
    pub timings: Timings,
}

/// Blocks for each event; not for an `async` context.
impl Iterator for Generation {
    type Item = Result<Event, GenerationError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.events.blocking_recv();
        self.checked(event)
    }
}

impl Stream for Generation {
    type Item = Result<Event, GenerationError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context).map(|event| self.checked(event))
    }
}

#[derive(Debug)]
struct CancelOnDrop {
    request: RequestId,
    commands: Sender<Command>,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // An engine that is gone has nothing to cancel.
        let _ = self.commands.send(Command::Cancel(self.request));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_waits_that_occurred() {
        let exposed = |waits: &[u64]| {
            let mut waits: Vec<Duration> =
                waits.iter().copied().map(Duration::from_micros).collect();
            let MaskExposed { total, p50, p99 } = MaskExposed::of(&mut waits);
            [total, p50, p99].map(|time| time.as_micros())
        };
        assert_eq!(exposed(&[]), [0, 0, 0]);
        assert_eq!(exposed(&[5]), [5, 5, 5]);
        assert_eq!(exposed(&[9, 1, 2]), [12, 2, 9]);
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(exposed(&hundred), [5050, 50, 99]);
    }
}
