//! The arguments of `sluicegate plan`.

use std::{num::NonZero, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use sluicegate::device::DeviceSelector;
use sluicegate_placement::{
    KvTokens, MemoryShare, Objective, Placement, Policy, Sequences, TimeLimits,
};
use sluicegate_spec::{device::DeviceId, units::LayerRange};

use super::count;
use crate::{layers::StageLayers, memory::MemoryCaps};

pub(crate) const AFTER_PLAN: &str = "\
Examples:
  How would Llama 3 70B be placed on eight H100s, and how fast would it be?
    sluicegate plan --model config.json --cluster \"8x h100 nvlink\"

  The same on different cards, for 32 sequences at once, and the effect of one more card:
    sluicegate plan --model config.json --cluster \"2x rtx4090 + 1x rtx3090, pcie4\" --batch 32 \\
      --what-if \"+1 rtx4090\"

  A plan for this machine, saved and run:
    sluicegate plan --cpu-devices 2 --save plan.json
    sluicegate generate --plan plan.json \"Hello\"

  The differences between two plans:
    sluicegate plan --diff old.json new.json

No weights are read and no device is opened for a --cluster. Exit codes as for generate.";

/// Plans the placement of the layers, and explains it
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) output: PlanOutputArgs,
}

/// The model and the devices of the plan.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// A config.json, a .gguf file, a directory with config.json, an alias (smollm2, gemma3-270m)
    /// or a repository of the Hugging Face hub
    #[arg(long, value_name = "NAME", default_value = "smollm2")]
    pub(crate) model: String,
    /// The devices to plan for: a TOML file, or words such as `8x h100 nvlink` or
    /// `2x rtx4090 + 1x rtx3090, pcie4` [default: those of this machine]
    #[arg(long, value_name = "FILE|WORDS", conflicts_with_all = ["device", "cpu_devices"])]
    pub(crate) cluster: Option<String>,
    /// Devices of this machine: auto, cpu, cuda, or a list such as cuda:1 or cpu:0,cpu:1
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device: Option<DeviceSelector>,
    /// How many logical CPU devices this machine has, 1 to 256 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cpu_devices: Option<u32>,
    /// Bits of a number in the cache: 8, 16 or 32 [default: that of this runtime or the model's
    /// files]
    #[arg(long, value_name = "BITS", value_parser = kv_bytes)]
    pub(crate) kv_bits: Option<usize>,
}

/// What is printed and saved.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct PlanOutputArgs {
    /// Print one JSON object with all figures
    #[arg(long)]
    pub(crate) json: bool,
    /// Save the plan in a file, for generate --plan and --diff
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// Compare two saved plans
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"], conflicts_with_all = ["save",
        "json", "what_if", "pareto"])]
    pub(crate) diff: Option<Vec<PathBuf>>,
    /// Show the effect of more devices (`+1 h100`), one device less (`-cuda:1`), or another
    /// kv=TOKENS, batch=N, prompt=TOKENS or output=TOKENS; repeatable, all changes together
    #[arg(long, value_name = "CHANGE", allow_hyphen_values = true,
        conflicts_with_all = ["json", "save"])]
    pub(crate) what_if: Vec<String>,
    /// Print the trade-off between throughput, cache and the time of a single sequence
    #[arg(long, conflicts_with_all = ["what_if", "save"])]
    pub(crate) pareto: bool,
}

/// The default tokens of a prompt, and of an output.
const USUAL_TOKENS: usize = 512;

/// The requirements of the plan.
#[derive(Debug, Args)]
#[command(next_help_heading = "Policy")]
pub(crate) struct PolicyArgs {
    /// The most tokens per second of all sequences, or the least time per token of one
    #[arg(long, value_name = "GOAL", value_enum, default_value_t = Goal::Throughput)]
    pub(crate) objective: Goal,
    /// Sequences at once, at least 1 [default: as many as give the most tokens per second]
    #[arg(long, value_name = "N", value_parser = count, conflicts_with = "max_sequences")]
    pub(crate) batch: Option<NonZero<usize>>,
    /// The most sequences at once, at least 1
    #[arg(long, value_name = "N", default_value = "1024", value_parser = count)]
    pub(crate) max_sequences: NonZero<usize>,
    /// The longest time from one token of a sequence to its next, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_time_per_token: Option<Duration>,
    /// The longest time from the beginning of a prompt to the first token after it, while as many
    /// other sequences run as are allowed, such as 1.5s
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) max_time_to_first_token: Option<Duration>,
    /// Expected tokens of a prompt, at least 1 [default: 512, or less if the model's context is
    /// short; in simulate those of the workload]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) prompt_tokens: Option<NonZero<usize>>,
    /// Expected tokens of an output, at least 1 [default: 512, or less if the model's context is
    /// short; in simulate those of the workload]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) output_tokens: Option<NonZero<usize>>,
    /// The most prompt tokens of a microbatch, at least 1, unless its rows need more
    #[arg(long, value_name = "N", default_value = "256", value_parser = count)]
    pub(crate) chunk_tokens: NonZero<usize>,
    /// Tokens in the cache, all sequences together, at least 1 [default: as many as are useful and
    /// fit]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) kv_tokens: Option<NonZero<usize>>,
    /// The most of each device's memory for weights and cache together, from 0 to 1 [default: 0.9
    /// of a GPU's, 0.5 of a host's, and more only if the model needs it]
    #[arg(long, value_name = "SHARE", value_parser = memory_share)]
    pub(crate) memory_share: Option<MemoryShare>,
    /// The most memory to use on devices, such as cuda:0=20GiB,cuda:1=10GiB
    #[arg(long, value_name = "DEVICE=SIZE,…")]
    pub(crate) max_memory: Option<MemoryCaps>,
    /// Devices that are not used, such as cuda:0,cuda:3
    #[arg(long, value_name = "DEVICE,…", value_delimiter = ',')]
    pub(crate) forbid: Vec<DeviceId>,
    /// Layers that stay on one device, such as 0..4,10..12
    #[arg(long, value_name = "FIRST..END,…", value_delimiter = ',', value_parser = layer_range)]
    pub(crate) keep_together: Vec<LayerRange>,
    /// Places the layers by hand, such as cuda:0=0..40,cuda:1=40..80
    #[arg(long, value_name = "DEVICE=FIRST..END,…", conflicts_with = "keep_together")]
    pub(crate) layers: Option<StageLayers>,
}

