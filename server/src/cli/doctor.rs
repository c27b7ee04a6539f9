//! The arguments of `sluicegate doctor`.

use clap::Args;
use sluicegate::device::DeviceSelector;
use sluicegate_spec::kv::KvType;

use super::{Goal, ModelArgs};
use crate::memory::MemoryCaps;

pub(crate) const AFTER_DOCTOR: &str = "\
Examples:
  What is here, and does a small model run on all of it?
    sluicegate doctor

  Does the model of a config.json, without its weights, take the memory that was planned?
    sluicegate doctor --model config.json --dummy-weights --device cuda

Exit code: 0 if all is well, 1 if a check failed, 2 if the command line must change.";

/// Says what devices there are and whether a model runs on them: a report to paste.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A model as for generate, in place of a small one that is made up
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Fills the model of a config.json, or of the one in a directory, with seeded numbers
    #[arg(long, requires = "model")]
    pub(crate) dummy_weights: bool,
    /// auto, cpu, cuda, or a list such as cuda:1 or cpu:0,cpu:1 [default: auto]
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device: Option<DeviceSelector>,
    /// How many logical CPU devices this machine shows, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cpu_devices: u32,
    /// What devices may hold at most, such as cpu:0=300MiB,cpu:1=1GiB
    #[arg(long, value_name = "DEVICE=SIZE,…")]
    pub(crate) max_memory: Option<MemoryCaps>,
    /// In what the cache keeps keys and values: f32, or f16 or bf16 in half of the memory
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub(crate) kv_type: KvType,
}

impl DoctorArgs {
    /// As those of a command that places `model` by itself.
    pub(crate) fn model_args(&self, model: String) -> ModelArgs {
        ModelArgs {
            model,
            dummy_weights: self.dummy_weights,
            device: self.device.clone(),
            cpu_devices: Some(self.cpu_devices),
            max_memory: self.max_memory.clone(),
            layers: None,
            objective: Goal::Throughput,
            kv_type: self.kv_type,
            plan: None,
        }
    }
}
