//! What the loop is doing, for those who watch it.

use serde::{Deserialize, Serialize};

use super::{
    output::{MaskWait, Usage},
    running::Waits,
    serve::Serve,
};
use crate::scheduler::SchedulerStats;

/// An engine at one moment, and what it did so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Sequences that have matchers.
    pub matchers: usize,
    /// How often the stages were started.
    pub incarnation: u32,
    /// What the last stage waited for masks of late, per constrained microbatch.
    pub mask_wait: MaskWait,
}

/// What is counted as it happens.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    pub(super) usage: Usage,
    pub(super) waits: Waits,
}

impl Serve {
    pub fn metrics(&self) -> Metrics {
        Metrics {
            requests: self.requests.len(),
            requests_waiting: self.requests.values().filter(|it| !it.has_begun).count(),
            requests_finished: self.tally.finished,
            requests_failed: self.tally.failed,
            requests_cancelled: self.tally.cancelled,
            usage: self.tally.usage,
            scheduler: self.scheduler.stats(),
            matchers: self.matchers.len(),
            incarnation: self.incarnation,
            mask_wait: self.tally.waits.summary(),
        }
    }
}
