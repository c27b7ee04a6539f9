//! What becomes of a stage that failed: all that its pages held is computed again.
//!
//! All that a sequence is (its tokens, its random numbers, its matchers) lives off the stages. So
//! the stages begin a new life with empty pages, the scheduler orders everything anew, and nobody
//! notices, but for who seems to be the cause: a request whose rows were in a failing microbatch
//! twice ends with the failure.

use std::{collections::BTreeSet, time::Duration};

use super::{
    action::{Action, Stop},
    output::RequestError,
    serve::Serve,
};
use crate::messages::{MicrobatchId, RequestId};

/// Failing microbatches that a request may have been in.
const MAX_STRIKES: u32 = 1;

impl Serve {
    /// Begins anew after a stage has failed, unless that cannot pass or there were too many of
    /// late.
    pub(super) fn recover(
        &mut self,
        microbatch: Option<MicrobatchId>,
        may_pass: bool,
        now: Duration,
    ) {
        if !may_pass || !self.restarts.allow(now, &self.config.limits) {
            self.actions.push(Action::Stop(Stop::StageLost));
            return;
        }
        let groups = microbatch.map_or(&[][..], |id| self.scheduler.groups_in(id));
        let suspects = groups.iter().filter_map(|group| Some(self.groups.get(group)?.request));
        let suspects: BTreeSet<RequestId> = suspects.collect();
        for request in suspects {
            let Some(running) = self.requests.get_mut(&request) else { continue };
            running.strikes += 1;
            if running.strikes > MAX_STRIKES {
                self.fail(request, RequestError::StageLost);
            }
        }
        let is_stepping = |id| self.groups.get(&id).is_some_and(|it| it.stepping.is_some());
        self.scheduler.restart(is_stepping);
        self.sent.clear();
        self.rounds.lose();
        // Masks are computed again, too.
        self.matchers.values_mut().for_each(|failure| *failure = None);
        self.incarnation += 1;
        self.is_down = true;
        self.actions.push(Action::Restart);
    }
}
