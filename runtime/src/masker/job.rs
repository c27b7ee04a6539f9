//! The masks of one microbatch, on which several workers work.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sluicegate_core::messages::{Interval, MaskRow, Masks, MicrobatchId, Stamp};
use sluicegate_spec::{device::DeviceId, placed::Placed};

use super::MaskerOutlet;
use crate::pipeline::PipelineEvent;

/// What a worker has to do for a microbatch.
pub(super) struct Part {
    pub(super) job: Arc<Job>,
    /// Logit rows, and what their masks must be stamped with.
    pub(super) rows: Vec<(usize, Stamp)>,
}

/// Masks that are being computed. They are sent in one message when all are ready. If that takes
/// too long, those that are ready go first, and the others follow as they get ready.
///
/// Whoever drops it last sends what was not sent, also a worker that panics: what is missing then
/// fails its row, and the last stage never waits in vain.
pub(super) struct Job {
    outlet: Arc<MaskerOutlet>,
    microbatch: MicrobatchId,
    state: Mutex<State>,
}

/// What was done so far.
struct State {
    /// Not yet sent.
    rows: Vec<Option<MaskRow>>,
    filled: Vec<Interval>,
    /// Rows that are still worked on.
    open: BTreeSet<usize>,
    /// Whether some went ahead.
    is_split: bool,
    /// Whether there is something that was not sent.
    has_ready: bool,
}

impl Job {
    /// `stamps`: per logit row, what its mask must be stamped with, if it needs one.
    pub(super) fn new(
        outlet: Arc<MaskerOutlet>,
        microbatch: MicrobatchId,
        stamps: &[Option<Stamp>],
    ) -> Self {
        let required = stamps.iter().enumerate().filter(|(_, stamp)| stamp.is_some());
        let open = required.map(|(row, _)| row).collect();
        let rows = vec![None; stamps.len()];
        let state = State { rows, filled: Vec::new(), open, is_split: false, has_ready: false };
        Self { outlet, microbatch, state: Mutex::new(state) }
    }

    /// Takes a row's mask, or that there is none.
    pub(super) fn put(&self, row: usize, mask: Option<MaskRow>) {
        let mut state = self.lock();
        state.rows[row] = mask;
        state.open.remove(&row);
        state.has_ready = true;
    }

    /// Takes note of when a worker did its part.
    pub(super) fn worked(&self, interval: Interval) {
        self.lock().filled.push(interval);
    }

    /// Lets the masks that are ready go ahead of those that are late; the first time also where
    /// none is, so that free rows go on.
    pub(super) fn send_ready(&self) {
        let mut state = self.lock();
        // Where none is late any more, the last holder sends them all in a moment.
        if !state.open.is_empty() && (!state.is_split || state.has_ready) {
            state.is_split = true;
            self.send(&mut state);
        }
    }

    fn send(&self, state: &mut State) {
        state.has_ready = false;
        let rows = state.rows.iter_mut().map(Option::take).collect();
        let MaskerOutlet { link, ledger, masks, events, num_words, .. } = &*self.outlet;
        let filled = Masks {
            filled: std::mem::take(&mut state.filled),
            late: state.open.iter().copied().collect(),
            ..Masks::new(self.microbatch, rows, *num_words)
        };
        ledger.count_masks(&filled);
        match link.send(&Placed::new(filled, DeviceId::Host)) {
            // A last stage that is gone has said why.
            Ok(sent) => drop(masks.send(sent)),
            Err(error) => {
                let _ = events.send(PipelineEvent::MasksLost(error));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let mut state = self.lock();
        state.open.clear();
        self.send(&mut state);
    }
}
