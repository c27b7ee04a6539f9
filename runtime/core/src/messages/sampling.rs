//! What the last stage is told about sampling, in band with the step's order.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use super::{ids::GroupId, params::SamplingParams, stamp::MaskRule};

/// The rows of one group in a microbatch, and how to choose among their tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupSampling {
    pub group: GroupId,
    /// Its rows among the logit rows of the microbatch.
    pub logit_rows: Range<usize>,
    pub params: Arc<SamplingParams>,
    pub rows: Vec<RowSampling>,
}

/// One row's part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowSampling {
    pub mask: MaskRule,
    /// Tokens the row has generated.
    pub step: u32,
    /// What penalties count; empty where there are none.
    pub counts: Vec<TokenCount>,
    /// One draw per key: all samples of a prompt draw their first token from one row.
    pub draws: Vec<RandomKey>,
}

/// How often a token has occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCount {
    pub token: TokenId,
    /// Occurrences in the output; zero where it occurs in the prompt alone.
    pub in_output: u32,
}

/// The address of one random number: nothing else decides what is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RandomKey {
    pub seed: u64,
    /// Index of the prompt in its call.
    pub prompt: u64,
    pub sample: u64,
    pub step: u64,
}
