//! What only the last stage does: check masks, sample, and send tokens back.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, select};
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
    message::{Interval, MaskTimes, PipelineEvent, StageMessage, StageTimes},
};
use crate::{
    device::{Links, LogitRows, Masks, Order, Sampled},
    sampler::{GroupChoices, GroupSampling, MaskRule, Sampler},
};

/// The last stage's end: logits in, tokens out.
pub(super) struct LastStage {
    stage: StageId,
    device: DeviceId,
    sampler: Sampler,
    logits: LogitRows,
    links: Arc<Links>,
    masks: Receiver<Placed<Masks>>,
    /// Masks that have come, of microbatches that were not sampled, or not all of them.
    received: BTreeMap<MicrobatchId, Masks>,
    /// Groups whose masks are late, with their logits: no other row waits for them.
    parked: VecDeque<Parked>,
    events: Sender<PipelineEvent>,
}

/// A group that waits for a mask.
pub(super) struct Parked {
    microbatch: MicrobatchId,
    sampling: GroupSampling,
    /// A copy of its rows.
    logits: Vec<Vec<f32>>,
    since: Instant,
}

impl LastStage {
    /// The end of a stage on `device`, which gets its masks from one channel and sends tokens to the
    /// other.
    pub(super) fn new(
        (stage, device): (StageId, DeviceId),
        sampler: Sampler,
        links: Arc<Links>,
        masks: Receiver<Placed<Masks>>,
        events: Sender<PipelineEvent>,
    ) -> Self {
        let (received, parked) = (BTreeMap::new(), VecDeque::new());
        let logits = LogitRows::default();
        Self { stage, device, sampler, logits, links, masks, received, parked, events }
    }

    /// The next message of the inbox; meanwhile groups are sampled whose masks were late. None once
    /// the inbox is closed, or nobody listens any more.
    pub(super) fn next(
        &mut self,
        inbox: &Receiver<StageMessage>,
    ) -> Result<Option<StageMessage>, StageError> {
        loop {
            // Their masks may have come with those of another microbatch.
            if !self.sample_parked()? {
                return Ok(None);
            }
            if self.parked.is_empty() {
                return Ok(inbox.recv().ok());
            }
            let masks = self.masks.clone();
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
        id: MicrobatchId,
        order: &Placed<Order>,
        logits: Option<&Placed<Logits>>,
        mut times: Vec<StageTimes>,
    ) -> Result<bool, StageError> {
        self.logits.read(logits, self.device)?;
        let order = order.at(&self.site("sample", "logits"))?;
        let mask_times = self.await_masks(id, order)?;
        let groups = {
            let _span = trace_span!("sampler.sample", microbatch = id.0).entered();
            self.sample_groups(id, order)
        };
        if let Some(last) = times.last_mut() {
            last.ended = Instant::now();
        }
        let logit_bytes = self.logits.copied_bytes;
        self.send(Sampled { microbatch: id, groups, times, mask_times, logit_bytes })
    }

    /// Samples the groups that have all of their masks, and parks the others.
    fn sample_groups(&mut self, id: MicrobatchId, order: &Order) -> Vec<GroupChoices> {
        let masks = self.received.get(&id);
        let mut groups = Vec::with_capacity(order.sampling.len());
        for group in &*order.sampling {
            let mut logits = self.logits.rows(group.logit_rows.clone());
            if masks.is_some_and(|masks| masks.is_late(&group.logit_rows)) {
                self.parked.push_back(Parked {
                    microbatch: id,
                    sampling: group.clone(),
                    logits: logits.iter().map(|row| row.to_vec()).collect(),
                    since: Instant::now(),
                });
            } else {
                let rows = masks.map_or(&[][..], |masks| &masks.rows);
                groups.push(self.sampler.sample(group, &mut logits, rows));
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
            let choices = self.sampler.sample(&parked.sampling, &mut logits, rows);
            self.forget(id);
            let sampled = Sampled {
                microbatch: id,
                groups: vec![choices],
                times: Vec::new(),
                mask_times: MaskTimes { awaited: Some(Interval::since(parked.since)), filled },
                logit_bytes: 0,
            };
            if !self.send(sampled)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn send(&self, sampled: Sampled) -> Result<bool, StageError> {
        let sampled = Placed::new(sampled, self.device);
        let sampled = self.links.carry(&sampled, Endpoint::Stage(self.stage), Endpoint::Host)?;
        Ok(self.events.send(PipelineEvent::Sampled(sampled)).is_ok())
    }

    /// Waits until masks of a microbatch have come, if one of its rows requires one; those that are
    /// late may still be missing.
    ///
    /// Masks of another microbatch never stand in: they are kept for theirs. Where the masks' channel
    /// is closed there are none, and the rows that require them fail.
    fn await_masks(&mut self, id: MicrobatchId, order: &Order) -> Result<MaskTimes, StageError> {
        let mut rows = order.sampling.iter().flat_map(|group| &group.rows);
        if !rows.any(|row| matches!(row.mask, MaskRule::Required(_))) {
            return Ok(MaskTimes::default());
        }
        let from = Instant::now();
        while !self.received.contains_key(&id) {
            let Ok(masks) = self.masks.recv() else { break };
            self.receive(masks)?;
        }
        // What was late may have come meanwhile.
        let masks = self.masks.clone();
        masks.try_iter().try_for_each(|masks| self.receive(masks))?;
        let awaited = Some(Interval::since(from));
        let received = self.received.get_mut(&id);
        let filled = received.map(|masks| std::mem::take(&mut masks.filled)).unwrap_or_default();
        // Of earlier microbatches nothing will be asked for again, but for parked groups.
        self.received.retain(|other, _| {
            *other >= id || self.parked.iter().any(|it| it.microbatch == *other)
        });
        Ok(MaskTimes { awaited, filled })
    }

    fn receive(&mut self, masks: Placed<Masks>) -> Result<(), StageError> {
        let masks = masks.take(&self.site("apply_mask", "logits"))?;
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

    fn site(&self, operation: &'static str, with: &'static str) -> Site {
        Site { operation, unit: Some(Unit::Head), with, device: self.device }
    }
}
