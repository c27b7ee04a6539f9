//! The arguments of `sluicegate doctor`.

use clap::Args;
use sluicegate::device::DeviceSelector;
use sluicegate_spec::kv::KvType;

use super::{Goal, ModelArgs, RouteChoice};
use crate::memory::MemoryCaps;

pub(crate) const AFTER_DOCTOR: &str = "\
Examples:
  Which devices are there, and does a small model run on all of them?
    sluicegate doctor

  Does the model of a config.json, without its weights, use the planned memory?
    sluicegate doctor --model config.json --dummy-weights --device cuda

Exit code: 0 if all checks pass, 1 if one fails, 2 if the command line is invalid.";

/// Reports the devices, and whether a model runs on them: a report to paste
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// A model as for generate, instead of a small artificial one
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Fills the model of a config.json, or of the one in a directory, with seeded random numbers
    #[arg(long, requires = "model")]
    pub(crate) dummy_weights: bool,
    /// auto, cpu, cuda, or a list such as cuda:1 or cpu:0,cpu:1 [default: auto]
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device: Option<DeviceSelector>,
    /// How many logical CPU devices this machine has, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cpu_devices: u32,
    /// The most memory to use on devices, such as cpu:0=300MiB,cpu:1=1GiB
    #[arg(long, value_name = "DEVICE=SIZE,…")]
    pub(crate) max_memory: Option<MemoryCaps>,
    /// The type of keys and values in the cache: f32, or f16 or bf16 with half the memory
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub(crate) kv_type: KvType,
}

impl DoctorArgs {
    /// Returns the arguments of a command that places `model` automatically.
    pub(crate) fn model_args(&self, model: String) -> ModelArgs {
        ModelArgs {
            model,
            dummy_weights: self.dummy_weights,
            device: self.device.clone(),
            cpu_devices: Some(self.cpu_devices),
            max_memory: self.max_memory.clone(),
            layers: None,
            objective: Goal::Throughput,
            route: RouteChoice::default(),
            kv_type: self.kv_type,
            plan: None,
        }
    }
}
