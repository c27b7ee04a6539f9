//! What only the last stage does: check masks, sample, and send tokens back.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, select};
use sluicegate_core::messages::{Batch, MaskTimes, Masks, MicrobatchId, Sampled, StageBatch};
use sluicegate_model::step::Logits;
use sluicegate_spec::{
    device::DeviceId,
    placed::{Placed, Site},
    units::Unit,
};
use tracing::trace_span;

use super::{
    error::StageError,
    message::{MasksInTransit, Microbatch, PipelineEvent},
};
use crate::{
    clock::Clock,
    device::{LogitRows, Payload, ReceivingEnd, SendingEnd, payload::PayloadSize},
    sampler::{GroupChoices, GroupSampling, MaskRule, Sampler},
};

/// The last stage's end: logits in, tokens out.
pub(super) struct LastStage {
    config: LastStageConfig,
    logits: LogitRows,
    /// Masks that have come, of microbatches that were not sampled, or not all of them.
    received: BTreeMap<MicrobatchId, Masks>,
    /// Groups whose masks are late, with their logits: no other row waits for them.
    parked: VecDeque<Parked>,
}

/// What a last stage is made from.
#[derive(Clone)]
pub(super) struct LastStageConfig {
    pub(super) device: DeviceId,
    pub(super) sampler: Sampler,
    pub(super) clock: Clock,
    pub(super) masks: Receiver<MasksInTransit>,
    pub(super) masks_end: ReceivingEnd,
    pub(super) tokens_end: SendingEnd,
    pub(super) events: Sender<PipelineEvent>,
}

/// A group that waits for a mask.
pub(super) struct Parked {
    microbatch: MicrobatchId,
    sampling: GroupSampling,
    /// A copy of its rows.
    logits: Vec<Vec<f32>>,
    since: Duration,
}

impl LastStage {
    pub(super) fn new(config: LastStageConfig) -> Self {
        let (received, parked) = (BTreeMap::new(), VecDeque::new());
        Self { config, logits: LogitRows::default(), received, parked }
    }

    /// The next message of the inbox; meanwhile groups are sampled whose masks were late. None once
    /// the inbox is closed, or nobody listens any more.
    pub(super) fn next(
        &mut self,
        inbox: &Receiver<Microbatch>,
    ) -> Result<Option<Microbatch>, StageError> {
        loop {
            // Their masks may have come with those of another microbatch.
            if !self.sample_parked()? {
                return Ok(None);
            }
            if self.parked.is_empty() {
                return Ok(inbox.recv().ok());
            }
            let masks = self.config.masks.clone();
            select! {
                recv(inbox) -> message => return Ok(message.ok()),
                recv(masks) -> masks => match masks {
                    Ok(masks) => self.receive(masks)?,
                    // Where nobody can send masks any more, rows that require them fail.
                    Err(_) => self.received.values_mut().for_each(|masks| masks.late.clear()),
                },
            }
        }
    }

    /// Samples a microbatch's logits, if it has any; false if nobody listens any more.
    pub(super) fn sample(
        &mut self,
        StageBatch { batch, mut times, .. }: StageBatch,
        logits: Option<&Placed<Logits>>,
    ) -> Result<bool, StageError> {
        let microbatch = batch.microbatch;
        self.logits.read(logits, self.config.device)?;
        let mask_times = self.await_masks(&batch)?;
        let groups = {
            let _span = trace_span!("sampler.sample", microbatch = microbatch.0).entered();
            self.sample_groups(&batch)
        };
        if let Some(last) = times.last_mut() {
            last.ended = self.config.clock.now();
        }
        let logit_bytes = self.logits.copied_bytes;
        self.send(Sampled { microbatch, groups, times, mask_times }, logit_bytes)
    }

    /// Samples the groups that have all of their masks, and parks the others.
    fn sample_groups(&mut self, batch: &Batch) -> Vec<GroupChoices> {
        let id = batch.microbatch;
        let masks = self.received.get(&id);
        let mut groups = Vec::with_capacity(batch.sampling.len());
        for group in &batch.sampling {
            let mut logits = self.logits.rows(group.logit_rows.clone());
            if masks.is_some_and(|masks| masks.is_late(&group.logit_rows)) {
                self.parked.push_back(Parked {
                    microbatch: id,
                    sampling: group.clone(),
                    logits: logits.iter().map(|row| row.to_vec()).collect(),
                    since: self.config.clock.now(),
                });
            } else {
                let rows = masks.map_or(&[][..], |masks| &masks.rows);
                groups.push(self.config.sampler.sample(group, &mut logits, rows));
            }
        }
        self.forget(id);
        groups
    }

