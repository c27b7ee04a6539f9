//! Ending a matcher's work from another thread.

use super::{Matcher, Phase};
use crate::engine::Cancellation;
use crate::error::MatchError;

/// Ends the work of one matcher, from any thread: what it is doing stops soon, and it fails with
/// [`MatchError::Cancelled`]. Forks made before go on.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Option<Cancellation>);

impl CancelHandle {
    /// Asks the matcher to stop, for good. Does not wait until it has.
    pub fn cancel(&self) {
        if let Some(handle) = &self.0 {
            handle.cancel();
        }
    }
}

impl Matcher {
    /// Returns what ends this matcher's work. Free text has no work worth ending.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.engine.as_ref().map(|engine| engine.cancellation()))
    }

    /// Returns the error of a matcher that was asked to stop before it failed.
    pub(super) fn cancelled(&self) -> Option<MatchError> {
        let engine = self.engine.as_ref()?;
        let is_new = !matches!(self.phase, Phase::Failed(_));
        (is_new && engine.is_cancelled())
            .then_some(MatchError::Cancelled { num_tokens: self.num_tokens })
    }
}
