//! What only the last stage does: check masks, sample, and send tokens back.

use crossbeam_channel::{Receiver, Sender, select};
use sluicegate_core::{
    messages::{Batch, GroupChoices, GroupSampling, MaskTimes, Sampled, StageBatch},
    parking::{Parked, Parking, requires_masks},
};
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
    sampler::Sampler,
};

/// The last stage's end: logits in, tokens out.
pub(super) struct LastStage {
    config: LastStageConfig,
    logits: LogitRows,
    /// Groups whose masks are late, each with a copy of its logits.
    parking: Parking<Vec<Vec<f32>>>,
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

impl LastStage {
    pub(super) fn new(config: LastStageConfig) -> Self {
        Self { config, logits: LogitRows::default(), parking: Parking::default() }
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
            if !self.parking.has_parked() {
                return Ok(inbox.recv().ok());
            }
            let masks = self.config.masks.clone();
            select! {
                recv(inbox) -> message => return Ok(message.ok()),
                recv(masks) -> masks => match masks {
                    Ok(masks) => self.receive(masks)?,
                    Err(_) => self.parking.close(),
                },
            }
        }
    }

    /// Reads a microbatch's logits, if it has any: it waits until they have been computed.
    pub(super) fn read(&mut self, logits: Option<&Placed<Logits>>) -> Result<(), StageError> {
        Ok(self.logits.read(logits, self.config.device)?)
    }

    /// Samples from the logits that were read; false if nobody listens any more.
    pub(super) fn sample(
        &mut self,
        StageBatch { batch, mut times, .. }: StageBatch,
    ) -> Result<bool, StageError> {
        let microbatch = batch.microbatch;
        let mask_times = self.await_masks(&batch)?;
        let groups = {
            let _span = trace_span!("sampler.sample", microbatch = microbatch.0).entered();
            self.sample_groups(&batch)
        };
        if let Some(Some(last)) = times.last_mut() {
            last.ended = self.config.clock.now();
        }
        let logit_bytes = self.logits.copied_bytes;
        self.send(Sampled { microbatch, groups, times, mask_times }, logit_bytes)
    }

    /// Samples the groups that have all of their masks, and parks the others.
    fn sample_groups(&mut self, batch: &Batch) -> Vec<GroupChoices> {
        let Self { config, logits, parking } = self;
        let ready = parking.admit(batch, config.clock.now(), |group| {
            let rows = logits.rows(group.logit_rows.clone());
            rows.iter().map(|row| row.to_vec()).collect()
        });
        let masks = parking.masks(batch.microbatch);
        let sample = |group: &GroupSampling| {
            config.sampler.sample(group, &mut logits.rows(group.logit_rows.clone()), masks)
        };
        let groups = ready.into_iter().map(sample).collect();
        parking.forget(batch.microbatch);
        groups
    }

    /// Samples the parked groups whose masks have come; false if nobody listens any more.
    fn sample_parked(&mut self) -> Result<bool, StageError> {
        while let Some(Parked { microbatch, sampling, kept, since }) = self.parking.take_ready() {
            let _span = trace_span!("sampler.sample", microbatch = microbatch.0).entered();
            let filled = self.parking.take_filled(microbatch);
            let mut logits = kept;
            let mut logits: Vec<&mut [f32]> = logits.iter_mut().map(Vec::as_mut_slice).collect();
            let masks = self.parking.masks(microbatch);
            let choices = self.config.sampler.sample(&sampling, &mut logits, masks);
            self.parking.forget(microbatch);
            let awaited = Some(self.config.clock.since(since));
            let mask_times = MaskTimes { awaited, filled };
            let (groups, times) = (vec![choices], Vec::new());
            if !self.send(Sampled { microbatch, groups, times, mask_times }, 0)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Without sampling here, the logits would go to the host: those that had to be read out of a
    /// GPU's memory did.
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
    /// late may still be missing. Where nobody can send masks any more, the rows that require them
    /// fail.
    fn await_masks(&mut self, batch: &Batch) -> Result<MaskTimes, StageError> {
        if !requires_masks(batch) {
            return Ok(MaskTimes::default());
        }
        let from = self.config.clock.now();
        while self.parking.must_wait(batch) {
            match self.config.masks.recv() {
                Ok(masks) => self.receive(masks)?,
                Err(_) => self.parking.close(),
            }
        }
        // What was late may have come meanwhile.
        let masks = self.config.masks.clone();
        masks.try_iter().try_for_each(|masks| self.receive(masks))?;
        let awaited = Some(self.config.clock.since(from));
        Ok(MaskTimes { awaited, filled: self.parking.take_filled(batch.microbatch) })
    }

    fn receive(&mut self, masks: MasksInTransit) -> Result<(), StageError> {
        let device = self.config.device;
        let site = Site { operation: "apply_mask", unit: Some(Unit::Head), with: "logits", device };
        let masks = self.config.masks_end.receive(masks)?.take(&site)?;
        self.parking.receive(masks);
        Ok(())
    }
}