/// [`Objective`], by its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Goal {
    Throughput,
    Latency,
}

impl From<Goal> for Objective {
    fn from(goal: Goal) -> Self {
        match goal {
            Goal::Throughput => Self::Throughput,
            Goal::Latency => Self::Latency,
        }
    }
}

impl PolicyArgs {
    /// Returns the policy for a model of `max_positions` positions.
    pub(crate) fn policy(&self, max_positions: usize) -> Policy {
        // The rest of the context after the other length, or after half of it if that is not given.
        let usual = |other: Option<NonZero<usize>>| {
            let taken = other.map_or(max_positions - max_positions / 2, NonZero::get);
            USUAL_TOKENS.min(max_positions.saturating_sub(taken)).max(1)
        };
        let (prompt, output) = (self.prompt_tokens, self.output_tokens);
        Policy {
            objective: self.objective.into(),
            sequences: self.batch.map_or(Sequences::UpTo(self.max_sequences.get()), |batch| {
                Sequences::Exactly(batch.get())
            }),
            time_limits: TimeLimits {
                per_token: self.max_time_per_token,
                to_first_token: self.max_time_to_first_token,
            },
            memory_share: self.memory_share,
            prompt_tokens: prompt.map_or_else(|| usual(output), NonZero::get),
            output_tokens: output.map_or_else(|| usual(prompt), NonZero::get),
            chunk_tokens: self.chunk_tokens.get(),
            kv_tokens: self
                .kv_tokens
                .map_or(KvTokens::AsManyAsFit, |tokens| KvTokens::Exactly(tokens.get())),
            memory_caps: self.max_memory.clone().unwrap_or_default().0,
            forbidden: self.forbid.iter().copied().collect(),
            keep_together: self.keep_together.clone(),
            placement: self
                .layers
                .as_ref()
                .map_or(Placement::Auto, |layers| Placement::Layers(layers.0.clone())),
        }
    }
}

fn kv_bytes(text: &str) -> Result<usize, &'static str> {
    match text {
        "8" => Ok(1),
        "16" => Ok(2),
        "32" => Ok(4),
        _ => Err("wanted 8, 16 or 32"),
    }
}

/// Parses a time above 0, in seconds or milliseconds.
fn time(text: &str) -> Result<Duration, &'static str> {
    let wanted = "wanted a time above 0 such as 50ms or 1.5s";
    let (number, unit_s) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').ok_or(wanted)?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| wanted)?;
    let time = Duration::try_from_secs_f64(number * unit_s).map_err(|_| wanted)?;
    if time.is_zero() { Err(wanted) } else { Ok(time) }
}

/// Parses a share, the same of every device.
fn memory_share(text: &str) -> Result<MemoryShare, &'static str> {
    let wanted = "wanted a number from 0 to 1, such as 0.9";
    let share: f64 = text.parse().map_err(|_| wanted)?;
    if !(0.0..=1.0).contains(&share) {
        return Err(wanted);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
    let percent = (share * 100.0).round() as u8;
    Ok(MemoryShare { gpu_percent: percent, host_percent: percent })
}

fn layer_range(text: &str) -> Result<LayerRange, &'static str> {
    let wanted = "wanted FIRST..END such as 0..4";
    let (start, end) = text.trim().split_once("..").ok_or(wanted)?;
    let number = |text: &str| text.trim().parse().map_err(|_| wanted);
    let layers = LayerRange { start: number(start)?, end: number(end)? };
    if layers.is_empty() { Err(wanted) } else { Ok(layers) }
}
