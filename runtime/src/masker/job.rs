//! The masks of one microbatch, on which several workers work.

use std::sync::{Arc, Mutex, PoisonError};

use sluicegate_model::placed::{DeviceId, Placed};

use super::{MaskerFailure, MaskerOutlet};
use crate::{
    device::Masks,
    pipeline::PipelineEvent,
    placement::Endpoint,
    sampler::{MaskRow, Stamp},
    scheduler::MicrobatchId,
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
    rows: Mutex<Vec<Option<MaskRow>>>,
}

impl Job {
    pub(super) fn new(
        outlet: Arc<MaskerOutlet>,
        microbatch: MicrobatchId,
        num_rows: usize,
    ) -> Self {
        Self { outlet, microbatch, rows: Mutex::new(vec![None; num_rows]) }
    }

    pub(super) fn put(&self, row: usize, mask: MaskRow) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)[row] = Some(mask);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let rows = std::mem::take(self.rows.get_mut().unwrap_or_else(PoisonError::into_inner));
        let MaskerOutlet { links, last_stage, masks, events, num_words } = &*self.outlet;
        let filled = Masks::new(self.microbatch, rows, *num_words);
        links.ledger().count_masks(&filled);
        let filled = Placed::new(filled, DeviceId::Host);
        match links.carry(&filled, Endpoint::Host, *last_stage) {
            // A last stage that is gone has said why.
            Ok(carried) => drop(masks.send(carried)),
            Err(error) => {
                let _ = events.send(PipelineEvent::MaskerFailed(MaskerFailure::Transfer(error)));
            }
        }
    }
}
