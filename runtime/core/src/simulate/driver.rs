//! The loop: what happens next, and what follows from it.

use std::{rc::Rc, time::Duration};

use sluicegate_placement::RowLoad;

use super::{
    clock::Clock,
    error::SimulationError,
    fault::Fault,
    full::Watch,
    host::Host,
    last_stage::{self, LastStage, Ready},
    matchers::{Answered, Matchers},
    pipeline::{Message, Pipeline, World},
    request::{SimulatedRequest, VOCABULARY},
    run::{EndReason, Run},
    timing::Timing,
    waits::MaskWorkers,
};
use crate::{
    messages::{Batch, GroupId, Masks, RequestId, RowOrder, Sampled},
    scheduler::{OrderBounds, SchedulerConfig},
    serve::{Action, Answer, Input, Journal, Limits, Line, MatcherError, Serve, ServeConfig},
    timeline::{Activity, Lane, Timeline},
};

/// What is simulated.
#[derive(Clone)]
pub struct Setup<'a> {
    pub timing: &'a dyn Timing,
    pub scheduler: SchedulerConfig,
    pub mask_workers: usize,
    pub mask_start: MaskStart,
    /// Whether stages keep shadow pages, so that texts can be compared with those of
    /// [`alone`](super::alone). Without them only time is simulated, and texts mean nothing.
    pub keeps_pages: bool,
    pub faults: &'a [Fault],
}

/// When the mask workers get their work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MaskStart {
    /// As the order leaves, as the engine does it.
    #[default]
    WithOrder,
    /// When the last stage has its logits: nothing overlaps. What tests of overlap must notice.
    AfterCompute,
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    Arrive(usize),
    Cancel(usize),
    /// Hidden values have come over a link.
    Arrived {
        stage: usize,
        message: Message,
    },
    Computed {
        stage: usize,
        incarnation: u32,
    },
    /// Masks reach the last stage.
    Masks(Masks),
    /// The host takes tokens of a microbatch.
    Taken {
        incarnation: u32,
        sampled: Sampled,
    },
    /// The matchers of a group have advanced.
    Answered {
        request: Option<RequestId>,
        group: GroupId,
        answers: Vec<Result<Answer, MatcherError>>,
    },
    /// The serving loop asked for it.
    Wake,
    Lost {
        restart_s: f64,
    },
    Restarted {
        incarnation: u32,
    },
}

/// Runs until every request has ended.
///
/// # Errors
/// [`SimulationError`] if the scheduler breaks a promise.
pub fn simulate(setup: &Setup<'_>, requests: &[SimulatedRequest]) -> Result<Run, SimulationError> {
    Simulation::new(setup, requests).run()
}

/// As [`simulate`], with the journal of the serving loop.
#[cfg(test)]
pub(super) fn recorded(
    setup: &Setup<'_>,
    requests: &[SimulatedRequest],
) -> Result<(Run, Vec<Line>), SimulationError> {
    let mut simulation = Simulation::new(setup, requests);
    let (journal, line) = Journal::begin(simulation.serve.config(), true);
    simulation.journal = Some(journal);
    simulation.lines.push(line);
    while let Some(event) = simulation.world.clock.pop() {
        simulation.handle(event)?;
    }
    let lines = std::mem::take(&mut simulation.lines);
    Ok((simulation.finish()?, lines))
}

/// As [`simulate`], but what happens next is chosen by `next`.
#[cfg(test)]
pub(super) fn interleaved(
    setup: &Setup<'_>,
    requests: &[SimulatedRequest],
    mut next: impl FnMut(&mut Clock<Event>) -> Option<Event>,
) -> Result<Run, SimulationError> {
    let mut simulation = Simulation::new(setup, requests);
    while let Some(event) = next(&mut simulation.world.clock) {
        simulation.handle(event)?;
    }
    simulation.finish()
}

struct Simulation<'a> {
    setup: &'a Setup<'a>,
    devices: Vec<String>,
    world: World,
    serve: Serve,
    host: Host,
    matchers: Matchers,
    /// When the host has done what it was given.
    host_free_s: f64,
    pipeline: Pipeline<'a>,
    last_stage: LastStage,
    masks: MaskWorkers,
    incarnation: u32,
    /// What the next restart takes.
    restart_s: f64,
    /// When the serving loop is woken next.
    wake_at: Option<Duration>,
    watch: Watch,
    max_batches: u64,
    /// None unless it is wanted.
    journal: Option<Journal>,
    lines: Vec<Line>,
}

