//! What the scheduler has at the moment, for those who watch it.

use serde::{Deserialize, Serialize};

use super::{group::State, scheduler::Scheduler};

/// Groups, rows and pages at one moment, and what happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulerStats {
    /// Groups that wait for pages.
    pub waiting: usize,
    /// Groups that have pages.
    pub running: usize,
    /// Their rows.
    pub rows: usize,
    pub microbatches_in_flight: usize,
    /// Microbatches that may be in flight.
    pub depth: usize,
    /// Per KV group.
    pub pages: Vec<PageStats>,
    /// Groups that had to give their pages up and to be computed again.
    pub preemptions: u64,
    /// Tokens that were ordered of the stages, each time that they were.
    pub computed_tokens: u64,
    /// Tokens that were computed once more because their group had given its pages up.
    pub recomputed_tokens: u64,
    /// Tokens of admitted groups, each time that they were admitted.
    pub admitted_tokens: u64,
    /// Those of them that were computed already.
    pub shared_tokens: u64,
    /// Pages that stages had to copy because rows that share them wrote on, in all KV groups.
    pub copied_pages: u64,
}

/// Pages of one KV group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageStats {
    pub total: usize,
    /// Pages that some row holds.
    pub held: usize,
    /// Pages that nobody holds, kept for sequences that begin alike.
    pub kept: usize,
}

impl SchedulerStats {
    /// The share of what was computed that had been computed before.
    pub fn recomputed_share(&self) -> f64 {
        self.recomputed_tokens as f64 / self.computed_tokens.max(1) as f64
    }
}

impl Scheduler {
    /// Whether no group runs or waits.
    pub fn is_idle(&self) -> bool {
        self.groups.is_empty()
    }

    /// Pages of each KV group that nobody holds.
    pub fn num_free_pages(&self) -> Vec<usize> {
        self.memory.num_available()
    }

    /// Rows that take a token at a time.
    pub fn num_decoding_rows(&self) -> usize {
        self.decoding().map(|group| group.rows.len()).sum()
    }

    pub fn stats(&self) -> SchedulerStats {
        let running = || self.groups.values().filter(|group| group.state != State::Waiting);
        let counts = self.memory.num_available().into_iter().zip(self.memory.num_kept());
        let pages = self.config().pages_per_group.iter().zip(counts);
        SchedulerStats {
            waiting: self.waiting.len(),
            running: running().count(),
            rows: running().map(|group| group.rows.len()).sum(),
            microbatches_in_flight: self.num_in_flight(),
            depth: self.config().max_in_flight,
            pages: pages
                .map(|(&total, (free, kept))| PageStats { total, held: total - free, kept })
                .collect(),
            preemptions: self.counts.preemptions,
            computed_tokens: self.counts.computed_tokens,
            recomputed_tokens: self.counts.recomputed_tokens,
            admitted_tokens: self.counts.admitted_tokens,
            shared_tokens: self.counts.shared_tokens,
            copied_pages: self.counts.copied_pages,
        }
    }
}
