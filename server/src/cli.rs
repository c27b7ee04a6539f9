//! The arguments of the command line, and its help.

mod batch;
mod bench;
mod devices;
mod doctor;
mod generate;
mod maskbench;
mod plan;
mod record;
mod schema;
mod simulate;
mod switches;

use std::{num::NonZero, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sluicegate::device::{DeviceSelector, Routes};
use sluicegate_constraint::Format;
use sluicegate_spec::kv::KvType;

pub(crate) use batch::BatchArgs;
pub(crate) use bench::{Against, BenchArgs, WorkloadArgs};
pub(crate) use devices::DevicesArgs;
pub(crate) use doctor::DoctorArgs;
#[cfg(test)]
pub(crate) use generate::parse_generate;
pub(crate) use generate::{GenerateArgs, LengthArgs, SamplingArgs};
pub(crate) use maskbench::{JsonFormArgs, MaskbenchArgs};
pub(crate) use plan::{Goal, PlanArgs, PolicyArgs, TaskArgs};
pub(crate) use record::{RecordArgs, ReplayArgs};
pub(crate) use schema::{SchemaCheckArgs, SchemaCommand};
pub(crate) use simulate::SimulateArgs;
pub(crate) use switches::{DevicesForm, PromptForm, Streaming};

use crate::{layers::StageLayers, memory::MemoryCaps};

/// Runs one language model across several devices and allows only output that matches a schema
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_long_help = generate::AFTER_GENERATE, allow_negative_numbers = true)]
    Generate(Box<GenerateArgs>),
    #[command(after_long_help = plan::AFTER_PLAN)]
    Plan(Box<PlanArgs>),
    #[command(after_long_help = simulate::AFTER_SIMULATE)]
    Simulate(Box<SimulateArgs>),
    #[command(after_long_help = record::AFTER_REPLAY)]
    Replay(ReplayArgs),
    #[command(after_long_help = bench::AFTER_BENCH)]
    Bench(Box<BenchArgs>),
    #[command(after_long_help = maskbench::AFTER_MASKBENCH)]
    Maskbench(Box<MaskbenchArgs>),
    #[command(subcommand)]
    Schema(SchemaCommand),
    #[command(after_long_help = devices::AFTER_DEVICES)]
    Devices(DevicesArgs),
    #[command(after_long_help = doctor::AFTER_DOCTOR)]
    Doctor(Box<DoctorArgs>),
}

/// The model, and where it runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model and devices")]
pub(crate) struct ModelArgs {
    /// An alias (smollm2, gemma3-270m), a .gguf file, a directory with config.json and
    /// *.safetensors, or a repository of the Hugging Face hub as OWNER/NAME; fetched once if it is
    /// not on this machine
    #[arg(long, value_name = "NAME", default_value = "smollm2")]
    pub(crate) model: String,
    /// Fills the model of a config.json, or of the one in a directory, with seeded random numbers:
    /// to try a placement, its memory and its speed before the weights are available
    #[arg(long)]
    pub(crate) dummy_weights: bool,
    /// auto, cpu, cuda, or a list such as cuda:1 or cpu:0,cpu:1, in the order of the stages
    /// [default: auto, or the devices in --layers]
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device: Option<DeviceSelector>,
    /// How many logical CPU devices this machine has, 1 to 256: cpu:0, cpu:1, … [default: 1, or as
    /// many as --layers uses]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cpu_devices: Option<u32>,
    /// The most memory to use on devices, such as cpu:0=300MiB,cpu:1=1GiB
    #[arg(long, value_name = "DEVICE=SIZE,…")]
    pub(crate) max_memory: Option<MemoryCaps>,
    /// Places the layers by hand, such as cpu:0=0..10,cpu:1=10..30: stages in order, all layers,
    /// ends not included. Logical CPU devices named here exist without --cpu-devices
    #[arg(long, value_name = "DEVICE=FIRST..END,…")]
    pub(crate) layers: Option<StageLayers>,
    /// What auto optimises: the most tokens per second of several sequences at once, or the least
    /// time per token of one
    #[arg(long, value_name = "GOAL", value_enum, default_value_t = Goal::Throughput)]
    pub(crate) objective: Goal,
    /// How hidden values go from GPU to GPU
    #[arg(long, value_name = "ROUTE", value_enum, default_value_t)]
    pub(crate) route: RouteChoice,
    /// The type of keys and values in the cache: f32, or f16 or bf16 with half the memory
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub(crate) kv_type: KvType,
    /// Places the layers according to a plan saved by `plan --save`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["layers", "device", "max_memory", "route"])]
    pub(crate) plan: Option<PathBuf>,
}

/// How hidden values go from GPU to GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RouteChoice {
    /// From memory to memory where NVML says that the GPUs can, else through the host
    #[default]
    Best,
    /// From memory to memory, whatever NVML says
    Peer,
    /// From memory to memory by NCCL, which must be installed
    Nccl,
    /// Through the host's memory
    Host,
}

impl From<RouteChoice> for Routes {
    fn from(choice: RouteChoice) -> Self {
        match choice {
            RouteChoice::Best => Self::Best,
            RouteChoice::Peer => Self::Peer,
            RouteChoice::Nccl => Self::Nccl,
            RouteChoice::Host => Self::Host,
        }
    }
}

/// What the output must look like.
#[derive(Debug, Args)]
#[command(next_help_heading = "Constraint")]
pub(crate) struct ConstraintArgs {
    /// Only JSON that this JSON Schema allows: a file, or the schema itself if it starts with `{`
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) schema: Option<String>,
    /// Only a JSON object
    #[arg(long, group = "constraint")]
    pub(crate) json_object: bool,
    /// Only text that this regular expression matches completely (Rust syntax)
    #[arg(long, allow_hyphen_values = true, group = "constraint")]
    pub(crate) regex: Option<String>,
    /// Only one of these texts; repeat the option for each (a comma is part of the text)
    #[arg(long, value_name = "TEXT", group = "constraint")]
    pub(crate) choice: Vec<String>,
    /// Only text of this format: int, float, bool, date, time, datetime, uuid, email, ipv4, ipv6,
    /// uri
    #[arg(long, value_name = "NAME", group = "constraint")]
    pub(crate) format: Option<Format>,
    /// Only text of the grammar in this file, in llguidance's dialect of Lark
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) lark: Option<PathBuf>,
    /// Only text of the grammar in this file, in llama.cpp's GBNF notation
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) gbnf: Option<PathBuf>,
    /// Text with tagged, constrained parts, described by the JSON in this file in xgrammar's format
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) structural_tag: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json_form: JsonFormArgs,
}

fn count(text: &str) -> Result<NonZero<usize>, &'static str> {
    text.parse().map_err(|_| "wanted a whole number of at least 1")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_holds_together() {
        Cli::command().debug_assert();
    }

    fn check_help(command: &clap::Command) {
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let name =
                arg.get_value_names().unwrap_or_default().first().map(clap::builder::Str::as_str);
            if !name.is_some_and(|it| ["N", "N,…", "X", "K", "P", "BITS"].contains(&it)) {
                continue;
            }
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let ranges = ["at least ", "1 to ", "0 to ", "0.01 to ", "above 0", "8, 16 or 32"];
            assert!(
                ranges.iter().any(|range| help.contains(range)),
                "{} {}: {help}",
                command.get_name(),
                arg.get_id()
            );
        }
        command.get_subcommands().for_each(check_help);
    }

    #[test]
    fn the_help_says_which_numbers_an_option_takes() {
        check_help(&Cli::command());
    }
}
