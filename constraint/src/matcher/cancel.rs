//! Ending a matcher's work, or its searches, from another thread.

use super::{Matcher, Phase};
use crate::engine::Cancellation;
use crate::error::MatchError;

/// Ends the work of one matcher, from any thread. Forks made before go on.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Option<Cancellation>);

impl CancelHandle {
    /// Asks the matcher to stop, for good: what it is doing ends soon, and it fails with
    /// [`MatchError::Cancelled`]. Does not wait until it has.
    pub fn cancel(&self) {
        if let Some(handle) = &self.0 {
            handle.cancel();
        }
    }

    /// Asks the matcher to search no longer for a valid finish behind a token: where none is known by
    /// then, the token is vetoed, and the sequence goes on. Holds until the next handle is taken.
    pub fn end_search(&self) {
        if let Some(handle) = &self.0 {
            handle.set_haste(true);
        }
    }
}

impl Matcher {
    /// Returns what ends this matcher's work, from now on: take one for each piece of work. Free text
    /// has no work worth ending.
    pub fn cancel_handle(&self) -> CancelHandle {
        let cancellation = self.engine.as_ref().map(|engine| engine.cancellation());
        if let Some(cancellation) = &cancellation {
            cancellation.set_haste(false);
        }
        CancelHandle(cancellation)
    }

    /// Returns the error of a matcher that was asked to stop before it failed.
    pub(super) fn cancelled(&self) -> Option<MatchError> {
        let engine = self.engine.as_ref()?;
        let is_new = !matches!(self.phase, Phase::Failed(_));
        (is_new && engine.is_cancelled())
            .then_some(MatchError::Cancelled { num_tokens: self.num_tokens })
    }
}
