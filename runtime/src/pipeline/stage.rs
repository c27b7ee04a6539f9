//! One stage: its layers, its pages, and the loop that executes orders.

use std::{sync::Arc, time::Instant};

use crossbeam_channel::{Receiver, Sender};
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::{
    placed::Placed,
    shard::{Shard, ShardOutput},
    step::{Ancestors, Hidden},
};
use sluicegate_placement::{Endpoint, StageId};
use sluicegate_spec::{device::DeviceId, units::LayerRange};
use tracing::trace_span;

use super::{
    error::StageError,
    last_stage::LastStage,
    message::{Microbatch, StageMessage, StageTimes},
};
use crate::device::Links;

/// What a stage is besides its shard.
#[derive(Debug, Clone)]
pub(super) struct StageInfo {
    pub(super) id: StageId,
    pub(super) device: DeviceId,
    pub(super) layers: LayerRange,
    pub(super) incarnation: u32,
}

/// Where a stage's output goes.
pub(super) enum Outlet {
    Next(Sender<StageMessage>),
    Last(LastStage),
}

/// Called with the stage and the microbatch that it is about to compute.
pub type BeforeForward = Arc<dyn Fn(StageId, MicrobatchId) + Send + Sync>;

/// A stage at work.
pub(super) struct Stage {
    pub(super) info: StageInfo,
    pub(super) shard: Shard,
    pub(super) links: Arc<Links>,
    pub(super) outlet: Outlet,
    pub(super) before_forward: Option<BeforeForward>,
    /// What it is computing, for those who ask why it failed.
    pub(super) microbatch: Option<MicrobatchId>,
}

impl Stage {
    /// Executes orders until the inbox closes, or the next stage is gone.
    pub(super) fn run(&mut self, inbox: &Receiver<StageMessage>) -> Result<(), StageError> {
        while let Some(message) = self.next_message(inbox)? {
            let goes_on = match message {
                StageMessage::Ancestors(ancestors) => self.reorder(&ancestors)?,
                StageMessage::Microbatch(microbatch) => self.forward(microbatch)?,
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    fn next_message(
        &mut self,
        inbox: &Receiver<StageMessage>,
    ) -> Result<Option<StageMessage>, StageError> {
        match &mut self.outlet {
            Outlet::Next(_) => Ok(inbox.recv().ok()),
            Outlet::Last(last) => last.next(inbox),
        }
    }

    fn reorder(&mut self, ancestors: &Placed<Ancestors>) -> Result<bool, StageError> {
        self.shard.reorder(ancestors)?;
        let Outlet::Next(next) = &self.outlet else { return Ok(true) };
        let ancestors = self.links.carry(ancestors, self.here(), self.next())?;
        Ok(next.send(StageMessage::Ancestors(ancestors)).is_ok())
    }

    fn forward(&mut self, microbatch: Microbatch) -> Result<bool, StageError> {
        let Microbatch { id, incarnation, order, hidden, span, mut times } = microbatch;
        let _entered = span.enter();
        self.microbatch = Some(id);
        if incarnation != self.info.incarnation {
            let wanted = self.info.incarnation;
            return Err(StageError::Incarnation { wanted, found: incarnation });
        }
        let started = Instant::now();
        if let Some(before_forward) = &self.before_forward {
            before_forward(self.info.id, id);
        }
        let output = trace_span!("stage.forward", stage = self.info.id.0, microbatch = id.0)
            .in_scope(|| self.shard.forward(order.part(|order| &order.step), hidden))?;
        let computed = Instant::now();
        let goes_on = match (output, &mut self.outlet) {
            (ShardOutput::Hidden(hidden), Outlet::Next(next)) => {
                let (here, there) = (Endpoint::Stage(self.info.id), next_of(self.info.id));
                let order = self.links.carry(&order, here, there)?;
                let hidden: Option<Placed<Hidden>> = Some(self.links.carry(&hidden, here, there)?);
                let span = span.clone();
                times.push(StageTimes { started, computed, ended: Instant::now() });
                let microbatch = Microbatch { id, incarnation, order, hidden, span, times };
                Ok(next.send(StageMessage::Microbatch(microbatch)).is_ok())
            }
            (ShardOutput::Logits(logits), Outlet::Last(last)) => {
                times.push(StageTimes { started, computed, ended: computed });
                last.sample(id, &order, logits.as_ref(), times)
            }
            _ => Err(StageError::NoLogits),
        };
        self.microbatch = None;
        goes_on
    }

    fn here(&self) -> Endpoint {
        Endpoint::Stage(self.info.id)
    }

    fn next(&self) -> Endpoint {
        next_of(self.info.id)
    }
}

fn next_of(stage: StageId) -> Endpoint {
    Endpoint::Stage(StageId(stage.0 + 1))
}
