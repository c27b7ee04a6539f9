//! Stages on their devices, and the links between them.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use sluicegate_placement::{Hop, MicrobatchCost};

use super::{
    clock::Clock,
    driver::Event,
    error::SimulationError,
    fault::{self, Fault},
    shadow::Shadow,
};
use crate::{
    messages::{Batch, StageTimes},
    scheduler::SchedulerConfig,
    timeline::{Activity, Lane, Span, Timeline},
};

/// What the parts of a simulation share: the time, and what is written down.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Clock<Event>,
    pub(super) timeline: Timeline,
}

/// A batch on its way.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) incarnation: u32,
    pub(super) batch: Rc<Batch>,
    pub(super) cost: Rc<MicrobatchCost>,
    /// One for each token; none before the first stage.
    pub(super) values: Vec<u64>,
    /// When each stage so far worked on it.
    pub(super) times: Vec<Option<StageTimes>>,
}

#[derive(Debug)]
pub(super) struct Pipeline<'a> {
    stages: Vec<Stage>,
    faults: &'a [Fault],
}

#[derive(Debug)]
struct Stage {
    shadow: Shadow,
    /// The first stage on the same device.
    device: usize,
    inbox: VecDeque<Message>,
    /// What it works on.
    current: Option<Message>,
    /// Whether it computes, or takes hidden values that keep it from computing.
    is_working: bool,
    /// Whether it has logits that are not sampled.
    is_waiting: bool,
    /// When the link into it can take the next transfer.
    link_free_s: f64,
}

impl World {
    pub(super) fn span(
        &mut self,
        lane: Lane,
        activity: Activity,
        microbatch: u64,
        (start_s, end_s): (f64, f64),
    ) {
        if end_s > start_s {
            self.timeline.spans.push(Span { lane, activity, microbatch, start_s, end_s });
        }
    }
}

impl Message {
    pub(super) fn microbatch(&self) -> u64 {
        self.batch.microbatch.0
    }

    /// The values of the rows whose logits are wanted, in order.
    pub(super) fn logits(&self) -> Vec<u64> {
        let mut end = 0;
        let mut logits = Vec::new();
        for row in &self.batch.rows {
            end += row.tokens.len();
            if row.wants_logits {
                logits.push(self.values[end - 1]);
            }
        }
        logits
    }
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(
        devices: &[String],
        incarnation: u32,
        config: &SchedulerConfig,
        (keeps_pages, faults): (bool, &'a [Fault]),
    ) -> Self {
        let stage = |(stage, name): (usize, &String)| Stage {
            shadow: Shadow::new(stage, incarnation, config, keeps_pages),
            device: devices.iter().position(|it| it == name).unwrap_or(stage),
            inbox: VecDeque::new(),
            current: None,
            is_working: false,
            is_waiting: false,
            link_free_s: 0.0,
        };
        Self { stages: devices.iter().enumerate().map(stage).collect(), faults }
    }

    pub(super) fn last_stage(&self) -> usize {
        self.stages.len() - 1
    }

    /// Puts a message into a stage's inbox.
    pub(super) fn deliver(&mut self, stage: usize, message: Message, world: &mut World) {
        self.stages[stage].inbox.push_back(message);
        self.start_on(self.stages[stage].device, world);
    }

    /// Executes what a stage has had the time to compute, and sends it on; what leaves the last
    /// stage is returned.
    pub(super) fn computed(
        &mut self,
        stage: usize,
        world: &mut World,
    ) -> Result<Option<Message>, SimulationError> {
        let at = &mut self.stages[stage];
        at.is_working = false;
        let Some(mut message) = at.current.take() else { return Ok(None) };
        let values = std::mem::take(&mut message.values);
        message.values = at.shadow.run(message.incarnation, &message.batch, values)?;
        let device = at.device;
        let leaving = if stage == self.last_stage() {
            // Nothing else is begun before it was sampled.
            self.stages[stage].is_waiting = true;
            Some(message)
        } else {
            self.forward(stage + 1, message, world);
            None
        };
        self.start_on(device, world);
        Ok(leaving)
    }

    /// Lets the last stage go on after it has sampled.
    pub(super) fn release(&mut self, world: &mut World) {
        let stage = self.last_stage();
        self.stages[stage].is_waiting = false;
        self.start_on(self.stages[stage].device, world);
    }

    /// Over a link of its own, or at once: then the receiver takes the time for it.
    fn forward(&mut self, target: usize, message: Message, world: &mut World) {
        let hop = message.cost.hops[target].filter(|hop| hop.overlaps);
        let Some(Hop { seconds, .. }) = hop else {
            return self.deliver(target, message, world);
        };
        let start_s = world.clock.now_s().max(self.stages[target].link_free_s);
        let end_s = start_s + seconds * fault::link_factor(self.faults, target, start_s);
        self.stages[target].link_free_s = end_s;
        let microbatch = message.microbatch();
        world.span(Lane::Link(target), Activity::Transfer, microbatch, (start_s, end_s));
        world.clock.at(end_s, Event::Arrived { stage: target, message });
    }

    /// Lets a device that is free begin with the oldest microbatch that one of its stages has.
    fn start_on(&mut self, device: usize, world: &mut World) {
        let mut of_device = self.stages.iter().filter(|stage| stage.device == device);
        if of_device.any(|stage| stage.is_working) {
            return;
        }
        let ready = self.stages.iter().enumerate().filter(|(_, stage)| {
            stage.device == device && !stage.is_waiting && !stage.inbox.is_empty()
        });
        let oldest = ready.min_by_key(|(_, stage)| stage.inbox.front().map(Message::microbatch));
        if let Some((stage, _)) = oldest {
            self.start(stage, world);
        }
    }

    fn start(&mut self, stage: usize, world: &mut World) {
        let at = &mut self.stages[stage];
        let Some(mut message) = at.inbox.pop_front() else { return };
        let (microbatch, incarnation) = (message.microbatch(), message.incarnation);
        let now_s = world.clock.now_s();
        let blocking_s = message.cost.hops[stage].map_or(0.0, Hop::blocking_s);
        let begin_s = now_s + blocking_s * fault::link_factor(self.faults, stage, now_s);
        let compute_s = message.cost.stage_s[stage];
        let end_s = begin_s + compute_s * fault::stage_factor(self.faults, stage, begin_s);
        let [started, ended] = [now_s, end_s].map(Duration::from_secs_f64);
        message.times.push(Some(StageTimes { started, computed: ended, ended }));
        at.is_working = true;
        at.current = Some(message);
        let lane = Lane::Stage(stage);
        world.span(lane, Activity::Transfer, microbatch, (now_s, begin_s));
        world.span(lane, Activity::Compute, microbatch, (begin_s, end_s));
        world.clock.at(end_s, Event::Computed { stage, incarnation });
    }
}