impl<'a> Simulation<'a> {
    fn new(setup: &'a Setup<'a>, requests: &[SimulatedRequest]) -> Self {
        let mut clock = Clock::new();
        for (index, request) in requests.iter().enumerate() {
            clock.at(request.arrival_s, Event::Arrive(index));
            if let Some(after_s) = request.cancel_after_s {
                clock.at(request.arrival_s + after_s, Event::Cancel(index));
            }
        }
        for fault in setup.faults {
            if let Fault::LostStage { at_s, restart_s } = *fault {
                clock.at(at_s, Event::Lost { restart_s });
            }
        }
        let (devices, incarnation) = (setup.timing.devices(), 1);
        let timeline = Timeline { devices: devices.clone(), ..Timeline::default() };
        Self {
            pipeline: new_pipeline(setup, &devices, incarnation),
            devices,
            world: World { clock, timeline },
            serve: new_serve(setup),
            host: Host::new(requests),
            matchers: Matchers::default(),
            host_free_s: 0.0,
            last_stage: LastStage::default(),
            masks: MaskWorkers::new(setup.mask_workers),
            incarnation,
            restart_s: 0.0,
            wake_at: None,
            watch: Watch::default(),
            max_batches: max_batches(requests, setup.faults.len()),
            journal: None,
            lines: Vec::new(),
            setup,
        }
    }

    fn run(mut self) -> Result<Run, SimulationError> {
        while let Some(event) = self.world.clock.pop() {
            self.handle(event)?;
        }
        self.finish()
    }

    fn handle(&mut self, event: Event) -> Result<(), SimulationError> {
        match event {
            Event::Arrive(request) => self.arrive(request),
            Event::Cancel(request) => self.cancel(request),
            Event::Arrived { stage, message } => {
                if message.incarnation == self.incarnation {
                    self.pipeline.deliver(stage, message, &mut self.world);
                }
                Ok(())
            }
            Event::Computed { stage, incarnation } => {
                if incarnation == self.incarnation
                    && let Some(message) = self.pipeline.computed(stage, &mut self.world)?
                {
                    if self.setup.mask_start == MaskStart::AfterCompute {
                        self.begin_masks(&message.batch);
                    }
                    self.last_stage.computed(message, self.world.clock.now_s());
                }
                self.sample()
            }
            // Those of an earlier incarnation reach the stage, too.
            Event::Masks(masks) => {
                self.last_stage.receive(masks);
                self.sample()
            }
            Event::Taken { incarnation, sampled } if incarnation == self.incarnation => {
                self.tell(Input::Sampled(sampled))?;
                self.note();
                Ok(())
            }
            Event::Answered { request, group, answers } => {
                if let Some(request) = request {
                    self.host.advanced(index(request));
                }
                self.tell(Input::Advanced { group, answers })?;
                self.note();
                Ok(())
            }
            Event::Lost { restart_s } => {
                self.restart_s = restart_s;
                self.tell(Input::StageLost { microbatch: None, may_pass: true })
            }
            Event::Restarted { incarnation } if incarnation == self.incarnation => {
                self.tell(Input::Restarted)
            }
            // Of an earlier incarnation.
            Event::Taken { .. } | Event::Restarted { .. } => Ok(()),
            Event::Wake => {
                self.wake_at = None;
                self.tell(Input::TimePassed)?;
                self.note();
                Ok(())
            }
        }
    }

    /// Takes note of how many run and wait, once all that could be sent was.
    fn note(&mut self) {
        if !self.serve.waits_for_matchers() {
            let (now_s, num_tokens) = (self.world.clock.now_s(), self.host.num_tokens);
            self.watch.note(self.serve.scheduler(), now_s, num_tokens);
        }
    }

    /// Takes a request in, or refuses it.
    fn arrive(&mut self, request: usize) -> Result<(), SimulationError> {
        let admitted = self.host.request(request).admitted();
        let job = admitted.job(0, &VOCABULARY);
        if self.setup.scheduler.check(&job).is_err() {
            return self.host.end(request, EndReason::Refused, self.world.clock.now_s());
        }
        self.host.begin(request);
        let request = RequestId(request as u64);
        self.tell(Input::Submitted { request, admitted: admitted.into() })
    }

