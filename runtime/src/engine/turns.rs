//! Turns on their way out: masks begun, orders made and sent.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Instant};

use sluicegate_core::scheduler::{MicrobatchOrder, Turn};
use sluicegate_placement::{Endpoint, StageId};
use tracing::{Span, field, trace_span};

use super::{core::Core, error::EngineFailure};
use crate::{
    device::{Order, order},
    pipeline::{Interval, Microbatch, StageMessage},
    request::RequestId,
    sampler::{GroupSampling, MaskRule, Stamp},
};

impl Core {
    /// Sends the scheduler's next turn; false if there is none.
    pub(super) fn take_turn(&mut self) -> Result<bool, EngineFailure> {
        let began = Instant::now();
        let Some((turn, span)) = self.next_turn() else { return Ok(false) };
        let note = turn.microbatch.note();
        if self.send(turn, span)?
            && let Some(recorder) = &mut self.recorder
        {
            recorder.sent(note, Interval::since(began));
        }
        Ok(true)
    }

    /// The scheduler's next turn, and its span, which goes with the microbatch.
    fn next_turn(&mut self) -> Option<(Turn, Span)> {
        let span = trace_span!("scheduler.step", microbatch = field::Empty, tokens = field::Empty);
        let turn = span.in_scope(|| self.scheduler.next_turn())?;
        if !span.is_disabled() {
            self.describe(&span, &turn.microbatch);
        }
        Some((turn, span))
    }

    /// Lets a microbatch's span follow from those of the requests whose rows it carries.
    fn describe(&self, span: &Span, microbatch: &MicrobatchOrder) {
        span.record("microbatch", microbatch.id.0);
        span.record("tokens", microbatch.num_tokens());
        let groups = microbatch.rows.iter().filter_map(|row| self.groups.get(&row.group));
        let requests: BTreeSet<RequestId> = groups.map(|group| group.request).collect();
        for running in requests.iter().filter_map(|request| self.requests.get(request)) {
            span.follows_from(&running.span);
        }
    }

    /// Sends a turn: first the masks are begun, then the orders go their way. False if a stage was
    /// gone and all stages began anew: what was to be sent is then ordered again.
    fn send(&mut self, turn: Turn, span: Span) -> Result<bool, EngineFailure> {
        let _entered = span.clone().entered();
        let id = turn.microbatch.id;
        self.bounds.check(&turn)?;
        self.take_note(&turn.microbatch);
        let sampled = &turn.microbatch.sampled;
        let sampling: Vec<GroupSampling> = sampled
            .iter()
            .filter_map(|sampled| Some(self.groups.get(&sampled.group)?.sampling(sampled)))
            .collect();
        let stamps: Vec<Option<Stamp>> = sampling
            .iter()
            .flat_map(|group| group.rows.iter().map(|row| stamp(row.mask)))
            .collect();
        if stamps.iter().any(Option::is_some) {
            self.masker.fill(id, &stamps);
        }
        let first = Endpoint::Stage(StageId(0));
        for ancestors in turn.ancestors {
            let ancestors = order::ancestors_on_host(ancestors).map_err(EngineFailure::Order)?;
            let ancestors = self.links.carry(&ancestors, Endpoint::Host, first)?;
            if !self.send_message(StageMessage::Ancestors(ancestors))? {
                return Ok(false);
            }
        }
        let order = Order::on_host(turn.microbatch, sampling).map_err(EngineFailure::Order)?;
        let order = self.links.carry(&order, Endpoint::Host, first)?;
        let incarnation = self.pipeline.incarnation();
        let microbatch =
            Microbatch { id, incarnation, order, hidden: None, span, times: Vec::new() };
        self.send_message(StageMessage::Microbatch(microbatch))
    }

    /// Takes note of what has begun, and of what is measured.
    fn take_note(&mut self, microbatch: &MicrobatchOrder) {
        for row in &microbatch.rows {
            let Some(group) = self.groups.get_mut(&row.group) else { continue };
            if std::mem::take(&mut group.is_waiting) {
                self.board.num_waiting.fetch_sub(1, Ordering::Relaxed);
                if let Some(running) = self.requests.get_mut(&group.request) {
                    running.has_begun = true;
                }
            }
        }
        let num_rows = microbatch.rows.len();
        if microbatch.num_tokens() == num_rows {
            self.sent.insert(microbatch.id, (num_rows, Instant::now()));
        }
    }

    /// False if the first stage was gone and all stages began anew.
    fn send_message(&mut self, message: StageMessage) -> Result<bool, EngineFailure> {
        if self.pipeline.send(message) {
            return Ok(true);
        }
        self.stage_is_gone()?;
        Ok(false)
    }
}

fn stamp(rule: MaskRule) -> Option<Stamp> {
    match rule {
        MaskRule::Free => None,
        MaskRule::Required(stamp) => Some(stamp),
    }
}
