//! A running request as its caller sees it: usage, timings, and what is left of it.

use std::{collections::VecDeque, time::Duration};

use super::{
    output::{Event, MaskWait, Timings, Usage},
    request::Admitted,
    step::Outcome,
};
use crate::messages::GroupId;

#[derive(Debug)]
pub(super) struct RunningRequest {
    /// Groups that still run.
    pub(super) groups: Vec<GroupId>,
    usage: Usage,
    pub(super) submitted: Duration,
    /// Whether one of its prompts has been ordered.
    pub(super) has_begun: bool,
    /// Microbatches with rows of it that failed.
    pub(super) strikes: u32,
    /// Prompts that have no token yet.
    num_prefilling: usize,
    prefilled: Option<Duration>,
    decode_tokens: usize,
    /// What the last stage waited for the masks of its microbatches.
    waits: Waits,
}

impl RunningRequest {
    pub(super) fn new(admitted: &Admitted, groups: Vec<GroupId>, now: Duration) -> Self {
        let prompt_tokens = admitted.prompts.iter().map(Vec::len).sum();
        Self {
            num_prefilling: groups.len(),
            groups,
            usage: Usage { prompt_tokens, ..Usage::default() },
            submitted: now,
            has_begun: false,
            strikes: 0,
            prefilled: None,
            decode_tokens: 0,
            waits: Waits::default(),
        }
    }

    /// Takes note of a step's tokens.
    pub(super) fn count(&mut self, outcome: &Outcome, is_first: bool, now: Duration) {
        self.usage.completion_tokens += outcome.num_tokens;
        self.usage.jump_forward_tokens += outcome.num_jump_forward;
        self.usage.vetoed_tokens += outcome.num_vetoed;
        if is_first {
            self.num_prefilling = self.num_prefilling.saturating_sub(1);
            if self.num_prefilling == 0 {
                self.prefilled = Some(now);
            }
        } else if self.prefilled.is_some() {
            self.decode_tokens += outcome.num_tokens;
        }
    }

    /// Takes note that a group goes on as others, or not at all.
    pub(super) fn replace(&mut self, group: GroupId, children: &[GroupId]) {
        self.groups.retain(|running| *running != group);
        self.groups.extend(children);
    }

    pub(super) fn add_wait(&mut self, wait: Duration) {
        self.waits.add(wait);
    }

    /// The last event, and what was used.
    pub(super) fn finish(self, now: Duration) -> (Event, Usage) {
        let prefilled = self.prefilled.unwrap_or(now);
        let timings = Timings {
            prefill: prefilled.saturating_sub(self.submitted),
            decode: now.saturating_sub(prefilled),
            decode_tokens: self.decode_tokens,
            mask_wait: self.waits.summary(),
        };
        (Event::Finished { usage: self.usage, timings }, self.usage)
    }
}

/// Waits for masks: all of them summed up, and the latest remembered.
#[derive(Debug, Default)]
pub(super) struct Waits {
    total: Duration,
    latest: VecDeque<Duration>,
}

/// Waits that are remembered.
const NUM_WAITS: usize = 4_096;

impl Waits {
    pub(super) fn add(&mut self, wait: Duration) {
        self.total = self.total.saturating_add(wait);
        if self.latest.len() == NUM_WAITS {
            self.latest.pop_front();
        }
        self.latest.push_back(wait);
    }

    pub(super) fn summary(&self) -> MaskWait {
        MaskWait::of(self.latest.iter().copied(), self.total)
    }
}