    /// Samples the parked groups whose masks have come; false if nobody listens any more.
    fn sample_parked(&mut self) -> Result<bool, StageError> {
        for _ in 0..self.parked.len() {
            let Some(mut parked) = self.parked.pop_front() else { break };
            let id = parked.microbatch;
            let masks = self.received.get_mut(&id);
            if masks.as_ref().is_some_and(|it| it.is_late(&parked.sampling.logit_rows)) {
                self.parked.push_back(parked);
                continue;
            }
            let _span = trace_span!("sampler.sample", microbatch = id.0).entered();
            let filled = masks.map(|masks| std::mem::take(&mut masks.filled)).unwrap_or_default();
            let rows = self.received.get(&id).map_or(&[][..], |masks| &masks.rows);
            let mut logits: Vec<&mut [f32]> =
                parked.logits.iter_mut().map(Vec::as_mut_slice).collect();
            let choices = self.config.sampler.sample(&parked.sampling, &mut logits, rows);
            self.forget(id);
            let sampled = Sampled {
                microbatch: id,
                groups: vec![choices],
                times: Vec::new(),
                mask_times: MaskTimes {
                    awaited: Some(self.config.clock.since(parked.since)),
                    filled,
                },
            };
            if !self.send(sampled, 0)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Without sampling here, the logits would go to the host: those that had to be read out of a GPU's
    /// memory did.
    fn send(&self, sampled: Sampled, logit_bytes: usize) -> Result<bool, StageError> {
        let sampled = Placed::new(sampled, self.config.device);
        let size = |sampled: &Sampled| {
            let PayloadSize { bytes, raw_bytes } = sampled.size();
            PayloadSize { bytes, raw_bytes: raw_bytes.max(logit_bytes) }
        };
        let sampled = self.config.tokens_end.send_with(&sampled, size)?;
        Ok(self.config.events.send(PipelineEvent::Sampled(sampled)).is_ok())
    }

    /// Waits until masks of a microbatch have come, if one of its rows requires one; those that are
    /// late may still be missing.
    ///
    /// Masks of another microbatch never stand in: they are kept for theirs. Where the masks' channel
    /// is closed there are none, and the rows that require them fail.
    fn await_masks(&mut self, batch: &Batch) -> Result<MaskTimes, StageError> {
        let id = batch.microbatch;
        let mut rows = batch.sampling.iter().flat_map(|group| &group.rows);
        if !rows.any(|row| matches!(row.mask, MaskRule::Required(_))) {
            return Ok(MaskTimes::default());
        }
        let from = self.config.clock.now();
        while !self.received.contains_key(&id) {
            let Ok(masks) = self.config.masks.recv() else { break };
            self.receive(masks)?;
        }
        // What was late may have come meanwhile.
        let masks = self.config.masks.clone();
        masks.try_iter().try_for_each(|masks| self.receive(masks))?;
        let awaited = Some(self.config.clock.since(from));
        let received = self.received.get_mut(&id);
        let filled = received.map(|masks| std::mem::take(&mut masks.filled)).unwrap_or_default();
        // Of earlier microbatches nothing will be asked for again, but for parked groups.
        self.received.retain(|other, _| {
            *other >= id || self.parked.iter().any(|it| it.microbatch == *other)
        });
        Ok(MaskTimes { awaited, filled })
    }

    fn receive(&mut self, masks: MasksInTransit) -> Result<(), StageError> {
        let device = self.config.device;
        let unit = Some(Unit::Head);
        let site = Site { operation: "apply_mask", unit, with: "logits", device };
        let masks = self.config.masks_end.receive(masks)?.take(&site)?;
        match self.received.get_mut(&masks.microbatch) {
            Some(earlier) => earlier.merge(masks),
            None => drop(self.received.insert(masks.microbatch, masks)),
        }
        Ok(())
    }

    /// Lets go of a sampled microbatch's masks, unless a group still waits for one of them.
    fn forget(&mut self, id: MicrobatchId) {
        if !self.parked.iter().any(|it| it.microbatch == id) {
            self.received.remove(&id);
        }
    }
}
