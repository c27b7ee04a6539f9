//! What only the last stage does: check masks, sample, and send tokens back.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, Sender};
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::{
    placed::{Placed, Site},
    step::Logits,
};
use sluicegate_placement::{Endpoint, StageId};
use sluicegate_spec::{device::DeviceId, units::Unit};
use tracing::trace_span;

use super::{
    error::StageError,
    message::{Interval, MaskTimes, PipelineEvent, StageTimes},
};
use crate::{
    device::{Links, LogitRows, Masks, Order, Sampled},
    sampler::{GroupChoices, MaskRow, MaskRule, Sampler},
};

/// The last stage's end: logits in, tokens out.
pub(super) struct LastStage {
    pub(super) stage: StageId,
    pub(super) device: DeviceId,
    pub(super) sampler: Sampler,
    pub(super) logits: LogitRows,
    pub(super) links: Arc<Links>,
    pub(super) masks: Receiver<Placed<Masks>>,
    /// Masks that came ahead of their microbatch.
    pub(super) early: HashMap<MicrobatchId, Placed<Masks>>,
    pub(super) events: Sender<PipelineEvent>,
}

impl LastStage {
    /// Samples a microbatch's logits, if it has any; false if nobody listens any more.
    pub(super) fn sample(
        &mut self,
        id: MicrobatchId,
        order: &Placed<Order>,
        logits: Option<&Placed<Logits>>,
        mut times: Vec<StageTimes>,
    ) -> Result<bool, StageError> {
        self.logits.read(logits, self.device)?;
        let order = order.at(&self.site("sample", "logits"))?;
        let (masks, mask_times) = self.masks_for(id, order)?;
        let groups = {
            let _span = trace_span!("sampler.sample", microbatch = id.0).entered();
            self.sample_groups(order, &masks)
        };
        if let Some(last) = times.last_mut() {
            last.ended = Instant::now();
        }
        let logit_bytes = self.logits.copied_bytes;
        let sampled = Sampled { microbatch: id, groups, times, mask_times, logit_bytes };
        let sampled = Placed::new(sampled, self.device);
        let sampled = self.links.carry(&sampled, Endpoint::Stage(self.stage), Endpoint::Host)?;
        Ok(self.events.send(PipelineEvent::Sampled(sampled)).is_ok())
    }

    fn sample_groups(&mut self, order: &Order, masks: &[Option<MaskRow>]) -> Vec<GroupChoices> {
        let mut groups = Vec::with_capacity(order.sampling.len());
        for group in &*order.sampling {
            let mut logits = self.logits.rows(group.logit_rows.clone());
            groups.push(self.sampler.sample(group, &mut logits, masks));
        }
        groups
    }

    /// The microbatch's masks, awaited if one of its rows requires one.
    ///
    /// Masks of another microbatch never stand in: they are kept for theirs. Where the masks' channel
    /// is closed there are none, and the rows that require them fail.
    fn masks_for(
        &mut self,
        id: MicrobatchId,
        order: &Order,
    ) -> Result<(Vec<Option<MaskRow>>, MaskTimes), StageError> {
        let mut rows = order.sampling.iter().flat_map(|group| &group.rows);
        if !rows.any(|row| matches!(row.mask, MaskRule::Required(_))) {
            return Ok((Vec::new(), MaskTimes::default()));
        }
        let from = Instant::now();
        while !self.early.contains_key(&id) {
            let Ok(masks) = self.masks.recv() else { break };
            let microbatch = masks.at(&self.site("apply_mask", "logits"))?.microbatch;
            self.early.insert(microbatch, masks);
        }
        let awaited = Some(Interval::since(from));
        let Some(masks) = self.early.remove(&id) else {
            return Ok((Vec::new(), MaskTimes { awaited, filled: Vec::new() }));
        };
        // Whatever came for an earlier microbatch will not be asked for again.
        self.early.retain(|microbatch, _| *microbatch > id);
        let Masks { rows, filled, .. } = masks.take(&self.site("apply_mask", "logits"))?;
        Ok((rows, MaskTimes { awaited, filled }))
    }

    fn site(&self, operation: &'static str, with: &'static str) -> Site {
        Site { operation, unit: Some(Unit::Head), with, device: self.device }
    }
}
