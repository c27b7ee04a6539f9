//! How much an engine takes on, and how often it tries again.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How much an engine takes on, and how often it tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineLimits {
    /// Prompts that may wait for pages; with so many waiting, further requests are refused.
    pub max_waiting: usize,
    /// How long a request may wait for its first prompt to begin; for ever without this.
    pub max_wait: Option<Duration>,
    /// How often the stages may be restarted within `restart_window` before the engine stops.
    pub max_restarts: usize,
    pub restart_window: Duration,
}

impl Default for EngineLimits {
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
    recent: VecDeque<Instant>,
}

impl Restarts {
    /// Takes note of a restart, if one more is allowed.
    pub(super) fn allow(&mut self, now: Instant, limits: &EngineLimits) -> bool {
        let is_old = |then: &Instant| now.duration_since(*then) > limits.restart_window;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_restarts_fit_into_the_window() {
        let limits = EngineLimits { max_restarts: 2, ..EngineLimits::default() };
        let mut restarts = Restarts::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let allowed = [0, 30, 59, 61, 62, 91, 92].map(|s| restarts.allow(after(s), &limits));
        assert_eq!(allowed, [true, true, false, true, false, true, false]);
    }
}
