//! The engine's thread: events in, the scheduler's turns out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use crossbeam_channel::{Receiver, select};
use sluicegate_model::{
    placed::{DeviceId, Placed, Site},
    tokenizer::Tokenizer,
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Span, field, trace_span};

use super::{
    Command,
    admission::AdmittedRequest,
    error::{EngineFailure, GenerationError},
    groups::{Advance, RunningGroup},
    outputs::RunningRequest,
    step::StepOutcome,
};
use crate::{
    device::{Links, Order, Sampled, order},
    masker::{Masker, RowFailure},
    pipeline::{Microbatch, Pipeline, PipelineEvent, StageMessage, panic_message},
    placement::{Endpoint, StageId},
    request::RequestId,
    sampler::{Choice, GroupChoices, GroupSampling, MaskError, MaskRule, RowError, Stamp},
    scheduler::{GroupId, MicrobatchOrder, Scheduler, Turn},
    stream::Event,
};

/// Why the engine stopped, for those who ask later.
pub(crate) type FailureSlot = Mutex<Option<Arc<EngineFailure>>>;

/// Everything that the engine's thread owns. The masker goes before the pipeline, so that a last
/// stage that waits for masks is let go.
pub(super) struct Core {
    pub(super) masker: Masker,
    pub(super) pipeline: Pipeline,
    pub(super) scheduler: Scheduler,
    pub(super) links: Arc<Links>,
    pub(super) tokenizer: Tokenizer,
    pub(super) incarnation: u32,
    pub(super) requests: BTreeMap<RequestId, RunningRequest>,
    pub(super) groups: HashMap<GroupId, RunningGroup>,
    /// Why a group's mask could not be computed, until its row fails at the last stage.
    pub(super) mask_failures: HashMap<GroupId, RowFailure>,
}

