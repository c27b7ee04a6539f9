//! What the loop wants done.

use std::time::Duration;

use serde::Serialize;

use super::output::{Event, RequestError};
use crate::{
    messages::{Batch, GroupId, RequestId, SequenceId},
    scheduler::OutOfBounds,
    sequence::Continuation,
};

/// Something to be done, in the order in which it is said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A request's sequence gets a matcher. It may take so many tokens, and takes what must follow
    /// a token along if it `jumps_forward`.
    Open { request: RequestId, sequence: SequenceId, max_tokens: usize, jumps_forward: bool },
    /// Matchers advance by the sampled tokens; children that are not their parents are forks of
    /// them.
    Advance { group: GroupId, continuations: Vec<Continuation> },
    /// These sequences' matchers are not needed any more.
    Close(Vec<SequenceId>),
    /// Masks are begun, and orders leave for the first stage.
    Send(Batch),
    /// A step brought the sequences of a group at most so many tokens each, so long after the ones
    /// before; and over all of them so many that followed of themselves, and so many vetoes.
    Stepped {
        request: RequestId,
        tokens: usize,
        since: Option<Duration>,
        jump_forward: usize,
        vetoed: usize,
    },
    /// A caller is told something.
    Tell { request: RequestId, event: Event },
    /// A caller is told that its request has failed; the last thing that it hears.
    Fail { request: RequestId, error: RequestError },
    /// All stages begin anew, with empty pages. Until they have, nothing is sent.
    Restart,
    /// Nothing is left to be done.
    Stop(Stop),
}

/// Why the loop ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It was closed, and all requests have ended or their time is over.
    Closed,
    /// A stage was lost for good.
    StageLost,
    /// An order was wrong.
    Bounds(OutOfBounds),
}
