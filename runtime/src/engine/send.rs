//! Batches on their way out: masks begun, orders made and sent.

use std::{sync::Arc, time::Instant};

use sluicegate_core::{
    messages::{MicrobatchOrder, Stamp},
    serve::Batch,
};
use sluicegate_placement::{Endpoint, StageId};
use tracing::{Span, field, trace_span};

use super::{driver::Driver, error::EngineFailure};
use crate::{
    device::{Order, order},
    pipeline::{Interval, Microbatch, PipelineEvent, StageMessage},
};

impl Driver {
    /// Sends a batch: first the masks are begun, then the orders go their way. Where the first stage
    /// is gone nothing is sent until all stages have begun anew: it is ordered again then.
    pub(super) fn send(&mut self, batch: Batch) -> Result<(), Arc<EngineFailure>> {
        if self.is_gone {
            return Ok(());
        }
        let began = Instant::now();
        let note = batch.turn.microbatch.note();
        let is_sent = self.send_batch(batch).map_err(Arc::new)?;
        if !is_sent {
            return self.find_failure();
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.sent(note, Interval::since(began));
        }
        Ok(())
    }

    /// False if the first stage is gone.
    fn send_batch(&mut self, Batch { turn, sampling }: Batch) -> Result<bool, EngineFailure> {
        let id = turn.microbatch.id;
        let span = self.span(&turn.microbatch);
        let _entered = span.clone().entered();
        let rows = sampling.iter().flat_map(|group| &group.rows);
        let stamps: Vec<Option<Stamp>> = rows.map(|row| row.mask.stamp()).collect();
        if stamps.iter().any(Option::is_some) {
            self.masker.fill(id, &stamps);
        }
        let first = Endpoint::Stage(StageId(0));
        for ancestors in turn.ancestors {
            let ancestors = order::ancestors_on_host(ancestors).map_err(EngineFailure::Order)?;
            let ancestors = self.links.carry(&ancestors, Endpoint::Host, first)?;
            if !self.pipeline.send(StageMessage::Ancestors(ancestors)) {
                return Ok(false);
            }
        }
        let order = Order::on_host(turn.microbatch, sampling).map_err(EngineFailure::Order)?;
        let order = self.links.carry(&order, Endpoint::Host, first)?;
        let incarnation = self.pipeline.incarnation();
        let microbatch =
            Microbatch { id, incarnation, order, hidden: None, span, times: Vec::new() };
        Ok(self.pipeline.send(StageMessage::Microbatch(microbatch)))
    }

    /// A microbatch's span, which follows from those of the requests whose rows it carries.
    fn span(&self, microbatch: &MicrobatchOrder) -> Span {
        let span = trace_span!("scheduler.step", microbatch = field::Empty, tokens = field::Empty);
        if !span.is_disabled() {
            span.record("microbatch", microbatch.id.0);
            span.record("tokens", microbatch.num_tokens());
            let requests = self.serve.requests_in(microbatch);
            for caller in requests.iter().filter_map(|request| self.callers.get(request)) {
                span.follows_from(&caller.span);
            }
        }
        span
    }

    /// Finds out why the first stage takes no more orders.
    fn find_failure(&mut self) -> Result<(), Arc<EngineFailure>> {
        self.is_gone = true;
        let events = self.pipeline.events().clone();
        for event in events.try_iter() {
            match event {
                PipelineEvent::StageFailed(failure) => {
                    self.stage_failed(failure);
                    return Ok(());
                }
                event => self.take(event)?,
            }
        }
        Err(Arc::new(EngineFailure::Disconnected))
    }
}
