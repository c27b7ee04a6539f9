//! The loop: what happens next, and what follows from it.

use std::rc::Rc;

use sluicegate_placement::RowLoad;

use super::{
    clock::Clock,
    error::SimulationError,
    fault::Fault,
    full::Watch,
    host::Host,
    pipeline::{Message, Pipeline, World},
    request::SimulatedRequest,
    run::Run,
    timing::Timing,
    waits::MaskWorkers,
};
use crate::{
    scheduler::{MicrobatchOrder, RowOrder, Scheduler, SchedulerConfig, Turn},
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
    /// The last stage has its masks.
    Masked(Message),
    /// The host has taken a microbatch's tokens.
    Taken(Message),
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
    let mut simulation = Simulation::new(setup, requests);
    while let Some(event) = simulation.world.clock.pop() {
        simulation.handle(event)?;
    }
    simulation.finish()
}

struct Simulation<'a> {
    setup: &'a Setup<'a>,
    devices: Vec<String>,
    world: World,
    host: Host,
    /// When the host has done what it was given.
    host_free_s: f64,
    pipeline: Pipeline<'a>,
    masks: MaskWorkers,
    incarnation: u32,
    is_down: bool,
    watch: Watch,
    max_turns: u64,
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
            host: Host::new(Scheduler::new(setup.scheduler.clone()), requests),
            host_free_s: 0.0,
            masks: MaskWorkers::new(setup.mask_workers),
            incarnation,
            is_down: false,
            watch: Watch::default(),
            max_turns: max_turns(requests, setup.faults.len()),
            setup,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), SimulationError> {
        let now_s = self.world.clock.now_s();
        let is_taken = matches!(event, Event::Taken(_));
        match event {
            Event::Arrive(request) => self.host.submit(request, now_s)?,
            Event::Cancel(request) => self.host.cancel(request, now_s)?,
            Event::Arrived { stage, message } => {
                if message.incarnation == self.incarnation {
                    self.pipeline.deliver(stage, message, &mut self.world);
                }
            }
            Event::Computed { stage, incarnation } => {
                if incarnation == self.incarnation
                    && let Some(message) = self.pipeline.computed(stage, &mut self.world)?
                {
                    self.await_masks(message);
                }
            }
            Event::Masked(message) => {
                if message.incarnation == self.incarnation {
                    self.leave(message);
                }
            }
            Event::Taken(message) => {
                if message.incarnation == self.incarnation {
                    let logits = message.logits();
                    self.host.sampled(&message.turn.microbatch, &logits, now_s)?;
                }
            }
            Event::Lost { restart_s } => self.lose(restart_s),
            Event::Restarted { incarnation } => {
                self.is_down &= incarnation != self.incarnation;
            }
        }
        self.send_turns()?;
        if is_taken {
            self.watch.note(&self.host.scheduler, now_s, self.host.num_tokens);
        }
        Ok(())
    }

    fn send_turns(&mut self) -> Result<(), SimulationError> {
        while !self.is_down
            && let Some(turn) = self.host.scheduler.next_turn()
        {
            self.host.turns += 1;
            if self.host.turns > self.max_turns {
                return Err(SimulationError::Endless { turns: self.host.turns });
            }
            self.send(turn);
        }
        Ok(())
    }

    fn send(&mut self, turn: Turn) {
        let loads: Vec<RowLoad> = turn.microbatch.rows.iter().map(load).collect();
        self.world.timeline.microbatches.push(turn.microbatch.note());
        if self.setup.mask_start == MaskStart::WithOrder {
            self.begin_masks(&turn.microbatch);
        }
        let message = Message {
            incarnation: self.incarnation,
            cost: Rc::new(self.setup.timing.microbatch(&loads)),
            turn: Rc::new(turn),
            values: Vec::new(),
        };
        self.pipeline.deliver(0, message, &mut self.world);
    }

    fn begin_masks(&mut self, order: &MicrobatchOrder) {
        let num_masks = self.host.num_masks(order);
        let costs = (self.setup.timing.mask_s(), self.setup.faults);
        self.masks.begin(order.id.0, num_masks, costs, &mut self.world);
    }

    /// The last stage has logits.
    fn await_masks(&mut self, message: Message) {
        if self.setup.mask_start == MaskStart::AfterCompute {
            self.begin_masks(&message.turn.microbatch);
        }
        let (now_s, microbatch) = (self.world.clock.now_s(), message.microbatch());
        match self.masks.take(microbatch) {
            Some(ready_s) if ready_s > now_s => {
                let lane = Lane::Stage(self.pipeline.last_stage());
                self.world.span(lane, Activity::AwaitMask, microbatch, (now_s, ready_s));
                self.world.clock.at(ready_s, Event::Masked(message));
            }
            _ => self.leave(message),
        }
    }

    /// Tokens go to the host, which takes one microbatch after the other.
    fn leave(&mut self, message: Message) {
        let start_s = self.world.clock.now_s().max(self.host_free_s);
        let end_s = start_s + self.setup.timing.host_s();
        self.host_free_s = end_s;
        self.world.span(Lane::Host, Activity::Host, message.microbatch(), (start_s, end_s));
        self.world.clock.at(end_s, Event::Taken(message));
        self.pipeline.release(&mut self.world);
    }

    /// Whatever was in flight will never come back; events of an earlier incarnation are ignored.
    fn lose(&mut self, restart_s: f64) {
        let now_s = self.world.clock.now_s();
        let spans = &mut self.world.timeline.spans;
        spans.retain(|span| span.start_s < now_s);
        for span in spans {
            span.end_s = span.end_s.min(now_s);
        }
        self.incarnation += 1;
        self.is_down = true;
        self.host_free_s = now_s;
        self.host.scheduler.restart();
        self.masks.restart(now_s);
        self.pipeline = new_pipeline(self.setup, &self.devices, self.incarnation);
        let incarnation = self.incarnation;
        self.world.clock.at(now_s + restart_s, Event::Restarted { incarnation });
    }

    fn finish(self) -> Result<Run, SimulationError> {
        let Host { scheduler, ends, token_s, turns, .. } = self.host;
        if let Some(request) = ends.iter().position(Option::is_none) {
            return Err(SimulationError::Stalled { request });
        }
        if !scheduler.is_idle() {
            return Err(SimulationError::NotIdle);
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
            turns,
            token_s,
            full: self.watch.full(),
            incarnations: self.incarnation,
        })
    }
}

fn new_pipeline<'a>(setup: &'a Setup<'a>, devices: &[String], incarnation: u32) -> Pipeline<'a> {
    Pipeline::new(devices, incarnation, &setup.scheduler, (setup.keeps_pages, setup.faults))
}

fn load(row: &RowOrder) -> RowLoad {
    let RowOrder { ref tokens, position, wants_logits, .. } = *row;
    RowLoad { position, tokens: tokens.len(), wants_logits }
}

/// More turns than any schedule needs that gets anywhere: each token in a turn of its own, computed
/// again and again a few dozen times.
fn max_turns(requests: &[SimulatedRequest], num_faults: usize) -> u64 {
    let tokens = requests
        .iter()
        .map(|request| (request.prompt.len() + request.max_tokens) * request.search.num_rows());
    (1_000 + 64 * tokens.sum::<usize>() * (1 + num_faults)) as u64
}
