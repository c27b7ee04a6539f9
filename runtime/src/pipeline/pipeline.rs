//! A pipeline at work: its threads, their channels, and how they end.

use std::{
    any::Any,
    collections::HashMap,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sluicegate_model::{
    config::ModelConfig,
    placed::Placed,
    shard::{Home, Shard, SharedTable},
    threads::Threads,
    weights::Weights,
};

use super::{
    error::{StageError, StageFailure},
    last_stage::LastStage,
    message::{PipelineEvent, StageMessage},
    stage::{Outlet, Stage, StageInfo},
};
use crate::{
    device::{Devices, Links, Masks},
    placement::{Plan, PlannedStage, StageId},
    sampler::Sampler,
};

/// What a pipeline is built from.
pub struct PipelineConfig<'a> {
    pub plan: &'a Plan,
    pub model: &'a ModelConfig,
    pub weights: &'a Weights,
    pub devices: &'a Devices,
    pub links: Arc<Links>,
    pub sampler: Sampler,
    /// Threads that each stage computes with; one means inline in the stage's own.
    pub threads_per_stage: NonZero<usize>,
    /// Messages that fit between two stages; at least the microbatches in flight and their reorders.
    pub channel_capacity: usize,
    pub incarnation: u32,
}

/// Where masks for the last stage go.
pub type MaskSender = Sender<Placed<Masks>>;

/// Running stages. Dropping it closes the first channel and waits for the threads.
pub struct Pipeline {
    to_first: Option<Sender<StageMessage>>,
    events: Receiver<PipelineEvent>,
    event_sender: Sender<PipelineEvent>,
    threads: Vec<JoinHandle<()>>,
}

impl Pipeline {
    /// Starts one thread per stage; all load their weights at the same time.
    ///
    /// Returns the pipeline and where masks for its last stage go. That stage stops waiting for
    /// masks once every such sender is gone.
    ///
    /// # Errors
    /// The failure of the first stage, in order, that could not load.
    pub fn start(config: &PipelineConfig<'_>) -> Result<(Self, MaskSender), StageFailure> {
        let (event_sender, events) = unbounded();
        let (ready_sender, ready) = unbounded();
        let (mask_sender, masks) = unbounded();
        let (to_first, mut inbox) = bounded(config.channel_capacity);
        let mut pipeline =
            Self { to_first: Some(to_first), events, event_sender, threads: Vec::new() };
        let table = shared_table(config.plan);
        for (id, planned) in config.plan.stages() {
            let info = stage_info(config, planned, id);
            let (to_next, next_inbox) = bounded(config.channel_capacity);
            let outlet = if id == config.plan.last_stage() {
                Outlet::Last(LastStage {
                    stage: info.id,
                    device: info.device,
                    sampler: config.sampler.clone(),
                    links: Arc::clone(&config.links),
                    masks: masks.clone(),
                    early: HashMap::new(),
                    events: pipeline.event_sender(),
                })
            } else {
                Outlet::Next(to_next)
            };
            let work = StageThread {
                load: Loader::new(config, planned, table.clone()),
                info: info.clone(),
                links: Arc::clone(&config.links),
                outlet,
                inbox: std::mem::replace(&mut inbox, next_inbox),
                ready: ready_sender.clone(),
                events: pipeline.event_sender(),
            };
            pipeline.threads.push(spawn(&info, work)?);
        }
        drop(ready_sender);
        first_failure(&ready).map_or(Ok((pipeline, mask_sender)), Err)
    }

    /// Sends to the first stage; false if it is gone.
    pub fn send(&self, message: StageMessage) -> bool {
        self.to_first.as_ref().is_some_and(|to_first| to_first.send(message).is_ok())
    }

    /// What comes back: tokens and failures.
    pub fn events(&self) -> &Receiver<PipelineEvent> {
        &self.events
    }

    /// For those who report to the scheduler beside the stages.
    pub fn event_sender(&self) -> Sender<PipelineEvent> {
        self.event_sender.clone()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.to_first = None;
        for thread in self.threads.drain(..) {
            // A panic was caught in the thread and reported; there is nothing left to say.
            let _ = thread.join();
        }
    }
}

