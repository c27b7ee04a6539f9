//! What an engine is doing, for those who watch it.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;
use sluicegate_core::scheduler::SchedulerStats;

use super::core::Core;
use crate::stream::{MaskExposed, Usage};

/// An engine at one moment, and what it did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Metrics {
    /// Requests whose outputs are not complete.
    pub requests: usize,
    /// Those of them of which no prompt has begun.
    pub requests_waiting: usize,
    pub requests_finished: u64,
    /// Requests that ended with an error.
    pub requests_failed: u64,
    /// Requests whose callers went away.
    pub requests_cancelled: u64,
    /// Of requests that have finished.
    pub usage: Usage,
    pub scheduler: SchedulerStats,
    /// Groups that have matchers.
    pub matchers: usize,
    /// How often the stages were started.
    pub incarnation: u32,
    /// What the last stage waited for masks of late, per constrained microbatch.
    pub mask_exposed: MaskExposed,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    pub(super) usage: Usage,
    mask_exposed: VecDeque<Duration>,
}

/// Waits for masks that are remembered.
const NUM_WAITS: usize = 4_096;

impl Tally {
    pub(super) fn add_mask_exposed(&mut self, wait: Duration) {
        if self.mask_exposed.len() == NUM_WAITS {
            self.mask_exposed.pop_front();
        }
        self.mask_exposed.push_back(wait);
    }

    pub(super) fn add_usage(&mut self, usage: Usage) {
        self.usage.prompt_tokens += usage.prompt_tokens;
        self.usage.completion_tokens += usage.completion_tokens;
        self.usage.forced_tokens += usage.forced_tokens;
        self.usage.vetoed_tokens += usage.vetoed_tokens;
    }
}

impl Core {
    pub(super) fn metrics(&self) -> Metrics {
        let mut waits: Vec<Duration> = self.tally.mask_exposed.iter().copied().collect();
        Metrics {
            requests: self.requests.len(),
            requests_waiting: self.requests.values().filter(|it| !it.has_begun).count(),
            requests_finished: self.tally.finished,
            requests_failed: self.tally.failed,
            requests_cancelled: self.tally.cancelled,
            usage: self.tally.usage,
            scheduler: self.scheduler.stats(),
            matchers: self.masker.num_groups(),
            incarnation: self.pipeline.incarnation(),
            mask_exposed: MaskExposed::of(&mut waits),
        }
    }
}
