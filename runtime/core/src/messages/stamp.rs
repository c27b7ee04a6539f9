//! Which mask a row needs, and why one is refused.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::ids::SequenceId;

/// Which step of which sequence a mask was computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    pub sequence: SequenceId,
    /// Tokens that the sequence had generated.
    pub step: u32,
    /// How often the rows of its group had been reordered.
    pub epoch: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} step {} epoch {}", self.sequence, self.step, self.epoch)
    }
}

/// Whether a row is constrained. There is no third way: a required mask that is not there ends the
/// row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskRule {
    Free,
    Required(Stamp),
}

impl MaskRule {
    /// The stamp that the row's mask must have, if it needs one.
    pub fn stamp(self) -> Option<Stamp> {
        match self {
            Self::Free => None,
            Self::Required(stamp) => Some(stamp),
        }
    }
}

/// Why a mask was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MaskError {
    #[error("no mask came for {wanted}")]
    Missing { wanted: Stamp },
    #[error("the mask is for {found}, wanted one for {wanted}")]
    WrongStamp { wanted: Stamp, found: Stamp },
    #[error("the mask for {stamp} has {found} positions, wanted {wanted}")]
    Positions { stamp: Stamp, wanted: usize, found: usize },
    #[error("the mask for {stamp} allows no token")]
    Empty { stamp: Stamp },
    #[error("the mask for {stamp} is that of row {found}, which has none of its own before it")]
    NoSuchRow { stamp: Stamp, found: u32 },
    #[error("the mask for {stamp} cannot be read: {message}")]
    Malformed { stamp: Stamp, message: Arc<str> },
}
