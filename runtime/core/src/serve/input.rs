//! What the loop is told.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use super::request::Admitted;
use crate::messages::{GroupId, MicrobatchId, RequestId, Sampled, SequenceId};

/// Something that happened. Moments are counted from the engine's start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    Submitted {
        request: RequestId,
        admitted: Arc<Admitted>,
    },
    /// Its caller has gone.
    Cancelled(RequestId),
    /// A microbatch has left the last stage; or groups of it that had to wait for their masks.
    Sampled(Sampled),
    /// How long a stage worked on a microbatch, where that was not known when the stage handed it
    /// on; its tokens may have come back or not.
    Timed {
        microbatch: MicrobatchId,
        stage: usize,
        took: Duration,
    },
    /// The matchers have answered an [`Action::Advance`](super::Action::Advance): for each of its
    /// continuations, in order.
    Advanced {
        group: GroupId,
        answers: Vec<Result<Answer, MatcherError>>,
    },
    /// A mask could not be computed; the row that requires it will fail at the last stage.
    MaskFailed {
        sequence: SequenceId,
        error: MatcherError,
    },
    /// A stage has failed while it computed a microbatch; whether that may pass.
    StageLost {
        microbatch: Option<MicrobatchId>,
        may_pass: bool,
    },
    /// All stages have begun anew, with empty pages.
    Restarted,
    /// No more requests are taken; those that run may do so until then.
    Closing {
        deadline: Duration,
    },
    /// The moment of [`Serve::wake_at`](super::Serve::wake_at) has come.
    TimePassed,
}

/// How a sequence went on by its matcher.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The tokens that were taken: the sampled ones up to the first that was vetoed or ended the
    /// output, another instead of a vetoed one, and behind them those that had to follow, where
    /// the sequence takes them. Empty where the output ends before the first.
    pub tokens: Vec<TokenId>,
    /// Whether the output is complete.
    pub is_finished: bool,
    /// Whether no valid output was found that begins with the sampled tokens.
    pub is_vetoed: bool,
}

/// Why a constrained sequence cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MatcherError {
    #[error("{message}")]
    Failed { message: Arc<str> },
    #[error("a mask or a search took longer than {limit:?}")]
    Deadline { limit: Duration },
    #[error("the mask worker that had it panicked: {message}")]
    Panicked { message: Arc<str> },
    #[error("the matchers answered for {found} sequences of {wanted}")]
    Answers { wanted: usize, found: usize },
}
