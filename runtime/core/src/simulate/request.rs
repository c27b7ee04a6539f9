//! What arrives at a simulated engine.

use sluicegate_spec::units::TokenId;

use crate::scheduler::Job;

/// One prompt and how it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedRequest {
    pub arrival_s: f64,
    /// At least one token.
    pub prompt: Vec<TokenId>,
    pub search: Search,
    /// Tokens of an output at most; at least one.
    pub max_tokens: usize,
    /// One token in so many ends an output before; none if it is `None`.
    pub ends_one_in: Option<u64>,
    /// Whether rows wait for masks.
    pub is_constrained: bool,
    /// Tokens that follow sampled ones without being sampled; beams have none.
    pub forced: Option<Forced>,
    pub seed: u64,
    pub priority: i32,
    /// When the caller goes away, counted from the arrival.
    pub cancel_after_s: Option<f64>,
}

/// How outputs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// So many outputs, each drawn for itself.
    Samples(usize),
    /// The best of so many that step together.
    Beams(usize),
}

impl Search {
    /// Rows of a prompt once it has its first token.
    pub fn num_rows(self) -> usize {
        match self {
            Self::Samples(rows) | Self::Beams(rows) => rows,
        }
    }
}

/// One sampled token in `one_in` brings `tokens` forced ones with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forced {
    pub one_in: u64,
    pub tokens: usize,
}

impl SimulatedRequest {
    /// One free output of exactly so many tokens, from time zero on.
    pub fn new(prompt: Vec<TokenId>, max_tokens: usize) -> Self {
        Self {
            arrival_s: 0.0,
            prompt,
            search: Search::Samples(1),
            max_tokens,
            ends_one_in: None,
            is_constrained: false,
            forced: None,
            seed: 0,
            priority: 0,
            cancel_after_s: None,
        }
    }

    pub(super) fn job(&self) -> Job {
        let (max_rows, samples) = match self.search {
            Search::Samples(samples) => (1, samples),
            Search::Beams(width) => (width, 1),
        };
        Job {
            prompt: self.prompt.clone(),
            max_rows,
            samples,
            max_tokens: self.max_tokens,
            priority: self.priority,
            index: 0,
        }
    }
}
