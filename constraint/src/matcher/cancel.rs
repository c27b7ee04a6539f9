//! Cancels a matcher's work, or only its searches, from another thread.

use super::{Matcher, Phase};
use crate::engine::Cancellation;
use crate::error::MatchError;

/// Cancels the work of one matcher, from any thread. Forks made earlier are not affected.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Option<Cancellation>);

impl CancelHandle {
    /// Cancels the matcher for good: its current work ends soon and fails with
    /// [`MatchError::Cancelled`]. Does not wait for that.
    pub fn cancel(&self) {
        if let Some(handle) = &self.0 {
            handle.cancel();
        }
    }

    /// Stops searching for a valid finish after a token. If none has been found by then, the token
    /// is vetoed and the sequence goes on. Lasts until the next handle is taken.
    pub fn end_search(&self) {
        if let Some(handle) = &self.0 {
            handle.set_haste(true);
        }
    }
}

impl Matcher {
    /// Returns a handle that cancels this matcher's work from now on; take one for each piece of
    /// work. For free text it does nothing, as there is no work to cancel.
    pub fn cancel_handle(&self) -> CancelHandle {
        let cancellation = self.engine.as_ref().map(|engine| engine.cancellation());
        if let Some(cancellation) = &cancellation {
            cancellation.set_haste(false);
        }
        CancelHandle(cancellation)
    }

    /// Returns the error of a cancelled matcher, unless it failed before.
    pub(super) fn cancelled(&self) -> Option<MatchError> {
        let engine = self.engine.as_ref()?;
        let is_new = !matches!(self.phase, Phase::Failed(_));
        (is_new && engine.is_cancelled())
            .then_some(MatchError::Cancelled { num_tokens: self.num_tokens })
    }
}
