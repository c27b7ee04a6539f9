//! Batches on their way out: masks are begun, then the batch is sent.

use std::sync::Arc;

use sluicegate_core::messages::{Batch, StageBatch, Stamp};
use tracing::{Span, field, trace_span};

use super::{driver::Driver, error::EngineFailure};
use crate::{
    device::payload::through_encoding,
    pipeline::{Microbatch, PipelineEvent},
};

impl Driver {
    /// Sends a batch to the first stage, and begins its masks before. Where that stage is gone
    /// nothing is sent until all stages have begun anew: it is ordered again then.
    pub(super) fn send(&mut self, batch: Batch) -> Result<(), Arc<EngineFailure>> {
        if self.is_gone {
            return Ok(());
        }
        let began = self.clock.now();
        let note = batch.note();
        if !self.send_batch(batch) {
            return self.find_failure();
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.sent(note, self.clock.since(began));
        }
        Ok(())
    }

    /// False if the first stage is gone.
    fn send_batch(&mut self, batch: Batch) -> bool {
        let span = self.span(&batch);
        let _entered = span.clone().entered();
        let rows = batch.sampling.iter().flat_map(|group| &group.rows);
        let stamps: Vec<Option<Stamp>> = rows.map(|row| row.mask.stamp()).collect();
        if stamps.iter().any(Option::is_some) {
            self.masker.fill(batch.microbatch, &stamps);
        }
        let incarnation = self.pipeline.incarnation();
        let batch = StageBatch { incarnation, batch: Arc::new(batch), times: Vec::new() };
        self.pipeline.send(Microbatch {
            batch: through_encoding(batch),
            hidden: None,
            proofs: Vec::new(),
            span,
        })
    }

    /// A microbatch's span, which follows from those of the requests whose rows it carries.
    fn span(&self, batch: &Batch) -> Span {
        let span = trace_span!("scheduler.step", microbatch = field::Empty, tokens = field::Empty);
        if !span.is_disabled() {
            span.record("microbatch", batch.microbatch.0);
            span.record("tokens", batch.num_tokens());
            let requests = self.serve.requests_in(batch);
            for caller in requests.iter().filter_map(|request| self.callers.get(request)) {
                span.follows_from(&caller.span);
            }
        }
        span
    }

    /// Finds out why the first stage takes no more batches.
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
