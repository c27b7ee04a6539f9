//! A running request as its caller sees it: events, usage and timings.

use std::time::{Duration, Instant};

use sluicegate_core::scheduler::GroupId;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Span, info_span};

use super::{admission::AdmittedRequest, error::GenerationError, step::StepOutcome};
use crate::{
    request::RequestId,
    stream::{Event, MaskExposed, Timings, Usage},
};

#[derive(Debug)]
pub(super) struct RunningRequest {
    events: UnboundedSender<Result<Event, GenerationError>>,
    pub(super) span: Span,
    /// Groups that still run.
    pub(super) groups: Vec<GroupId>,
    usage: Usage,
    pub(super) submitted: Instant,
    /// Whether one of its prompts has been ordered.
    pub(super) has_begun: bool,
    /// Microbatches with rows of it that failed.
    pub(super) strikes: u32,
    /// Prompts that have no token yet.
    num_prefilling: usize,
    prefilled: Option<Instant>,
    decode_tokens: usize,
    /// What the last stage waited for the masks of each microbatch.
    mask_exposed: Vec<Duration>,
}

impl RunningRequest {
    pub(super) fn new(
        request: RequestId,
        admitted: &AdmittedRequest,
        groups: Vec<GroupId>,
        events: UnboundedSender<Result<Event, GenerationError>>,
    ) -> Self {
        let prompt_tokens = admitted.prompts.iter().map(Vec::len).sum();
        Self {
            events,
            span: info_span!(parent: None, "request", request = request.0),
            num_prefilling: groups.len(),
            groups,
            usage: Usage { prompt_tokens, ..Usage::default() },
            submitted: Instant::now(),
            has_begun: false,
            strikes: 0,
            prefilled: None,
            decode_tokens: 0,
            mask_exposed: Vec::new(),
        }
    }

    /// Takes note of a step's tokens.
    pub(super) fn count(&mut self, outcome: &StepOutcome, is_first: bool) {
        let num_tokens = outcome.num_tokens;
        self.usage.completion_tokens += num_tokens;
        self.usage.forced_tokens += outcome.num_forced;
        self.usage.vetoed_tokens += outcome.num_vetoed;
        if is_first {
            self.num_prefilling -= 1;
            if self.num_prefilling == 0 {
                self.prefilled = Some(Instant::now());
            }
        } else if self.prefilled.is_some() {
            self.decode_tokens += num_tokens;
        }
    }

    /// Takes note that a group goes on as others.
    pub(super) fn replace(&mut self, group: GroupId, children: &[GroupId]) {
        self.groups.retain(|running| *running != group);
        self.groups.extend(children);
    }

    /// Adds what the last stage waited for the masks of a microbatch with rows of this request.
    pub(super) fn add_mask_exposed(&mut self, mask_exposed: Duration) {
        self.mask_exposed.push(mask_exposed);
    }

    /// Sends what became of a group; false if the caller is gone.
    pub(super) fn send(&self, outcome: StepOutcome) -> bool {
        let texts = outcome.texts.into_iter().map(|(output, (text, tokens))| Event::Text {
            output,
            text,
            tokens,
        });
        let outputs = outcome.outputs.into_iter().map(Event::Output);
        texts.chain(outputs).all(|event| self.events.send(Ok(event)).is_ok())
    }

    /// Sends the last event.
    pub(super) fn finish(mut self) -> Usage {
        let now = Instant::now();
        let prefilled = self.prefilled.unwrap_or(now);
        let timings = Timings {
            prefill: prefilled - self.submitted,
            decode: now - prefilled,
            decode_tokens: self.decode_tokens,
            mask_exposed: MaskExposed::of(&mut self.mask_exposed),
        };
        tracing::info!(
            parent: &self.span,
            prompt_tokens = self.usage.prompt_tokens,
            completion_tokens = self.usage.completion_tokens,
            prefill_ms = timings.prefill.as_millis(),
            decode_ms = timings.decode.as_millis(),
            "request finished"
        );
        // A caller that has gone misses nothing.
        let _ = self.events.send(Ok(Event::Finished { usage: self.usage, timings }));
        self.usage
    }

    /// Sends the error that ends the request.
    pub(super) fn fail(self, error: GenerationError) {
        let _ = self.events.send(Err(error));
    }
}
