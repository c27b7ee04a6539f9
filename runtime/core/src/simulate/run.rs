//! What came of a simulation.

use serde::Serialize;

use crate::{
    scheduler::SchedulerStats,
    serve::{Output, RequestError},
    timeline::Timeline,
};

/// All ends, in the order of the requests, and the timeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub ends: Vec<RequestEnd>,
    pub timeline: Timeline,
    /// The scheduler's counts, after everything had ended.
    pub scheduler: SchedulerStats,
    /// Batches that were sent.
    pub num_batches: u64,
    /// Of each token but the first ones: the time since the one before. Tokens that come together
    /// share it.
    pub token_s: Vec<f64>,
    pub full: Full,
    /// Incarnations of the pipeline; one, unless it was restarted.
    pub incarnations: u32,
}

/// The time in which requests waited because no more may run: what a plan predicts is about it, and
/// not about the first and the last requests, which run with few others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Full {
    pub seconds: f64,
    /// Tokens that were sampled in it.
    pub tokens: usize,
    /// Rows that ran at once, at most; at any time.
    pub most_rows: usize,
}

impl Full {
    /// None if nobody ever waited.
    pub fn tokens_per_s(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.tokens as f64 / self.seconds)
    }
}

/// How one request ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestEnd {
    pub reason: EndReason,
    pub arrival_s: f64,
    pub first_token_s: Option<f64>,
    pub end_s: f64,
    /// Batches that were sent between arrival and end, while none of its matchers was at work.
    pub num_batches: u64,
    /// The outputs that were complete.
    pub outputs: Vec<Output>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    Finished,
    Cancelled,
    /// It could not run here if it were alone.
    Refused,
    Failed(RequestError),
}

impl Run {
    /// Tokens of all outputs that were complete.
    pub fn num_tokens(&self) -> usize {
        self.ends.iter().flat_map(|end| &end.outputs).map(Output::num_tokens).sum()
    }

    /// From the first arrival to the last end, in seconds.
    pub fn seconds(&self) -> f64 {
        let start_s = self.ends.iter().map(|end| end.arrival_s).fold(f64::INFINITY, f64::min);
        let end_s = self.ends.iter().map(|end| end.end_s).fold(0.0, f64::max);
        (end_s - start_s).max(0.0)
    }
}
