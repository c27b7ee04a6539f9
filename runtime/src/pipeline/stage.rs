//! One stage: its layers, its pages, and the loop that executes batches.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, after, never, select};
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
    // Links end before the device gives anything back, be it pinned memory, which may wait for what
    // hangs on them.
    pub(super) inlet: Inlet,
    pub(super) outlet: Outlet,
    /// For what came in band.
    pub(super) uploader: Uploader,
    pub(super) shard: Shard,
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

    /// Where nothing comes, it looks now and then for what its device has done meanwhile, and whether
    /// the link to the next stage still works.
    fn next_microbatch(&mut self) -> Result<Option<Microbatch>, StageError> {
        let Self { info, inlet, outlet, stopwatch, events, .. } = self;
        let mut look = || {
            tell_late_times(stopwatch, info.id, events);
            if stopwatch.has_unknown() { after(LOOK) } else { never() }
        };
        match outlet {
            Outlet::Next { hidden, .. } => loop {
                let is_under_way = hidden.watch()?;
                let late = look();
                let again = if is_under_way { after(LOOK) } else { late };
                select! {
                    recv(inlet.inbox) -> microbatch => return Ok(microbatch.ok()),
                    recv(again) -> _ => {}
                }
            },
            Outlet::Last(last) => last.next(&inlet.inbox, look),
        }
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
            self.shard.reorder(&self.uploader.upload(ancestors)?)?;
        }
        if let Some(before_forward) = &self.before_forward {
            before_forward(self.info.id, batch.batch.microbatch);
        }
        let step: Placed<Step> = self.uploader.upload(&batch.batch.rows[..])?;
        let id = batch.batch.microbatch.0;
        let output = trace_span!("stage.forward", stage = self.info.id.0, microbatch = id)
            .in_scope(|| self.shard.forward(step.part(|step| step), hidden))?;
        let goes_on = self.hand_on((batch, proofs), output, span.clone(), started)?;
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
                last.take(logits.as_ref(), self.shard.executor(), proofs)?;
                last.sample(batch, || self.stopwatch.handed_on(id, started, computed))
            }
            _ => Err(StageError::NoLogits),
        }
    }
}

/// Tells the engine the times of microbatches that the device was still at work on when they were
/// handed on.
fn tell_late_times(stopwatch: &mut Stopwatch, stage: StageId, events: &Sender<PipelineEvent>) {
    for (microbatch, times) in stopwatch.known_now() {
        // An engine that is gone needs none.
        let _ = events.send(PipelineEvent::Timed { stage, microbatch, times });
    }
}
