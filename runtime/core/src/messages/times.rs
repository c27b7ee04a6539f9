//! When things were done for a microbatch. Moments are counted from the engine's start.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When a stage worked on a microbatch, by its device's own account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTimes {
    /// What came in band and the hidden values had arrived, and were still to be uploaded.
    pub started: Duration,
    /// Its output was there: hidden values, or logits.
    pub computed: Duration,
    /// Its output was on its way to the next stage; the last one had masked and sampled.
    pub ended: Duration,
}

impl StageTimes {
    /// How long it worked.
    pub fn duration(&self) -> Duration {
        self.ended.saturating_sub(self.started)
    }
}

/// When something was done for a microbatch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    pub from: Duration,
    pub until: Duration,
}

impl Interval {
    /// Zero where it ends before it begins, as clocks of two machines may say.
    pub fn duration(&self) -> Duration {
        self.until.saturating_sub(self.from)
    }
}

/// When a microbatch's masks were computed and waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskTimes {
    /// When the last stage, its logits ready, waited for them; none where it needs none.
    pub awaited: Option<Interval>,
    /// When each worker that had a part in them worked.
    pub filled: Vec<Interval>,
}

impl MaskTimes {
    /// The same without the wait before a moment until which the stage's device was computing.
    #[must_use]
    pub fn after(mut self, computed: Duration) -> Self {
        if let Some(awaited) = &mut self.awaited {
            awaited.from = awaited.from.max(computed);
            awaited.until = awaited.until.max(awaited.from);
        }
        self
    }

    /// How long the last stage waited, if it needed masks.
    pub fn wait(&self) -> Option<Duration> {
        self.awaited.map(|awaited| awaited.duration())
    }
}