    /// Lets a caller go away, at any time.
    fn cancel(&mut self, request: usize) -> Result<(), SimulationError> {
        if !self.host.is_running(request) {
            return Ok(());
        }
        self.host.end(request, EndReason::Cancelled, self.world.clock.now_s())?;
        self.tell(Input::Cancelled(RequestId(request as u64)))
    }

    /// Tells the serving loop what happened, and does as it says.
    fn tell(&mut self, input: Input) -> Result<(), SimulationError> {
        let mut actions = Vec::new();
        let now = Duration::from_secs_f64(self.world.clock.now_s());
        let told = self.journal.is_some().then(|| input.clone());
        self.serve.on(now, input, &mut actions);
        if let (Some(journal), Some(told)) = (&mut self.journal, told) {
            self.lines.extend(journal.told(now, &told, &actions));
        }
        actions.into_iter().try_for_each(|action| self.obey(action))?;
        if let Some(at) = self.serve.wake_at()
            && self.wake_at.is_none_or(|before| at < before)
        {
            self.wake_at = Some(at);
            self.world.clock.at(at.as_secs_f64(), Event::Wake);
        }
        Ok(())
    }

    fn obey(&mut self, action: Action) -> Result<(), SimulationError> {
        let now_s = self.world.clock.now_s();
        match action {
            Action::Open { request, sequence, .. } => {
                self.matchers.open(sequence, self.host.request(index(request)));
            }
            Action::Advance { group, continuations } => {
                let Answered { answers, seconds } = self.matchers.advance(&continuations);
                let request = self.serve.request_of(group);
                if let Some(request) = request {
                    self.host.advance(index(request));
                }
                let answered = Event::Answered { request, group, answers };
                self.world.clock.at(now_s + seconds, answered);
            }
            Action::Close(sequences) => self.matchers.close(&sequences),
            Action::Send(batch) => return self.send(batch),
            Action::Stepped { request, tokens, since, .. } => {
                let since_s = since.map(|since| since.as_secs_f64());
                self.host.stepped(index(request), tokens, since_s, now_s);
            }
            Action::Tell { request, event } => {
                return self.host.told(index(request), event, now_s);
            }
            Action::Fail { request, error } => {
                return self.host.end(index(request), EndReason::Failed(error), now_s);
            }
            Action::Restart => self.lose(),
            Action::Stop(stop) => return Err(SimulationError::Stopped(stop)),
        }
        Ok(())
    }

    fn send(&mut self, batch: Batch) -> Result<(), SimulationError> {
        self.host.sent();
        if self.host.num_batches > self.max_batches {
            return Err(SimulationError::Endless { num_batches: self.host.num_batches });
        }
        let loads: Vec<RowLoad> = batch.rows.iter().map(load).collect();
        self.world.timeline.microbatches.push(batch.note());
        if self.setup.mask_start == MaskStart::WithOrder {
            self.begin_masks(&batch);
        }
        let message = Message {
            incarnation: self.incarnation,
            cost: Rc::new(self.setup.timing.microbatch(&loads)),
            batch: Rc::new(batch),
            values: Vec::new(),
            times: Vec::new(),
        };
        self.pipeline.deliver(0, message, &mut self.world);
        Ok(())
    }

    fn begin_masks(&mut self, batch: &Batch) {
        let costs = (self.setup.timing.mask_s(), self.setup.faults);
        self.masks.begin(batch, costs, &mut self.world);
    }

    /// Lets the last stage sample what it can.
    fn sample(&mut self) -> Result<(), SimulationError> {
        while let Some(ready) = self.last_stage.next(self.world.clock.now_s())? {
            self.leave(ready);
        }
        Ok(())
    }

    /// Tokens go to the host, which takes one message after the other.
    fn leave(&mut self, ready: Ready) {
        let Ready { microbatch, groups, times, mask_times, since_s } = ready;
        let now_s = self.world.clock.now_s();
        if let Some(since_s) = since_s {
            self.awaited_masks(microbatch.0, since_s);
        }
        let groups = groups.iter().filter_map(|(sampling, values)| {
            let request = self.serve.request_of(sampling.group)?;
            Some(last_stage::sample(&self.host.request(index(request)), sampling, values))
        });
        let sampled = Sampled { microbatch, groups: groups.collect(), times, mask_times };
        let start_s = now_s.max(self.host_free_s);
        let end_s = start_s + self.setup.timing.host_s();
        self.host_free_s = end_s;
        self.world.span(Lane::Host, Activity::Host, microbatch.0, (start_s, end_s));
        self.world.clock.at(end_s, Event::Taken { incarnation: self.incarnation, sampled });
        if since_s.is_some() {
            self.pipeline.release(&mut self.world);
        }
    }

