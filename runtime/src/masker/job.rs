//! The masks of one microbatch, on which several workers work.

use std::sync::{Arc, Mutex, PoisonError};

use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::placed::Placed;
use sluicegate_placement::Endpoint;
use sluicegate_spec::device::DeviceId;

use super::{MaskerFailure, MaskerOutlet};
use crate::{
    device::Masks,
    pipeline::{Interval, PipelineEvent},
    sampler::{MaskRow, Stamp},
};

/// What a worker has to do for a microbatch.
pub(super) struct Part {
    pub(super) job: Arc<Job>,
    /// Logit rows, and what their masks must be stamped with.
    pub(super) rows: Vec<(usize, Stamp)>,
}

/// Masks that are being computed. Whoever lets go of it last sends them, also a worker that
/// panics: what is missing then fails its row, and the last stage never waits in vain.
pub(super) struct Job {
    outlet: Arc<MaskerOutlet>,
    microbatch: MicrobatchId,
    done: Mutex<Done>,
}

/// What was done so far.
struct Done {
    rows: Vec<Option<MaskRow>>,
    filled: Vec<Interval>,
}

impl Job {
    pub(super) fn new(
        outlet: Arc<MaskerOutlet>,
        microbatch: MicrobatchId,
        num_rows: usize,
    ) -> Self {
        let done = Done { rows: vec![None; num_rows], filled: Vec::new() };
        Self { outlet, microbatch, done: Mutex::new(done) }
    }

    pub(super) fn put(&self, row: usize, mask: MaskRow) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).rows[row] = Some(mask);
    }

    /// Takes note of when a worker did its part.
    pub(super) fn worked(&self, interval: Interval) {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).filled.push(interval);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (rows, filled) = (std::mem::take(&mut done.rows), std::mem::take(&mut done.filled));
        let MaskerOutlet { links, last_stage, masks, events, num_words } = &*self.outlet;
        let coded = Masks { filled, ..Masks::new(self.microbatch, rows, *num_words) };
        links.ledger().count_masks(&coded);
        let coded = Placed::new(coded, DeviceId::Host);
        match links.carry(&coded, Endpoint::Host, *last_stage) {
            // A last stage that is gone has said why.
            Ok(carried) => drop(masks.send(carried)),
            Err(error) => {
                let _ = events.send(PipelineEvent::MaskerFailed(MaskerFailure::Transfer(error)));
            }
        }
    }
}
