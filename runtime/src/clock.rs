//! The engine's clock: moments are counted from its beginning, so that they mean the same to every
//! thread, and can be written down.

use std::time::{Duration, Instant};

use sluicegate_core::messages::Interval;

/// A clock that began to run when it was made. Copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
}

impl Clock {
    /// A clock that says zero now.
    pub fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// The time since it began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// From a moment until now.
    pub fn since(&self, from: Duration) -> Interval {
        Interval { from, until: self.now() }
    }

    /// When it says so; none if that is never.
    pub fn instant(&self, moment: Duration) -> Option<Instant> {
        self.began.checked_add(moment)
    }

    /// What it says at an instant; zero before it began.
    pub fn moment(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.began)
    }
}
