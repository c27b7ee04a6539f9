//! A pipeline at work: its threads, their channels, and how they end and begin anew.

use std::{num::NonZero, thread::JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sluicegate_model::{home::SharedTable, shard::Shard, weights::Weights};
use sluicegate_placement::{Endpoint, Plan, PlannedStage, StageId};
use sluicegate_spec::{config::ModelConfig, kv::KvType};

use super::{
    error::{StageError, StageFailure},
    last_stage::{LastStage, LastStageConfig},
    message::{MasksInTransit, Microbatch, PipelineEvent},
    stage::{BeforeForward, Inlet, Outlet, StageInfo},
    thread::{Loader, StageThread, failure},
};
use crate::{
    clock::Clock,
    device::{Devices, Links, ReceivingEnd, TransferError, of_device::OfDevice},
    sampler::Sampler,
};

/// What a pipeline is built from.
pub struct PipelineConfig {
    pub plan: Plan,
    pub model: ModelConfig,
    pub weights: Weights,
    pub devices: Devices,
    pub links: Links,
    pub clock: Clock,
    pub sampler: Sampler,
    /// Threads that each stage computes with; one means inline in the stage's own.
    pub threads_per_stage: NonZero<usize>,
    /// The core of each of these threads, stage by stage; without any they are not pinned.
    pub cores: Vec<usize>,
    /// In what stages keep keys and values.
    pub kv_type: KvType,
    /// Microbatches that fit between two stages; at least those in flight.
    pub channel_capacity: usize,
    /// Called in a stage's thread before it computes, so that tests can let it fail or wait.
    pub before_forward: Option<BeforeForward>,
}

/// Where masks for the last stage go.
pub type MaskSender = Sender<MasksInTransit>;

/// Running stages. Dropping it closes the first channel and waits for the threads.
pub struct Pipeline {
    config: PipelineConfig,
    /// Which life of the pipeline it is, from 1 on.
    incarnation: u32,
    to_first: Option<Sender<Microbatch>>,
    masks: Receiver<MasksInTransit>,
    events: Receiver<PipelineEvent>,
    event_sender: Sender<PipelineEvent>,
    threads: Vec<JoinHandle<Option<OfDevice<Shard>>>>,
    table: Option<OfDevice<SharedTable>>,
}

impl Pipeline {
    /// Starts one thread per stage; all load their weights at the same time.
    ///
    /// Returns the pipeline and where masks for its last stage go. That stage stops waiting for
    /// masks once every such sender is gone.
    ///
    /// # Errors
    /// The failure of the first stage, in order, that could not load.
    pub fn start(config: PipelineConfig) -> Result<(Self, MaskSender), StageFailure> {
        let (event_sender, events) = unbounded();
        let (mask_sender, masks) = unbounded();
        let table = shared_table(&config);
        let mut pipeline = Self {
            config,
            incarnation: 0,
            to_first: None,
            masks,
            events,
            event_sender,
            threads: Vec::new(),
            table,
        };
        pipeline.launch(Vec::new())?;
        Ok((pipeline, mask_sender))
    }

    /// Begins a new life: all stages end, those that failed load their weights again, and what was
    /// in flight is lost. Returns the events that were not about it.
    ///
    /// # Errors
    /// The failure of the first stage, in order, that could not load.
    pub fn restart(&mut self) -> Result<Vec<PipelineEvent>, StageFailure> {
        let kept = self.stop();
        let outlives = |event: &PipelineEvent| {
            use PipelineEvent::{Sampled, StageFailed, Timed};
            !matches!(event, Sampled(_) | Timed { .. } | StageFailed(_))
        };
        let events = self.events.try_iter().filter(outlives).collect();
        self.launch(kept)?;
        Ok(events)
    }

    /// Starts the stages, with the shards that some of them have kept.
    fn launch(&mut self, kept: Vec<Option<OfDevice<Shard>>>) -> Result<(), StageFailure> {
        self.incarnation += 1;
        let (ready_sender, ready) = unbounded();
        let (to_first, inbox) = bounded(self.config.channel_capacity);
        self.to_first = Some(to_first);
        let links = &self.config.links;
        // The first stage gets no hidden values.
        let (_, hidden) = links.connect(Endpoint::Host, Endpoint::Stage(StageId(0)));
        let mut input = (inbox, hidden);
        let mut kept = kept.into_iter();
        for (id, planned) in self.config.plan.stages() {
            let info = self.stage_info(planned, id);
            let (outlet, next_input) = self
                .outlet(&info)
                .map_err(|error| failure(&info, StageError::Transfer(error), None))?;
            let (inbox, hidden) = std::mem::replace(&mut input, next_input);
            let inlet = Inlet { inbox, hidden };
            let kept = kept.next().flatten();
            let table = self.table.as_ref().map(OfDevice::get);
            let work = StageThread {
                load: Loader::new(&self.config, (id, planned), table.cloned(), kept),
                info: info.clone(),
                inlet,
                outlet,
                uploader: links.uploader(id),
                clock: self.config.clock,
                ready: ready_sender.clone(),
                events: self.event_sender(),
                before_forward: self.config.before_forward.clone(),
            };
            self.threads.push(spawn(&info, work)?);
        }
        drop(ready_sender);
        first_failure(&ready).map_or(Ok(()), |failure| Err(self.examined(failure)))
    }

    /// A failure, with what its device has lost by it.
    pub fn examined(&self, failure: StageFailure) -> StageFailure {
        StageFailure { loss: self.config.devices.loss(failure.device), ..failure }
    }

    /// Sends to the first stage; false if it is gone.
    pub fn send(&self, microbatch: Microbatch) -> bool {
        self.to_first.as_ref().is_some_and(|to_first| to_first.send(microbatch).is_ok())
    }

    /// Which life of the pipeline it is, from 1 on; every microbatch carries it.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// What comes back: tokens and failures.
    pub fn events(&self) -> &Receiver<PipelineEvent> {
        &self.events
    }

    /// For those who report to the scheduler beside the stages.
    pub fn event_sender(&self) -> Sender<PipelineEvent> {
        self.event_sender.clone()
    }

    /// Closes the first channel and waits; returns the shards of the stages that did not fail.
    fn stop(&mut self) -> Vec<Option<OfDevice<Shard>>> {
        self.to_first = None;
        // A panic was caught in the thread and reported; there is nothing left to say.
        self.threads.drain(..).map(|thread| thread.join().ok().flatten()).collect()
    }

    fn stage_info(&self, planned: &PlannedStage, id: StageId) -> StageInfo {
        StageInfo {
            id,
            device: planned.device,
            layers: self.config.plan.layers(planned),
            incarnation: self.incarnation,
        }
    }

    /// Where a stage's output goes, and what the stage behind it reads from.
    fn outlet(
        &self,
        info: &StageInfo,
    ) -> Result<(Outlet, (Receiver<Microbatch>, ReceivingEnd)), TransferError> {
        let (links, here) = (&self.config.links, Endpoint::Stage(info.id));
        let (to_next, next_inbox) = bounded(self.config.channel_capacity);
        let (hidden, next_hidden) = links.connect_stages(info.id)?;
        let outlet = if info.id == self.config.plan.last_stage() {
            Outlet::Last(Box::new(LastStage::new(LastStageConfig {
                device: info.device,
                sampler: self.config.sampler.clone(),
                uploader: links.uploader(info.id),
                clock: self.config.clock,
                masks: self.masks.clone(),
                masks_end: links.connect(Endpoint::Host, here).1,
                tokens_end: links.connect(here, Endpoint::Host).0,
                events: self.event_sender(),
            })))
        } else {
            Outlet::Next { stage: to_next, hidden }
        };
        Ok((outlet, (next_inbox, next_hidden)))
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.stop();
    }
}

/// For a head that has come back to the device of the embedding.
fn shared_table(config: &PipelineConfig) -> Option<OfDevice<SharedTable>> {
    let (first, last) = (config.plan.stages.first()?, config.plan.stages.last()?);
    let is_shared = config.plan.stages.len() > 1 && first.device == last.device;
    let device = config.devices.get(first.device).unwrap_or(candle_core::Device::Cpu);
    is_shared.then(|| OfDevice::new(SharedTable::default(), &device))
}

/// The first failure, in stage order, after every stage has reported.
fn first_failure(ready: &Receiver<Result<(), StageFailure>>) -> Option<StageFailure> {
    ready.iter().filter_map(Result::err).min_by_key(|failure| failure.stage)
}

fn spawn(
    info: &StageInfo,
    work: StageThread,
) -> Result<JoinHandle<Option<OfDevice<Shard>>>, StageFailure> {
    let name = format!("sluicegate-stage-{}", info.id.0);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || work.run())
        .map_err(|error| failure(info, StageError::Spawn(error), None))
}
