//! How much is taken on, and how often it is tried again.

use std::{collections::VecDeque, time::Duration};

use serde::{Deserialize, Serialize};

use super::{output::RequestError, running::RunningRequest, serve::Serve};
use crate::messages::RequestId;

/// How much an engine takes on, and how often it tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Prompts that may wait for pages; with so many waiting, further requests are refused.
    pub max_waiting: usize,
    /// How long a request may wait for its first prompt to begin; for ever without this.
    pub max_wait: Option<Duration>,
    /// How often the stages may be restarted within `restart_window` before the engine stops.
    pub max_restarts: usize,
    pub restart_window: Duration,
}

impl Default for Limits {
    /// 1,024 prompts that wait as long as it takes; four restarts within a minute.
    fn default() -> Self {
        Self {
            max_waiting: 1_024,
            max_wait: None,
            max_restarts: 4,
            restart_window: Duration::from_mins(1),
        }
    }
}

/// The restarts of late.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    recent: VecDeque<Duration>,
}

impl Restarts {
    /// Takes note of a restart, if one more is allowed.
    pub(super) fn allow(&mut self, now: Duration, limits: &Limits) -> bool {
        let is_old = |then: &Duration| now.saturating_sub(*then) > limits.restart_window;
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        let is_allowed = self.recent.len() < limits.max_restarts;
        if is_allowed {
            self.recent.push_back(now);
        }
        is_allowed
    }
}

impl Serve {
    /// When something has to be done that no other input tells of.
    pub fn wake_at(&self) -> Option<Duration> {
        let first_waiting = || self.requests.values().find(|request| !request.has_begun);
        let end_of_wait = self.config.limits.max_wait.and_then(|limit| {
            first_waiting().and_then(|request| request.submitted.checked_add(limit))
        });
        [self.closing, end_of_wait, self.patience.until()].into_iter().flatten().min()
    }

    /// Ends the requests that have waited too long for their first prompt to begin.
    pub(super) fn end_waits(&mut self, now: Duration) {
        let Some(limit) = self.config.limits.max_wait else { return };
        let is_late = |request: &RunningRequest| {
            !request.has_begun && now.saturating_sub(request.submitted) >= limit
        };
        let late = self.requests.iter().filter(|(_, request)| is_late(request));
        let late: Vec<RequestId> = late.map(|(id, _)| *id).collect();
        for request in late {
            self.fail(request, RequestError::WaitedTooLong { limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_restarts_fit_into_the_window() {
        let limits = Limits { max_restarts: 2, ..Limits::default() };
        let mut restarts = Restarts::default();
        let after = Duration::from_secs;
        let allowed = [0, 30, 59, 61, 62, 91, 92].map(|s| restarts.allow(after(s), &limits));
        assert_eq!(allowed, [true, true, false, true, false, true, false]);
    }
}