fn stage_info(config: &PipelineConfig<'_>, planned: &PlannedStage, id: StageId) -> StageInfo {
    StageInfo {
        id,
        device: planned.device,
        layers: config.plan.layers(planned),
        incarnation: config.incarnation,
    }
}

/// For a head that has come back to the device of the embedding.
fn shared_table(plan: &Plan) -> Option<SharedTable> {
    let (first, last) = (plan.stages.first()?, plan.stages.last()?);
    (plan.stages.len() > 1 && first.device == last.device).then(SharedTable::default)
}

/// The first failure, in stage order, after every stage has reported.
fn first_failure(ready: &Receiver<Result<(), StageFailure>>) -> Option<StageFailure> {
    ready.iter().filter_map(Result::err).min_by_key(|failure| failure.stage)
}

fn spawn(info: &StageInfo, work: StageThread) -> Result<JoinHandle<()>, StageFailure> {
    let name = format!("sluicegate-stage-{}", info.id.0);
    std::thread::Builder::new()
        .name(name)
        .spawn(move || work.run())
        .map_err(|error| failure(info, StageError::Spawn(error)))
}

/// Loads a stage's shard, in the stage's thread.
struct Loader {
    weights: Weights,
    model: ModelConfig,
    planned: PlannedStage,
    device: Option<candle_core::Device>,
    num_threads: NonZero<usize>,
    pages_per_group: Vec<usize>,
    table: Option<SharedTable>,
}

impl Loader {
    fn new(
        config: &PipelineConfig<'_>,
        planned: &PlannedStage,
        table: Option<SharedTable>,
    ) -> Self {
        let is_shared = planned.units.has_embed() || planned.units.has_head(config.plan.num_layers);
        Self {
            table: table.filter(|_| is_shared),
            weights: config.weights.clone(),
            model: config.model.clone(),
            planned: planned.clone(),
            device: config.devices.get(planned.device),
            num_threads: config.threads_per_stage,
            pages_per_group: config.plan.pages_per_group.clone(),
        }
    }

    fn load(self) -> Result<Shard, StageError> {
        let home = Home {
            id: self.planned.device,
            device: self.device.unwrap_or(candle_core::Device::Cpu),
            threads: Threads::new(self.num_threads),
            table: self.table,
        };
        let units = self.planned.units;
        Ok(Shard::load(&self.weights, &self.model, units, home, &self.pages_per_group)?)
    }
}

/// Everything that moves into a stage's thread.
struct StageThread {
    load: Loader,
    info: StageInfo,
    links: Arc<Links>,
    outlet: Outlet,
    inbox: Receiver<StageMessage>,
    ready: Sender<Result<(), StageFailure>>,
    events: Sender<PipelineEvent>,
}

impl StageThread {
    fn run(self) {
        let Self { load, info, links, outlet, inbox, ready, events } = self;
        let shard = match guarded(|| load.load()) {
            Ok(shard) => shard,
            Err(error) => {
                let _ = ready.send(Err(failure(&info, error)));
                return;
            }
        };
        let _ = ready.send(Ok(()));
        drop(ready);
        let stage = Stage { info: info.clone(), shard, links, outlet };
        if let Err(error) = guarded(|| stage.run(&inbox)) {
            let _ = events.send(PipelineEvent::StageFailed(failure(&info, error)));
        }
    }
}

/// Runs a stage's work; a panic becomes an error, so that it ends requests and not the process.
fn guarded<T>(work: impl FnOnce() -> Result<T, StageError>) -> Result<T, StageError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(StageError::Panicked(panic_message(&*panic))))
}

/// What a caught panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

fn failure(info: &StageInfo, error: StageError) -> StageFailure {
    StageFailure {
        stage: info.id,
        device: info.device,
        layers: info.layers,
        error: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_stage_is_an_error_with_its_words() {
        let check = |work: fn(), want: &str| {
            let error = guarded(|| {
                work();
                Ok(())
            });
            assert_eq!(error.unwrap_err().to_string(), want);
        };
        check(|| panic!("page 7 is gone"), "it panicked: page 7 is gone");
        check(|| panic!("page {} is gone", 8), "it panicked: page 8 is gone");
        check(|| std::panic::panic_any(3), "it panicked: no message");
    }
}
