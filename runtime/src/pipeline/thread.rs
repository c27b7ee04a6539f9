//! A stage's thread: it loads its weights, executes batches, and says how it ended.

use std::{
    any::Any,
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crossbeam_channel::Sender;
use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::{
    home::{Home, SharedTable},
    shard::Shard,
    threads::{self, Threads},
    weights::Weights,
};
use sluicegate_placement::{PlannedStage, StageId};
use sluicegate_spec::{config::ModelConfig, kv::KvType};

use super::{
    error::{StageError, StageFailure},
    message::PipelineEvent,
    pipeline::PipelineConfig,
    stage::{BeforeForward, Inlet, Outlet, Stage, StageInfo},
    stopwatch::Stopwatch,
};
use crate::{
    clock::Clock,
    device::{Uploader, devices::make_current, of_device::OfDevice},
};

/// Loads a stage's shard, in the stage's thread.
pub(super) struct Loader {
    weights: Weights,
    model: ModelConfig,
    planned: PlannedStage,
    device: candle_core::Device,
    num_threads: NonZero<usize>,
    cores: Vec<usize>,
    kv_type: KvType,
    pages_per_group: Vec<usize>,
    table: Option<SharedTable>,
    /// From the pipeline's life before, where the stage did not fail.
    kept: Option<OfDevice<Shard>>,
}

impl Loader {
    pub(super) fn new(
        config: &PipelineConfig,
        (id, planned): (StageId, &PlannedStage),
        table: Option<SharedTable>,
        kept: Option<OfDevice<Shard>>,
    ) -> Self {
        let cores = config.cores.chunks_exact(config.threads_per_stage.get()).nth(id.0);
        let is_shared = planned.units.has_embed() || planned.units.has_head(config.plan.num_layers);
        Self {
            table: table.filter(|_| is_shared),
            weights: config.weights.clone(),
            model: config.model.clone(),
            planned: planned.clone(),
            device: config.devices.get(planned.device).unwrap_or(candle_core::Device::Cpu),
            num_threads: config.threads_per_stage,
            cores: cores.map(<[usize]>::to_vec).unwrap_or_default(),
            kv_type: config.kv_type,
            pages_per_group: config.plan.pages_per_group.clone(),
            kept,
        }
    }

    fn load(self) -> Result<Shard, StageError> {
        if let Some(core) = self.cores.first() {
            threads::pin_to(*core)?;
        }
        make_current(&self.device).map_err(StageError::Bind)?;
        if let Some(mut shard) = self.kept.and_then(|mut kept| kept.take()) {
            shard.restart();
            return Ok(shard);
        }
        let threads = match &self.cores[..] {
            [] => Threads::new(self.num_threads),
            cores => Threads::on_cores(cores),
        };
        let home = Home::new(self.planned.device, self.device, threads, self.kv_type)?
            .with_table(self.table);
        let units = self.planned.units;
        Ok(Shard::load(&self.weights, &self.model, units, home, &self.pages_per_group)?)
    }
}

/// Everything that moves into a stage's thread.
pub(super) struct StageThread {
    pub(super) load: Loader,
    pub(super) info: StageInfo,
    pub(super) inlet: Inlet,
    pub(super) outlet: Outlet,
    pub(super) uploader: Uploader,
    pub(super) clock: Clock,
    pub(super) ready: Sender<Result<(), StageFailure>>,
    pub(super) events: Sender<PipelineEvent>,
    pub(super) before_forward: Option<BeforeForward>,
}

impl StageThread {
    /// Returns the shard, unless it was its stage that failed.
    pub(super) fn run(self) -> Option<OfDevice<Shard>> {
        let Self { load, info, inlet, outlet, uploader, clock, ready, events, before_forward } =
            self;
        let device = load.device.clone();
        let shard = match guarded(|| load.load()) {
            Ok(shard) => shard,
            Err(error) => {
                let _ = ready.send(Err(failure(&info, error, None)));
                return None;
            }
        };
        let _ = ready.send(Ok(()));
        drop(ready);
        let mut stage = Stage {
            info: info.clone(),
            shard,
            inlet,
            outlet,
            uploader,
            stopwatch: Stopwatch::new(&device, clock),
            events: events.clone(),
            before_forward,
            microbatch: None,
        };
        match guarded(|| stage.run()) {
            Ok(()) => Some(OfDevice::new(stage.shard, &device)),
            Err(error) => {
                let failure = failure(&info, error, stage.microbatch);
                let _ = events.send(PipelineEvent::StageFailed(failure));
                None
            }
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

pub(super) fn failure(
    info: &StageInfo,
    error: StageError,
    microbatch: Option<MicrobatchId>,
) -> StageFailure {
    StageFailure {
        stage: info.id,
        device: info.device,
        layers: info.layers,
        microbatch,
        error: Box::new(error),
        loss: None,
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
