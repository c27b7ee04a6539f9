//! The arguments of `sluicegate simulate`.

use std::num::NonZero;

use clap::Args;

use super::{
    count,
    plan::{PolicyArgs, TaskArgs},
};
use crate::timeline::TimelineFile;

pub(crate) const AFTER_SIMULATE: &str = "\
Examples:
  How would Llama 3 70B serve four requests a second on four H100s?
    sluicegate simulate --model config.json --cluster \"4x h100 nvlink\" --batch 64 \\
      --workload \"rate=4/s prompt=512 output=128 n=200\"

  Half of the requests under a schema, all with the same first 256 tokens, drawn as a timeline:
    sluicegate simulate --model config.json --cluster \"2x rtx4090, pcie4\" --timeline out.svg \\
      --workload \"rate=2/s prompt=512 output=128 n=50 constrained=0.5 shared=256\"

  Requests from a file, every figure as JSON, and a trace for chrome://tracing or Perfetto:
    sluicegate simulate --model config.json --cluster cluster.toml --workload requests.jsonl --json \\
      --timeline out.json

Words of a workload: rate=N/s or N/min (Poisson arrivals; without it all come at once), prompt=TOKENS,
output=TOKENS, n=REQUESTS, samples=N or beams=N, constrained=SHARE, shared=TOKENS, seed=N.
Each line of a file is a JSON object: arrival_s, prompt_tokens, output_tokens, and optionally
samples, beams, constrained, shared_prefix_tokens, priority.
The scheduler is the production one; the planner's model predicts the times. No weights are read and
no device is opened for a --cluster. Exit codes as for generate.";

/// Simulates the serving of a workload: production scheduler, predicted times
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    pub(crate) task: TaskArgs,
    /// The requests: a file of JSON lines, or words such as `rate=4/s prompt=512 output=128 n=200`
    #[arg(long, value_name = "FILE|WORDS")]
    pub(crate) workload: String,
    /// The time for the mask of a constrained row, in microseconds, 0 to 1000000
    #[arg(long, value_name = "N", default_value_t = 50,
        value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) mask_us: u32,
    /// Threads that compute masks, at least 1
    #[arg(long, value_name = "N", default_value = "2", value_parser = count)]
    pub(crate) mask_workers: NonZero<usize>,
    #[command(flatten)]
    pub(crate) policy: PolicyArgs,
    #[command(flatten)]
    pub(crate) output: SimulateOutputArgs,
}

/// What is printed and written.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct SimulateOutputArgs {
    /// Print one JSON object with all figures
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a timeline of every stage: .svg for people, .json as a trace for tools
    #[arg(long, value_name = "FILE.svg|FILE.json")]
    pub(crate) timeline: Option<TimelineFile>,
}
