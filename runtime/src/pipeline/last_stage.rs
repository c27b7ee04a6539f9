//! What only the last stage does: check masks, sample, and send tokens back.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, never, select};
use sluicegate_core::{
    messages::{Batch, MaskTimes, MicrobatchId, Sampled, StageBatch, StageTimes},
    parking::{Parked, Parking, requires_masks},
};
use sluicegate_model::{home::Executor, step::Logits};
use sluicegate_spec::{
    device::DeviceId,
    placed::{Placed, Site},
    units::Unit,
};
use tracing::trace_span;

use super::{
    error::StageError,
    message::{MasksInTransit, Microbatch, PipelineEvent},
    rows::{Kept, Rows, SampledGroups},
};
use crate::{
    clock::Clock,
    device::{Payload, Proof, ReceivingEnd, SendingEnd, Uploader, payload::PayloadSize},
    sampler::Sampler,
};

/// The last stage's end: logits in, tokens out.
pub(super) struct LastStage {
    config: LastStageConfig,
    rows: Rows,
    /// Groups whose masks are late, each with a copy of its logits, or why there is none.
    parking: Parking<Result<Kept, StageError>>,
    /// Of earlier stages' devices: not looked at since this stage's device was last waited for.
    proofs: Vec<Proof>,
}

/// What a last stage is made from.
#[derive(Clone)]
pub(super) struct LastStageConfig {
    pub(super) device: DeviceId,
    pub(super) sampler: Sampler,
    pub(super) uploader: Uploader,
    pub(super) clock: Clock,
    pub(super) masks: Receiver<MasksInTransit>,
    pub(super) masks_end: ReceivingEnd,
    pub(super) tokens_end: SendingEnd,
    pub(super) events: Sender<PipelineEvent>,
}

impl LastStage {
    pub(super) fn new(config: LastStageConfig) -> Self {
        let LastStageConfig { device, sampler, uploader, .. } = &config;
        let rows = Rows::new(*device, sampler.clone(), uploader.clone());
        Self { config, rows, parking: Parking::default(), proofs: Vec::new() }
    }

    /// The next message of the inbox; meanwhile groups are sampled whose masks were late. None once
    /// the inbox is closed, or nobody listens any more. `look` is called before each wait, and says
    /// when to be called again.
    pub(super) fn next(
        &mut self,
        inbox: &Receiver<Microbatch>,
        mut look: impl FnMut() -> Receiver<Instant>,
    ) -> Result<Option<Microbatch>, StageError> {
        loop {
            // Their masks may have come with those of another microbatch.
            if !self.sample_parked()? {
                return Ok(None);
            }
            let has_parked = self.parking.has_parked();
            let masks = if has_parked { self.config.masks.clone() } else { never() };
            select! {
                recv(inbox) -> message => return Ok(message.ok()),
                recv(masks) -> masks => match masks {
                    Ok(masks) => self.receive(masks)?,
                    Err(_) => self.parking.close(),
                },
                recv(look()) -> _ => {}
            }
        }
    }

    /// Takes a microbatch's logits, if it has any, and what shows that earlier stages' devices have
    /// computed what they are made of.
    pub(super) fn take(
        &mut self,
        logits: Option<&Placed<Logits>>,
        executor: &Executor,
        proofs: Vec<Proof>,
    ) -> Result<(), StageError> {
        self.proofs.extend(proofs);
        Ok(self.rows.take(logits, executor)?)
    }

    /// Samples from the logits that were taken; false if nobody listens any more. `times` are this
    /// stage's: it is asked for them once it has sampled.
    pub(super) fn sample(
        &mut self,
        StageBatch { batch, mut times, .. }: StageBatch,
        own_times: impl FnOnce() -> Option<StageTimes>,
    ) -> Result<bool, StageError> {
        let microbatch = batch.microbatch;
        let mask_times = self.await_masks(&batch)?;
        let sampled = {
            let _span = trace_span!("sampler.sample", microbatch = microbatch.0).entered();
            self.sample_groups(&batch)?
        };
        let ended = self.config.clock.now();
        let own_times = own_times().map(|times| StageTimes { ended, ..times });
        let computed = own_times.map_or(ended, |times| times.computed);
        times.push(own_times);
        self.send(microbatch, sampled, (times, mask_times.after(computed)))
    }

    /// Samples the groups that have all of their masks, and parks the others.
    fn sample_groups(&mut self, batch: &Batch) -> Result<SampledGroups, StageError> {
        let Self { config, rows, parking, .. } = self;
        let ready = parking.admit(batch, config.clock.now(), |group| rows.keep(group));
        let sampled = rows.sample(&ready, parking.masks(batch.microbatch))?;
        parking.forget(batch.microbatch);
        Ok(sampled)
    }

    /// Samples the parked groups whose masks have come; false if nobody listens any more.
    fn sample_parked(&mut self) -> Result<bool, StageError> {
        while let Some(Parked { microbatch, sampling, kept, since }) = self.parking.take_ready() {
            let _span = trace_span!("sampler.sample", microbatch = microbatch.0).entered();
            let filled = self.parking.take_filled(microbatch);
            let masks = self.parking.masks(microbatch);
            let sampled = self.rows.sample_kept(&sampling, kept?, masks)?;
            self.parking.forget(microbatch);
            let awaited = Some(self.config.clock.since(since));
            let mask_times = MaskTimes { awaited, filled };
            if !self.send(microbatch, sampled, (Vec::new(), mask_times))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends tokens, of which a GPU has written no more than was read.
    fn send(
        &mut self,
        microbatch: MicrobatchId,
        SampledGroups { groups, downloaded }: SampledGroups,
        (times, mask_times): (Vec<Option<StageTimes>>, MaskTimes),
    ) -> Result<bool, StageError> {
        if downloaded.is_some() {
            // Reading the tokens has waited for all that they are made of.
            let mut proofs = self.proofs.drain(..);
            proofs.try_for_each(|proof| proof.check()).map_err(StageError::Unproven)?;
        }
        let sampled = Sampled { microbatch, groups, times, mask_times };
        let sampled = Placed::new(sampled, self.config.device);
        let size =
            |sampled: &Sampled| downloaded.map_or_else(|| sampled.size(), PayloadSize::plain);
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
