//! What the scheduler decides: the rows of a microbatch, and before them the reorders that they
//! depend on.

use std::ops::Range;

use crate::messages::{AncestorsOrder, Batch, GroupId, GroupSampling, MicrobatchId, RowOrder};

/// A microbatch as the scheduler made it.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerOutput {
    pub microbatch: MicrobatchId,
    pub ancestors: Vec<AncestorsOrder>,
    pub rows: Vec<RowOrder>,
    /// The groups whose rows are sampled, in the order of their logit rows.
    pub sampled: Vec<SampledGroup>,
}

impl SchedulerOutput {
    /// What stages get of it; `sampling` says of each sampled group how.
    pub fn into_batch(self, sampling: Vec<GroupSampling>) -> Batch {
        let Self { microbatch, ancestors, rows, .. } = self;
        Batch { microbatch, ancestors, rows, sampling }
    }
}

/// A group that samples in this microbatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampledGroup {
    pub group: GroupId,
    /// Its rows among the logit rows of the microbatch.
    pub logit_rows: Range<usize>,
    /// Tokens that each of its rows has generated so far.
    pub step: u32,
    /// How often the group's rows were reordered so far; masks carry it.
    pub epoch: u64,
}
