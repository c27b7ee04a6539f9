//! What comes back from the last stage.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use super::{
    ids::{GroupId, MicrobatchId},
    stamp::MaskError,
};

/// The outcome of one microbatch; without groups if it only filled the cache.
///
/// Groups whose masks were late follow in messages of their own, without times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    pub microbatch: MicrobatchId,
    pub groups: Vec<GroupChoices>,
    /// Seconds that each stage worked on it, waits for masks left out.
    pub stage_s: Vec<f64>,
    /// How long the last stage waited for masks, where a row needed one.
    pub mask_wait: Option<Duration>,
}

/// What was chosen for a group: one token for each draw of each row, or of each beam its most likely
/// continuations, as many as the search is wide.
///
/// A sample whose row fails ends its request, and no other; of beams the others go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupChoices {
    pub group: GroupId,
    pub choices: Result<Vec<Choice>, RowError>,
}

/// A token that was chosen for a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Index of the row that it continues, within its group.
    pub row: u32,
    pub token: TokenId,
    /// Natural logarithm of its probability in the masked, renormalised distribution, before
    /// temperature and the like.
    pub log_probability: f64,
    /// The most likely tokens of the same distribution, most likely first, if they are wanted.
    pub likeliest: Vec<Likely>,
}

/// A token that was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Likely {
    pub id: TokenId,
    /// Natural logarithm of its probability.
    pub log_probability: f64,
}

/// Why a row has no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowError {
    #[error("the mask was refused at the last stage")]
    Mask(#[from] MaskError),
    #[error("no allowed token has a finite logit in {group} row {row}")]
    NoToken { group: GroupId, row: usize },
}
