//! When a stage worked on its microbatches, by its device's own account.

use std::{collections::VecDeque, time::Duration};

use sluicegate_core::messages::{MicrobatchId, StageTimes};

use crate::{
    clock::Clock,
    device::timer::{Mark, Timer},
};

/// Takes the times of a stage's microbatches. A GPU may still be at work on one that the stage has
/// handed on: its times are known later.
pub(super) struct Stopwatch {
    timer: Timer,
    clock: Clock,
    unknown: VecDeque<Lap>,
}

/// What a device was told to do for a microbatch.
struct Lap {
    microbatch: MicrobatchId,
    started: Mark,
    computed: Mark,
    ended: Duration,
}

impl Stopwatch {
    pub(super) fn new(device: &candle_core::Device, clock: Clock) -> Self {
        Self { timer: Timer::new(device, clock), clock, unknown: VecDeque::new() }
    }

    /// Where the work on a microbatch begins, or ends.
    pub(super) fn mark(&self) -> Mark {
        self.timer.mark()
    }

    /// The times of a microbatch whose output is handed on. Where the device has not come so far
    /// there are none yet: they are [known later](Self::known_now).
    pub(super) fn handed_on(
        &mut self,
        microbatch: MicrobatchId,
        started: Mark,
        computed: Mark,
    ) -> Option<StageTimes> {
        let ended = self.clock.now();
        let lap = Lap { microbatch, started, computed, ended };
        if let Some(times) = lap.times(&self.timer) {
            return Some(times);
        }
        self.unknown.push_back(lap);
        None
    }

    /// Whether the device has not yet come to the end of what it was told to do.
    pub(super) fn has_unknown(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// Times of earlier microbatches that were not known when these were handed on.
    pub(super) fn known_now(&mut self) -> Vec<(MicrobatchId, StageTimes)> {
        let mut known = Vec::new();
        while let Some(lap) = self.unknown.front() {
            let Some(times) = lap.times(&self.timer) else { break };
            known.push((lap.microbatch, times));
            self.unknown.pop_front();
        }
        self.timer.compare(self.unknown.is_empty());
        known
    }
}

impl Lap {
    /// When the work on it began and when it was done; none if the device is still at it.
    fn times(&self, timer: &Timer) -> Option<StageTimes> {
        // Two clocks may disagree by a little: no work begins before it was told to.
        let started = timer.reached(&self.started)?.max(self.started.marked);
        let computed = timer.reached(&self.computed)?.max(started);
        // The device may have come to the end only after its output was handed on.
        Some(StageTimes { started, computed, ended: self.ended.max(computed) })
    }
}
