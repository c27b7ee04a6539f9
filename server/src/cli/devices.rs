//! The arguments of `sluicegate devices`.

use clap::Args;

use super::DevicesForm;

pub(crate) const AFTER_DEVICES: &str = "\
Examples:
  Which devices are there, and who uses them?
    sluicegate devices

  A description of this machine, to plan for it elsewhere:
    sluicegate devices --toml > machine.toml
    sluicegate plan --model config.json --cluster machine.toml

GPUs are listed as CUDA numbers them, with CUDA_VISIBLE_DEVICES applied. NVIDIA's driver is asked
through NVML: no memory is taken on any GPU, and the list also works in a build without CUDA.";

/// Lists GPUs and processor: memory, links, other users, and whether this build runs there
#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    #[command(flatten)]
    pub(crate) form: DevicesForm,
    /// How many logical CPU devices this machine has, 1 to 256
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cpu_devices: u32,
}
