//! What comes back from the last stage.

use std::iter;

use serde::{Deserialize, Serialize};
use sluicegate_spec::{placed::Named, units::TokenId};

use super::{
    ids::{GroupId, MicrobatchId},
    stamp::MaskError,
    times::{MaskTimes, StageTimes},
    wire::{Message, MessageKind},
};

/// The outcome of one microbatch; without groups if it only filled the cache.
///
/// Groups whose masks were late follow in messages of their own, without times of stages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sampled {
    pub microbatch: MicrobatchId,
    pub groups: Vec<GroupChoices>,
    /// When each stage worked on it; none where that is told later, or was before.
    pub times: Vec<Option<StageTimes>>,
    pub mask_times: MaskTimes,
}

impl Message for Sampled {
    const KIND: MessageKind = MessageKind::Sampled;
}

impl Named for Sampled {
    const NAME: &'static str = "tokens";
}

impl Sampled {
    /// Seconds that each stage worked where that is known, waits for masks left out.
    pub fn stage_s(&self) -> Vec<Option<f64>> {
        let worked = |times: &Option<StageTimes>| Some((*times)?.duration().as_secs_f64());
        let mut seconds: Vec<Option<f64>> = self.times.iter().map(worked).collect();
        if let (Some(Some(last)), Some(wait)) = (seconds.last_mut(), self.mask_times.wait()) {
            *last = (*last - wait.as_secs_f64()).max(0.0);
        }
        seconds
    }
}

/// What was chosen for a group: one token for each draw of each row, or of each beam its most
/// likely continuations, as many as the search is wide.
///
/// A sample whose row fails ends its request, and no other; of beams the others go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupChoices {
    pub group: GroupId,
    pub choices: Result<Vec<Choice>, RowError>,
}

/// What was chosen for a row: one token. More would come where a draft is verified, but no row
/// brings a draft yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Index of the row that it continues, within its group.
    pub row: u32,
    pub token: Token,
    /// Tokens behind it; none yet.
    pub more: Vec<Token>,
}

impl Choice {
    /// A single token.
    pub fn new(row: u32, token: Token) -> Self {
        Self { row, token, more: Vec::new() }
    }

    /// The tokens, in order: one at least.
    pub fn tokens(&self) -> impl Iterator<Item = &Token> {
        iter::once(&self.token).chain(&self.more)
    }
}

/// A token that was chosen, or followed of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    pub id: TokenId,
    /// Natural logarithm of its probability in the masked, renormalised distribution, before
    /// temperature and the like; 0 where the constraint left no choice.
    pub log_probability: f64,
    /// The most likely tokens of that distribution, most likely first, as many as the request asked
    /// for; none where the constraint left no choice. Where a token was vetoed, those that it was
    /// among.
    pub top_tokens: Vec<TopToken>,
}

impl Token {
    /// A token about which the constraint left no choice.
    pub fn certain(id: TokenId) -> Self {
        Self { id, log_probability: 0.0, top_tokens: Vec::new() }
    }
}

/// A token that was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TopToken {
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
