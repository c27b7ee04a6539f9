//! What becomes of a stage that failed: all that its pages held is computed again.
//!
//! All that a sequence is (its tokens, its random numbers, its matchers) lives off the stages. So the
//! stages begin a new life with empty pages, the scheduler orders everything anew, and nobody
//! notices, but for who seems to be the cause: a request whose rows were in a failing microbatch
//! twice ends with the failure.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use super::{
    core::Core,
    error::{EngineFailure, GenerationError},
};
use crate::{
    pipeline::{PipelineEvent, StageFailure},
    request::RequestId,
};

/// Failing microbatches that a request may have been in.
const MAX_STRIKES: u32 = 1;

impl Core {
    /// Begins anew after a stage has failed.
    ///
    /// # Errors
    /// The failure, if it cannot pass or there were too many of late; or that of a stage that does
    /// not start again.
    pub(super) fn recover(&mut self, failure: StageFailure) -> Result<(), EngineFailure> {
        if !failure.error.may_pass() || !self.restarts.allow(Instant::now(), &self.limits) {
            return Err(failure.into());
        }
        tracing::warn!(
            error = &failure as &dyn std::error::Error,
            cause = &*failure.error as &dyn std::error::Error,
            "a stage failed; the stages begin anew"
        );
        let groups = failure.microbatch.map_or(&[][..], |id| self.scheduler.groups_in(id));
        let suspects = groups.iter().filter_map(|group| Some(self.groups.get(group)?.request));
        let suspects: BTreeSet<RequestId> = suspects.collect();
        let failure = Arc::new(EngineFailure::Stage(failure));
        for request in suspects {
            let Some(running) = self.requests.get_mut(&request) else { continue };
            running.strikes += 1;
            if running.strikes > MAX_STRIKES {
                self.fail(request, GenerationError::Engine(Arc::clone(&failure)));
            }
        }
        self.scheduler.restart();
        self.sent.clear();
        if let Some(recorder) = &mut self.recorder {
            recorder.lose();
        }
        for event in self.pipeline.restart()? {
            self.take(event)?;
        }
        Ok(())
    }

    /// Finds out why the first stage takes no more orders, and begins anew.
    pub(super) fn stage_is_gone(&mut self) -> Result<(), EngineFailure> {
        let events = self.pipeline.events().clone();
        for event in events.try_iter() {
            match event {
                // Computed again, like all that is in flight.
                PipelineEvent::Sampled(_) => {}
                PipelineEvent::StageFailed(failure) => return self.recover(failure),
                event => self.take(event)?,
            }
        }
        Err(EngineFailure::Disconnected)
    }
}
