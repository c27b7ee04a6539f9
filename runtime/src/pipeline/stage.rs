//! One stage: its layers, its pages, and the loop that executes batches.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use sluicegate_core::messages::{MicrobatchId, StageBatch};
use sluicegate_model::{
    shard::{Shard, ShardOutput},
    step::{Hidden, Step},
};
use sluicegate_placement::StageId;
use sluicegate_spec::{device::DeviceId, placed::Placed, units::LayerRange};
use tracing::{Span, trace_span};

use super::{
    error::StageError,
    last_stage::LastStage,
    message::{Microbatch, PipelineEvent},
    stopwatch::Stopwatch,
};
use crate::device::{
    InTransit, Proof, ReceivingEnd, SendingEnd, Uploader, payload::through_encoding, timer::Mark,
};

/// What a stage is besides its shard.
#[derive(Debug, Clone)]
pub(super) struct StageInfo {
    pub(super) id: StageId,
    pub(super) device: DeviceId,
    pub(super) layers: LayerRange,
    pub(super) incarnation: u32,
}

/// Where a stage's input comes from.
pub(super) struct Inlet {
    pub(super) inbox: Receiver<Microbatch>,
    /// For what came in band.
    pub(super) uploader: Uploader,
    /// For hidden values of the stage before.
    pub(super) hidden: ReceivingEnd,
}

/// Where a stage's output goes.
pub(super) enum Outlet {
    Next { stage: Sender<Microbatch>, hidden: SendingEnd },
    Last(Box<LastStage>),
}

/// How often a stage without work looks how far its device has come.
const LOOK: Duration = Duration::from_millis(20);

/// Called with the stage and the microbatch that it is about to compute.
pub type BeforeForward = Arc<dyn Fn(StageId, MicrobatchId) + Send + Sync>;

/// A stage at work.
pub(super) struct Stage {
    pub(super) info: StageInfo,
    pub(super) shard: Shard,
    pub(super) inlet: Inlet,
    pub(super) outlet: Outlet,
    pub(super) stopwatch: Stopwatch,
    pub(super) events: Sender<PipelineEvent>,
    pub(super) before_forward: Option<BeforeForward>,
    /// What it is computing, for those who ask why it failed.
    pub(super) microbatch: Option<MicrobatchId>,
}

impl Stage {
    /// Executes batches until the inbox closes, or the next stage is gone.
    pub(super) fn run(&mut self) -> Result<(), StageError> {
        while let Some(microbatch) = self.next_microbatch()? {
            if !self.execute(microbatch)? {
                break;
            }
        }
        Ok(())
    }

    fn next_microbatch(&mut self) -> Result<Option<Microbatch>, StageError> {
        match &mut self.outlet {
            Outlet::Next { .. } => Ok(self.next_of_inbox()),
            Outlet::Last(last) => last.next(&self.inlet.inbox),
        }
    }

    /// Where nothing comes, it looks now and then for what its device has done meanwhile.
    fn next_of_inbox(&mut self) -> Option<Microbatch> {
        while self.stopwatch.has_unknown() {
            match self.inlet.inbox.recv_timeout(LOOK) {
                Err(RecvTimeoutError::Timeout) => self.tell_late_times(),
                received => return received.ok(),
            }
        }
        self.inlet.inbox.recv().ok()
    }

    /// Executes a batch: its reorders, then its rows. False if nobody takes the output.
    fn execute(&mut self, microbatch: Microbatch) -> Result<bool, StageError> {
        let Microbatch { batch, hidden, proofs, span } = microbatch;
        let _entered = span.enter();
        self.microbatch = Some(batch.batch.microbatch);
        let (wanted, found) = (self.info.incarnation, batch.incarnation);
        if wanted != found {
            return Err(StageError::Incarnation { wanted, found });
        }
        let hidden = hidden.map(|hidden| self.inlet.hidden.receive(hidden)).transpose()?;
        // Marked once the input is there: a GPU that waits for another is not at work yet.
        let started = self.stopwatch.mark();
        for ancestors in &batch.batch.ancestors {
            self.shard.reorder(&self.inlet.uploader.upload(ancestors)?)?;
        }
        if let Some(before_forward) = &self.before_forward {
            before_forward(self.info.id, batch.batch.microbatch);
        }
        let step: Placed<Step> = self.inlet.uploader.upload(&batch.batch.rows[..])?;
        let id = batch.batch.microbatch.0;
        let output = trace_span!("stage.forward", stage = self.info.id.0, microbatch = id)
            .in_scope(|| self.shard.forward(step.part(|step| step), hidden))?;
        let goes_on = self.hand_on((batch, proofs), output, span.clone(), started)?;
        self.tell_late_times();
        self.microbatch = None;
        Ok(goes_on)
    }

    fn hand_on(
        &mut self,
        (mut batch, mut proofs): (StageBatch, Vec<Proof>),
        output: ShardOutput,
        span: Span,
        started: Mark,
    ) -> Result<bool, StageError> {
        let computed = self.stopwatch.mark();
        let id = batch.batch.microbatch;
        match (output, &mut self.outlet) {
            (ShardOutput::Hidden(hidden), Outlet::Next { stage, hidden: link }) => {
                let hidden: InTransit<Hidden> = link.send(&hidden)?;
                proofs.extend(hidden.proof());
                let hidden = Some(hidden);
                batch.times.push(self.stopwatch.handed_on(id, started, computed));
                let batch = through_encoding(batch);
                Ok(stage.send(Microbatch { batch, hidden, proofs, span }).is_ok())
            }
            (ShardOutput::Logits(logits), Outlet::Last(last)) => {
                last.read(logits.as_ref())?;
                if logits.is_some() {
                    // Reading them has waited for all of it.
                    proofs.iter().try_for_each(Proof::check).map_err(StageError::Unproven)?;
                }
                batch.times.push(self.stopwatch.handed_on(id, started, computed));
                last.sample(batch)
            }
            _ => Err(StageError::NoLogits),
        }
    }

    /// Tells the engine the times of microbatches that the device was still at work on when they
    /// were handed on.
    fn tell_late_times(&mut self) {
        let stage = self.info.id;
        for (microbatch, times) in self.stopwatch.known_now() {
            // An engine that is gone needs none.
            let _ = self.events.send(PipelineEvent::Timed { stage, microbatch, times });
        }
    }
}
