//! The timeline itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Spans of a run in seconds from its beginning, in any order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The device of each stage; stages with the same one share it.
    pub devices: Vec<String>,
    pub spans: Vec<Span>,
    pub microbatches: Vec<MicrobatchNote>,
}

/// One thing that one lane did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    pub lane: Lane,
    pub activity: Activity,
    /// Number of the microbatch that it was done for.
    pub microbatch: u64,
    pub start_s: f64,
    pub end_s: f64,
}

/// Who did it. Of one lane, spans do not overlap, but for those of the masker, who has workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    Host,
    /// The link into a stage, where it works while the stage computes.
    Link(usize),
    Stage(usize),
    Masker,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    Compute,
    /// Hidden values on their way: on a stage's lane it computes nothing meanwhile.
    Transfer,
    /// The last stage has logits and no masks.
    AwaitMask,
    /// The host takes a microbatch's tokens and makes the next order.
    Host,
    /// A mask worker computes a mask.
    Mask,
}

/// What a microbatch held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MicrobatchNote {
    pub microbatch: u64,
    pub tokens: usize,
    /// Rows that bring one token, which is sampled from.
    pub decoding_rows: usize,
}

impl Span {
    pub fn seconds(&self) -> f64 {
        self.end_s - self.start_s
    }
}

impl Timeline {
    /// When the last span ends.
    pub fn end_s(&self) -> f64 {
        self.spans.iter().map(|span| span.end_s).fold(0.0, f64::max)
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => write!(f, "host"),
            Self::Link(stage) => write!(f, "link into stage {stage}"),
            Self::Stage(stage) => write!(f, "stage {stage}"),
            Self::Masker => write!(f, "masker"),
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Compute => "compute",
            Self::Transfer => "transfer",
            Self::AwaitMask => "wait for mask",
            Self::Host => "host",
            Self::Mask => "mask",
        };
        write!(f, "{name}")
    }
}
