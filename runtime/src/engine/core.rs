//! The engine's thread: events in, the scheduler's turns out.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use crossbeam_channel::{Receiver, at, never, select};
use sluicegate_core::{
    scheduler::{Depth, GroupId, MicrobatchId, OrderBounds, Scheduler},
    timeline::Timeline,
};
use sluicegate_model::tokenizer::Tokenizer;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    Command,
    admission::AdmittedRequest,
    error::{EngineFailure, GenerationError},
    groups::RunningGroup,
    limits::{EngineLimits, Restarts},
    metrics::{Metrics, Tally},
    outputs::RunningRequest,
    recorder::Recorder,
};
use crate::{
    device::Links,
    masker::{Masker, RowFailure},
    pipeline::{Pipeline, PipelineEvent, panic_message},
    request::RequestId,
    stream::Event,
};

/// Why the engine stopped, for those who ask later.
pub(crate) type FailureSlot = Mutex<Option<Arc<EngineFailure>>>;

/// What the engine's thread and those who call it both see.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) failure: Arc<FailureSlot>,
    /// Prompts that wait for pages.
    pub(super) num_waiting: AtomicUsize,
    /// Whether no more requests are taken.
    pub(super) is_closing: AtomicBool,
    /// How things stood when the thread ended.
    pub(super) last_metrics: Mutex<Metrics>,
}

/// Everything that the engine's thread owns. The masker goes before the pipeline, so that a last
/// stage that waits for masks is let go.
pub(super) struct Core {
    pub(super) masker: Masker,
    pub(super) pipeline: Pipeline,
    pub(super) scheduler: Scheduler,
    pub(super) bounds: OrderBounds,
    pub(super) depth: Depth,
    pub(super) links: Arc<Links>,
    pub(super) tokenizer: Tokenizer,
    pub(super) limits: EngineLimits,
    pub(super) restarts: Restarts,
    pub(super) tally: Tally,
    /// None unless it is wanted.
    pub(super) recorder: Option<Recorder>,
    pub(super) board: Arc<Board>,
    pub(super) requests: BTreeMap<RequestId, RunningRequest>,
    pub(super) groups: HashMap<GroupId, RunningGroup>,
    /// Why a group's mask could not be computed, until its row fails at the last stage.
    pub(super) mask_failures: HashMap<GroupId, RowFailure>,
    /// Decoding microbatches in flight: how many rows, and since when.
    pub(super) sent: BTreeMap<MicrobatchId, (usize, Instant)>,
    /// Until when running requests may go on, once no others are taken.
    pub(super) closing: Option<Instant>,
}

impl Core {
    /// Runs until it is shut down or fails; then ends every request that is still running.
    ///
    /// The failure is in its slot before any caller hears of it.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        // A panic is a failure like any other: callers are told, and the process lives.
        let served = catch_unwind(AssertUnwindSafe(|| self.serve(commands)));
        let served =
            served.unwrap_or_else(|panic| Err(EngineFailure::Panicked(panic_message(&*panic))));
        let failure = served.err().map(Arc::new);
        let board = Arc::clone(&self.board);
        board.failure.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&failure);
        let error = failure.map_or(GenerationError::ShutDown, GenerationError::Engine);
        let running: Vec<RequestId> = self.requests.keys().copied().collect();
        for request in running {
            self.fail(request, error.clone());
        }
        *board.last_metrics.lock().unwrap_or_else(PoisonError::into_inner) = self.metrics();
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
            while self.take_turn()? {}
            if self.closing.is_some() && self.requests.is_empty() {
                return Ok(());
            }
            let alarm = self.next_alarm().map_or_else(never, at);
            select! {
                recv(commands) -> command => match command {
                    Ok(Command::Submit { request, admitted, events }) => self.submit(request, *admitted, events),
                    Ok(Command::Cancel(request)) => self.cancel(request),
                    Ok(Command::Metrics(reply)) => drop(reply.send(self.metrics())),
                    Ok(Command::Timeline(reply)) => drop(reply.send(self.timeline())),
                    Ok(Command::Shutdown { deadline }) => self.closing = Some(deadline),
                    Err(_) => return Ok(()),
                },
                recv(events) -> event => match event {
                    Ok(event) => self.take(event)?,
                    Err(_) => return Err(EngineFailure::Disconnected),
                },
                recv(alarm) -> now => {
                    let now = now.unwrap_or_else(|_| Instant::now());
                    if self.closing.is_some_and(|deadline| deadline <= now) {
                        return Ok(());
                    }
                    self.end_waits(now);
                },
            }
        }
    }

    pub(super) fn take(&mut self, event: PipelineEvent) -> Result<(), EngineFailure> {
        match event {
            PipelineEvent::Sampled(sampled) => self.sampled(sampled),
            PipelineEvent::MaskFailed { group, failure } => {
                if self.groups.contains_key(&group) {
                    self.mask_failures.entry(group).or_insert(failure);
                }
                Ok(())
            }
            PipelineEvent::MaskerFailed(failure) => Err(failure.into()),
            PipelineEvent::StageFailed(failure) => self.recover(failure),
        }
    }

    fn submit(
        &mut self,
        request: RequestId,
        admitted: AdmittedRequest,
        events: UnboundedSender<Result<Event, GenerationError>>,
    ) {
        if self.closing.is_some() {
            self.board.num_waiting.fetch_sub(admitted.prompts.len(), Ordering::Relaxed);
            let _ = events.send(Err(GenerationError::ShutDown));
            return;
        }
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

    pub(super) fn cancel(&mut self, request: RequestId) {
        if let Some(request) = self.requests.remove(&request) {
            self.tally.cancelled += 1;
            for group in &request.groups {
                self.drop_group(*group);
            }
        }
    }

    /// Ends a request with an error.
    pub(super) fn fail(&mut self, request: RequestId, error: GenerationError) {
        if let Some(request) = self.requests.remove(&request) {
            self.tally.failed += 1;
            for group in &request.groups {
                self.drop_group(*group);
            }
            request.fail(error);
        }
    }

    pub(super) fn drop_group(&mut self, group_id: GroupId) {
        if self.groups.remove(&group_id).is_some_and(|group| group.is_waiting) {
            self.board.num_waiting.fetch_sub(1, Ordering::Relaxed);
        }
        self.mask_failures.remove(&group_id);
        self.scheduler.remove(group_id);
        self.masker.close(group_id);
    }

    fn timeline(&mut self) -> Timeline {
        self.recorder.as_mut().map(Recorder::take).unwrap_or_default()
    }

    /// When something has to be done that no event tells of.
    fn next_alarm(&self) -> Option<Instant> {
        let first_waiting = || self.requests.values().find(|request| !request.has_begun);
        let end_of_wait = self.limits.max_wait.and_then(|limit| {
            first_waiting().and_then(|request| request.submitted.checked_add(limit))
        });
        [self.closing, end_of_wait].into_iter().flatten().min()
    }

    /// Ends the requests that have waited too long for their first prompt to begin.
    fn end_waits(&mut self, now: Instant) {
        let Some(limit) = self.limits.max_wait else { return };
        let is_late = |request: &RunningRequest| {
            !request.has_begun && now.duration_since(request.submitted) >= limit
        };
        let late = self.requests.iter().filter(|(_, request)| is_late(request));
        let late: Vec<RequestId> = late.map(|(id, _)| *id).collect();
        for request in late {
            self.fail(request, GenerationError::WaitedTooLong { limit });
        }
    }
}