    /// Writes down that the last stage has waited for masks until now.
    fn awaited_masks(&mut self, microbatch: u64, since_s: f64) {
        let lane = Lane::Stage(self.pipeline.last_stage());
        let now_s = self.world.clock.now_s();
        self.world.span(lane, Activity::AwaitMask, microbatch, (since_s, now_s));
    }

    /// Whatever was in flight will never come back; events of an earlier incarnation are ignored.
    fn lose(&mut self) {
        let now_s = self.world.clock.now_s();
        if let Some((microbatch, since_s)) = self.last_stage.waiting() {
            self.awaited_masks(microbatch, since_s);
        }
        let spans = &mut self.world.timeline.spans;
        spans.retain(|span| span.start_s < now_s);
        for span in spans {
            span.end_s = span.end_s.min(now_s);
        }
        self.incarnation += 1;
        self.host_free_s = now_s;
        self.masks.restart(now_s);
        self.last_stage = LastStage::default();
        self.pipeline = new_pipeline(self.setup, &self.devices, self.incarnation);
        let incarnation = self.incarnation;
        self.world.clock.at(now_s + self.restart_s, Event::Restarted { incarnation });
    }

    fn finish(self) -> Result<Run, SimulationError> {
        let Host { ends, token_s, num_batches, .. } = self.host;
        if let Some(request) = ends.iter().position(Option::is_none) {
            return Err(SimulationError::Stalled { request });
        }
        let scheduler = self.serve.scheduler();
        if !scheduler.is_idle() {
            return Err(SimulationError::NotIdle);
        }
        if !self.matchers.is_empty() || self.serve.metrics().matchers != 0 {
            return Err(SimulationError::Matchers);
        }
        let (wanted, found) =
            (self.setup.scheduler.pages_per_group.clone(), scheduler.num_free_pages());
        if wanted != found {
            return Err(SimulationError::Leaked { wanted, found });
        }
        Ok(Run {
            ends: ends.into_iter().flatten().collect(),
            timeline: self.world.timeline,
            scheduler: scheduler.stats(),
            num_batches,
            token_s,
            full: self.watch.full(),
            incarnations: self.incarnation,
        })
    }
}

/// A serving loop that never gives up, and takes the depth as it is.
fn new_serve(setup: &Setup<'_>) -> Serve {
    let SchedulerConfig { pages_per_group, .. } = &setup.scheduler;
    Serve::new(ServeConfig {
        scheduler: setup.scheduler.clone(),
        max_depth: None,
        bounds: OrderBounds {
            vocab: usize::MAX,
            max_positions: usize::MAX,
            pages_per_group: pages_per_group.clone(),
        },
        limits: Limits { max_restarts: usize::MAX, ..Limits::default() },
        vocabulary: VOCABULARY.clone(),
    })
}

fn index(request: RequestId) -> usize {
    usize::try_from(request.0).expect("requests are numbered as they stand in memory")
}

fn new_pipeline<'a>(setup: &'a Setup<'a>, devices: &[String], incarnation: u32) -> Pipeline<'a> {
    Pipeline::new(devices, incarnation, &setup.scheduler, (setup.keeps_pages, setup.faults))
}

fn load(row: &RowOrder) -> RowLoad {
    let RowOrder { ref tokens, position, wants_logits, .. } = *row;
    RowLoad { position, tokens: tokens.len(), wants_logits }
}

/// More batches than any schedule needs that makes progress: each token in one of its own, computed
/// again and again a few dozen times.
fn max_batches(requests: &[SimulatedRequest], num_faults: usize) -> u64 {
    let tokens = requests
        .iter()
        .map(|request| (request.prompt.len() + request.max_tokens) * request.search.num_rows());
    (1_000 + 64 * tokens.sum::<usize>() * (1 + num_faults)) as u64
}
