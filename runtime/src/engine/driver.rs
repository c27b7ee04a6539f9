//! The engine's thread: tells the serving loop what happens, and does as it says.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, at, never, select};
use sluicegate_constraint::Compiled;
use sluicegate_core::{
    messages::{RequestId, Sampled},
    serve::{Action, Input, Metrics, Serve, Stop},
};
use sluicegate_spec::{
    device::DeviceId,
    placed::{Placed, Site},
};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{Span, info_span};

use super::{
    Command,
    error::{EngineFailure, GenerationError},
    journal::JournalWriter,
    recorder::Recorder,
    stream::Event,
};
use crate::{
    clock::Clock,
    device::{InTransit, Ledger, ReceivingEnd},
    masker::Masker,
    pipeline::{Pipeline, PipelineEvent, StageFailure, panic_message},
};

/// Why the engine stopped, for those who ask later.
pub(crate) type FailureSlot = Mutex<Option<Arc<EngineFailure>>>;

/// What the engine's thread and those who call it both see.
#[derive(Debug, Default)]
pub(super) struct SharedState {
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
pub(super) struct Driver {
    pub(super) masker: Masker,
    pub(super) pipeline: Pipeline,
    pub(super) serve: Serve,
    /// Where the last stage's tokens arrive.
    pub(super) tokens: ReceivingEnd,
    pub(super) ledger: Ledger,
    /// None unless it is wanted.
    pub(super) recorder: Option<Recorder>,
    /// None unless it is wanted.
    pub(super) journal: Option<JournalWriter>,
    pub(super) shared: Arc<SharedState>,
    pub(super) clock: Clock,
    pub(super) callers: HashMap<RequestId, Caller>,
    /// Inputs that actions have led to.
    pub(super) pending: VecDeque<Input>,
    /// The stage failure that came last.
    pub(super) stage_failure: Option<Arc<EngineFailure>>,
    /// Whether the first stage takes no more batches, until the stages begin anew.
    pub(super) is_gone: bool,
}

/// Who waits for a request.
pub(super) struct Caller {
    events: UnboundedSender<Result<Event, GenerationError>>,
    constraint: Option<Box<Compiled>>,
    pub(super) span: Span,
}

/// Why the thread ends.
type Ended = Arc<EngineFailure>;

impl Driver {
    /// Runs until it is shut down or fails; then ends every request that is still running.
    ///
    /// The failure is in its slot before any caller hears of it.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        // A panic is a failure like any other: callers are told, and the process lives.
        let served = catch_unwind(AssertUnwindSafe(|| self.drive(commands)));
        let served = served
            .unwrap_or_else(|panic| Err(Arc::new(EngineFailure::Panicked(panic_message(&*panic)))));
        let failure = served.err();
        if let Some(Err(error)) = self.journal.as_mut().map(JournalWriter::flush) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the journal is not whole");
        }
        let shared = Arc::clone(&self.shared);
        shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&failure);
        // Before callers hear of it, so that whoever does finds how things stand; a loop that has
        // panicked may do so again.
        let last = catch_unwind(AssertUnwindSafe(|| {
            self.serve.end_all();
            self.serve.metrics()
        }));
        if let Ok(metrics) = last {
            *shared.last_metrics.lock().unwrap_or_else(PoisonError::into_inner) = metrics;
        }
        let error = failure.map_or(GenerationError::ShutDown, GenerationError::Engine);
        for (_, caller) in self.callers.drain() {
            // A caller that has gone needs no telling.
            let _ = caller.events.send(Err(error.clone()));
        }
        for command in commands.try_iter() {
            if let Command::Submit { events, .. } = command {
                let _ = events.send(Err(error.clone()));
            }
        }
    }

    fn drive(&mut self, commands: &Receiver<Command>) -> Result<(), Ended> {
        let events = self.pipeline.events().clone();
        loop {
            while let Some(input) = self.pending.pop_front() {
                if self.tell(input)? {
                    return Ok(());
                }
            }
            let wake_at = self.serve.wake_at().and_then(|wake| self.clock.instant(wake));
            let alarm = wake_at.map_or_else(never, at);
            select! {
                recv(commands) -> command => match command {
                    Ok(command) => self.obey_caller(command),
                    Err(_) => return Ok(()),
                },
                recv(events) -> event => match event {
                    Ok(PipelineEvent::Sampled(sampled)) => {
                        if self.sampled(sampled)? {
                            return Ok(());
                        }
                    }
                    Ok(event) => self.take(event)?,
                    Err(_) => return Err(Arc::new(EngineFailure::Disconnected)),
                },
                recv(alarm) -> _ => self.pending.push_back(Input::TimePassed),
            }
        }
    }

    fn obey_caller(&mut self, command: Command) {
        match command {
            Command::Submit { request, admitted, constraint, events } => {
                let span = info_span!(parent: None, "request", request = request.0);
                self.callers.insert(request, Caller { events, constraint, span });
                let admitted = Arc::new(*admitted);
                self.pending.push_back(Input::Submitted { request, admitted });
            }
            Command::Cancel(request) => {
                if self.callers.remove(&request).is_some() {
                    self.pending.push_back(Input::Cancelled(request));
                }
            }
            Command::Metrics(reply) => drop(reply.send(self.serve.metrics())),
            Command::Timeline(reply) => {
                let recorded = self.recorder.as_mut().map(Recorder::take);
                drop(reply.send(recorded.unwrap_or_default()));
            }
            Command::Shutdown { deadline } => {
                let deadline = self.clock.moment(deadline);
                self.pending.push_back(Input::Closing { deadline });
            }
        }
    }

    pub(super) fn take(&mut self, event: PipelineEvent) -> Result<(), Ended> {
        match event {
            // Of an earlier incarnation: computed again, like all that was in flight.
            PipelineEvent::Sampled(_) => {}
            PipelineEvent::Advanced { group, answers } => {
                self.pending.push_back(Input::Advanced { group, answers });
            }
            PipelineEvent::MaskFailed { sequence, error } => {
                self.pending.push_back(Input::MaskFailed { sequence, error });
            }
            PipelineEvent::MasksLost(error) => return Err(Arc::new(EngineFailure::Masks(error))),
            PipelineEvent::Timed { stage, microbatch, times } => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.timed(microbatch, stage, times);
                }
                let (stage, took) = (stage.0, times.duration());
                self.pending.push_back(Input::Timed { microbatch, stage, took });
            }
            PipelineEvent::StageFailed(failure) => self.stage_failed(failure),
        }
        Ok(())
    }

    /// Tells the loop what the last stage found; true if it has ended.
    fn sampled(&mut self, sampled: InTransit<Sampled>) -> Result<bool, Ended> {
        let site =
            Site { operation: "advance", unit: None, with: "sequences", device: DeviceId::Host };
        let began = self.clock.now();
        let sampled: Placed<Sampled> =
            self.tokens.receive(sampled).map_err(|error| Arc::new(error.into()))?;
        let sampled = sampled.take(&site).map_err(|error| Arc::new(error.into()))?;
        let came_back = self.recorder.is_some().then(|| {
            let Sampled { microbatch, times, mask_times, .. } = &sampled;
            (*microbatch, times.clone(), mask_times.clone())
        });
        let actions = self.on(Input::Sampled(sampled));
        // Batches that leave now have times of their own.
        if let (Some(recorder), Some((microbatch, times, masks))) = (&mut self.recorder, came_back)
        {
            recorder.came_back(microbatch, &times, &masks, self.clock.since(began));
        }
        self.obey_all(actions)
    }

    pub(super) fn stage_failed(&mut self, failure: StageFailure) {
        let failure = self.pipeline.examined(failure);
        let (microbatch, may_pass) = (failure.microbatch, failure.may_pass());
        let failure = Arc::new(EngineFailure::Stage(failure));
        tracing::warn!(error = &*failure as &dyn std::error::Error, "a stage failed");
        self.stage_failure = Some(failure);
        self.pending.push_back(Input::StageLost { microbatch, may_pass });
    }

    /// Tells the serving loop of something, and does what it wants done; true if it has ended.
    fn tell(&mut self, input: Input) -> Result<bool, Ended> {
        let actions = self.on(input);
        self.obey_all(actions)
    }

    /// Tells the serving loop of something; returns what it wants done.
    fn on(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        let now = self.clock.now();
        let told = self.journal.is_some().then(|| input.clone());
        self.serve.on(now, input, &mut actions);
        if let Some(told) = told {
            self.record(now, &told, &actions);
        }
        let left = self.serve.take_left_waiting();
        self.shared.num_waiting.fetch_sub(left, Ordering::Relaxed);
        actions
    }

    /// Does what the serving loop wants done; true if it has ended.
    fn obey_all(&mut self, actions: Vec<Action>) -> Result<bool, Ended> {
        for action in actions {
            if self.obey(action)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A journal that cannot be written is given up, and the engine goes on.
    fn record(&mut self, now: Duration, told: &Input, actions: &[Action]) {
        let Some(journal) = &mut self.journal else { return };
        match journal.told(now, told, actions) {
            Ok(false) => {}
            Ok(true) => self.journal = None,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the journal ends here");
                self.journal = None;
            }
        }
    }

    fn obey(&mut self, action: Action) -> Result<bool, Ended> {
        match action {
            Action::Open { request, sequence, max_tokens, jumps_forward } => {
                let caller = self.callers.get(&request);
                if let Some(compiled) = caller.and_then(|caller| caller.constraint.as_deref()) {
                    self.masker.open(sequence, compiled.clone(), max_tokens, jumps_forward);
                }
            }
            Action::Advance { group, continuations } => self.masker.advance(group, continuations),
            Action::Close(sequences) => self.masker.close(&sequences),
            Action::Send(batch) => self.send(batch)?,
            Action::Stepped { jump_forward, vetoed, .. } => {
                self.ledger.count_tokens(jump_forward, vetoed);
            }
            Action::Tell { request, event } => self.hear(request, event),
            Action::Fail { request, error } => {
                let failure = self.stage_failure.as_ref();
                let error = GenerationError::of(error, failure);
                if let Some(caller) = self.callers.remove(&request) {
                    let _ = caller.events.send(Err(error));
                }
            }
            Action::Restart => self.restart()?,
            Action::Stop(Stop::Closed) => return Ok(true),
            Action::Stop(Stop::Bounds(error)) => return Err(Arc::new(error.into())),
            Action::Stop(Stop::StageLost) => {
                let failure = self.stage_failure.take();
                return Err(failure.unwrap_or_else(|| Arc::new(EngineFailure::Disconnected)));
            }
        }
        Ok(false)
    }

    fn restart(&mut self) -> Result<(), Ended> {
        if let Some(recorder) = &mut self.recorder {
            recorder.lose();
        }
        let events = self.pipeline.restart().map_err(|error| Arc::new(error.into()))?;
        self.is_gone = false;
        events.into_iter().try_for_each(|event| self.take(event))?;
        self.pending.push_back(Input::Restarted);
        Ok(())
    }

    /// Hands an event on. A caller that goes away cancels its request by that.
    fn hear(&mut self, request: RequestId, event: Event) {
        let Some(caller) = self.callers.get(&request) else { return };
        let is_last = matches!(event, Event::Finished { .. });
        if let Event::Finished { usage, timings } = &event {
            tracing::info!(
                parent: &caller.span,
                prompt_tokens = usage.prompt_tokens,
                completion_tokens = usage.completion_tokens,
                prefill_ms = timings.prefill.as_millis(),
                decode_ms = timings.decode.as_millis(),
                "request finished"
            );
        }
        let _ = caller.events.send(Ok(event));
        if is_last {
            self.callers.remove(&request);
        }
    }
}