impl Core {
    /// Runs until it is shut down or fails; then ends every request that is still running.
    ///
    /// The failure is in its slot before any caller hears of it.
    pub(super) fn run(mut self, commands: &Receiver<Command>, slot: &FailureSlot) {
        // A panic is a failure like any other: callers are told, and the process lives.
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(commands)));
        let served =
            served.unwrap_or_else(|panic| Err(EngineFailure::Panicked(panic_message(&*panic))));
        let failure = served.err().map(Arc::new);
        slot.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&failure);
        let error = failure.map_or(GenerationError::ShutDown, GenerationError::Engine);
        for (_, request) in std::mem::take(&mut self.requests) {
            request.fail(error.clone());
        }
        for command in commands.try_iter() {
            if let Command::Submit { events, .. } = command {
                // A caller that has gone needs no telling.
                let _ = events.send(Err(error.clone()));
            }
        }
    }

    fn serve(&mut self, commands: &Receiver<Command>) -> Result<(), EngineFailure> {
        let events = self.pipeline.events().clone();
        loop {
            while let Some((turn, span)) = self.next_turn() {
                self.send(turn, span)?;
            }
            select! {
                recv(commands) -> command => match command {
                    Ok(Command::Submit { request, admitted, events }) => self.submit(request, *admitted, events),
                    Ok(Command::Cancel(request)) => self.cancel(request),
                    Ok(Command::Shutdown) | Err(_) => return Ok(()),
                },
                recv(events) -> event => match event {
                    Ok(PipelineEvent::Sampled(sampled)) => self.sampled(sampled)?,
                    Ok(PipelineEvent::MaskFailed { group, failure }) => {
                        if self.groups.contains_key(&group) {
                            self.mask_failures.entry(group).or_insert(failure);
                        }
                    }
                    Ok(PipelineEvent::MaskerFailed(failure)) => return Err(failure.into()),
                    Ok(PipelineEvent::StageFailed(failure)) => return Err(failure.into()),
                    Err(_) => return Err(EngineFailure::Disconnected),
                },
            }
        }
    }

    fn submit(
        &mut self,
        request: RequestId,
        admitted: AdmittedRequest,
        events: UnboundedSender<Result<Event, GenerationError>>,
    ) {
        let admitted = Arc::new(admitted);
        let mut group_ids = Vec::with_capacity(admitted.prompts.len());
        for prompt in 0..admitted.prompts.len() {
            let group_id = self.scheduler.submit(admitted.job(prompt));
            let group = RunningGroup::new(request, prompt, Arc::clone(&admitted), &self.tokenizer);
            if let Some(compiled) = &admitted.constraint {
                let (max_tokens, takes_forced) = (admitted.max_tokens, !group.is_beam_search());
                self.masker.open(group_id, compiled.clone(), max_tokens, takes_forced);
            }
            self.groups.insert(group_id, group);
            group_ids.push(group_id);
        }
        let running = RunningRequest::new(request, &admitted, group_ids, events);
        self.requests.insert(request, running);
    }

    fn cancel(&mut self, request: RequestId) {
        if let Some(request) = self.requests.remove(&request) {
            for group in request.groups {
                self.drop_group(group);
            }
        }
    }

    fn drop_group(&mut self, group: GroupId) {
        self.groups.remove(&group);
        self.mask_failures.remove(&group);
        self.scheduler.remove(group);
        self.masker.close(group);
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

    /// Sends a turn: first the masks are begun, then the orders go their way.
    fn send(&mut self, turn: Turn, span: Span) -> Result<(), EngineFailure> {
        let _entered = span.clone().entered();
        let id = turn.microbatch.id;
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
            self.send_message(StageMessage::Ancestors(ancestors))?;
        }
        let order = Order::on_host(turn.microbatch, sampling).map_err(EngineFailure::Order)?;
        let order = self.links.carry(&order, Endpoint::Host, first)?;
        let microbatch =
            Microbatch { id, incarnation: self.incarnation, order, hidden: None, span };
        self.send_message(StageMessage::Microbatch(microbatch))
    }

    /// Mask workers that are gone have said why.
    fn masker_failure(&self) -> EngineFailure {
        let mut events = self.pipeline.events().try_iter();
        let failure = events.find_map(|event| match event {
            PipelineEvent::MaskerFailed(failure) => Some(failure),
            _ => None,
        });
        failure.map_or(EngineFailure::Disconnected, EngineFailure::from)
    }

    /// A stage that is gone has said why, or will: that is the better error.
    fn send_message(&mut self, message: StageMessage) -> Result<(), EngineFailure> {
        if self.pipeline.send(message) {
            return Ok(());
        }
        for event in self.pipeline.events().try_iter() {
            if let PipelineEvent::StageFailed(failure) = event {
                return Err(failure.into());
            }
        }
        Err(EngineFailure::Disconnected)
    }

    fn sampled(&mut self, sampled: Placed<Sampled>) -> Result<(), EngineFailure> {
        let site =
            Site { operation: "advance", unit: None, with: "sequences", device: DeviceId::Host };
        let Sampled { microbatch, groups, mask_exposed, .. } = sampled.take(&site)?;
        self.scheduler.retire(microbatch);
        let request_of = |group: &GroupChoices| Some(self.groups.get(&group.group)?.request);
        let requests: BTreeSet<RequestId> = groups.iter().filter_map(request_of).collect();
        for request in requests {
            if let Some(running) = self.requests.get_mut(&request) {
                running.add_mask_exposed(mask_exposed);
            }
        }
        for GroupChoices { group, choices } in groups {
            // A cancelled group's tokens are nobody's.
            let Some(request) = self.groups.get(&group).map(|group| group.request) else {
                continue;
            };
            let advanced = match choices {
                Ok(choices) => self.advance(group, &choices)?,
                Err(error) => Err(self.row_failure(group, error)),
            };
            if let Err(error) = advanced
                && let Some(running) = self.requests.remove(&request)
            {
                running.groups.iter().for_each(|group| self.drop_group(*group));
                running.fail(error);
            }
        }
        Ok(())
    }

    fn advance(
        &mut self,
        group_id: GroupId,
        choices: &[Choice],
    ) -> Result<Result<(), GenerationError>, EngineFailure> {
        let Some(group) = self.groups.get_mut(&group_id) else { return Ok(Ok(())) };
        let is_first = group.is_first_step();
        let request = group.request;
        let mut masker_is_gone = false;
        let masker = &self.masker;
        let advance: &mut Advance<'_> = &mut |choices| {
            masker.advance(group_id, choices).ok_or_else(|| {
                masker_is_gone = true;
                GenerationError::ShutDown
            })
        };
        let outcome = group.take(choices, advance);
        if masker_is_gone {
            return Err(self.masker_failure());
        }
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error)),
        };
        let has_ended = outcome.children.is_empty();
        if has_ended {
            self.drop_group(group_id);
        } else if group.is_to_split() {
            self.split(group_id, &outcome);
        } else {
            if group.admitted.constraint.is_some() {
                self.masker.keep(group_id, outcome.kept_matchers.clone());
            }
            self.scheduler.advance(group_id, &outcome.children);
        }
        let Some(running) = self.requests.get_mut(&request) else { return Ok(Ok(())) };
        self.links.ledger().count_tokens(outcome.num_forced, outcome.num_vetoed);
        running.count(&outcome, is_first);
        let is_heard = running.send(outcome);
        if has_ended {
            running.groups.retain(|group| *group != group_id);
        }
        if !is_heard {
            self.cancel(request);
        } else if running.groups.is_empty()
            && let Some(running) = self.requests.remove(&request)
        {
            running.finish();
        }
        Ok(Ok(()))
    }

    /// Lets each of a group's samples go on as a group of its own.
    fn split(&mut self, group_id: GroupId, outcome: &StepOutcome) {
        let Some(group) = self.groups.remove(&group_id) else { return };
        let children = self.scheduler.fork(group_id, &outcome.children);
        let matchers = children.iter().copied().zip(outcome.kept_matchers.iter().copied());
        self.masker.fork(group_id, matchers.collect());
        if let Some(running) = self.requests.get_mut(&group.request) {
            running.replace(group_id, &children);
        }
        self.groups.extend(children.into_iter().zip(group.split()));
    }

    /// A mask that is missing because its matcher failed is reported as that.
    fn row_failure(&mut self, group: GroupId, error: RowError) -> GenerationError {
        let prompt = self.groups.get(&group).map_or(0, |group| group.prompt);
        match (self.mask_failures.remove(&group), &error) {
            (Some(failure), RowError::Mask(MaskError::Missing { .. })) => {
                GenerationError::of_matcher(prompt, failure)
            }
            _ => GenerationError::Row { prompt, source: error },
        }
    }
}

fn stamp(rule: MaskRule) -> Option<Stamp> {
    match rule {
        MaskRule::Free => None,
        MaskRule::Required(stamp) => Some(stamp),
    }
}
