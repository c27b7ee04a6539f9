//! The arguments of `sluicegate bench`.

use std::num::NonZero;

use clap::{Args, ValueEnum};
use sluicegate::engine::Limits;

use super::{ConstraintArgs, ModelArgs, RecordArgs, count};
use crate::timeline::TimelineFile;

pub(crate) const AFTER_BENCH: &str = "\
Examples:
  Tokens per second for 1 to 32 requests at once, on two logical devices of this processor:
    sluicegate bench --cpu-devices 2

  16 requests on them, against two single-threaded engines with half of the requests each, one
  device with two threads, and the same under a constraint:
    sluicegate bench --cpu-devices 2 --against ceiling,threads,constraint

  One request over two stages, where the planner would use one, against one stage with one thread:
    sluicegate bench --layers cpu:0=0..15,cpu:1=15..30 --against inline --concurrency 1

Each figure is the median of the runs, with the least and the most. The sides of a comparison take
turns. Each turn is a process of its own that loads, warms up and ends before the next begins; a
ratio compares turns of the same round. Measure on a machine that does nothing else.
Exit codes as for generate.";

/// Measures a running model: tokens per second, and comparisons with other placements
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    /// What to compare the placement with. ceiling: as many single-threaded engines as there are
    /// stages, at the same time, each with its share of the requests. threads: one stage with as
    /// many threads as there are stages. inline: one stage with one thread. constraint: the same
    /// placement under a constraint
    #[arg(long, value_name = "SIDE,…", value_delimiter = ',', value_enum)]
    pub(crate) against: Vec<Against>,
    #[command(flatten)]
    pub(crate) constraint: ConstraintArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Write a timeline of every stage, with the most requests in the last run: .svg for people,
    /// .json as a trace for tools
    #[arg(long, value_name = "FILE.svg|FILE.json")]
    pub(crate) timeline: Option<TimelineFile>,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
    /// Measure the task on stdin: how the command calls itself
    #[arg(long, hide = true)]
    pub(crate) measure: bool,
}

/// The requests, and how often they are run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Workload")]
pub(crate) struct WorkloadArgs {
    /// Requests at the same time, each 1 to 1024 [default: 1,2,4,8,16,32; with --against 16]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = concurrency)]
    pub(crate) concurrency: Vec<NonZero<usize>>,
    /// Tokens of a prompt, at least 1; no two prompts begin alike
    #[arg(long, value_name = "N", default_value = "32", value_parser = count)]
    pub(crate) prompt_tokens: NonZero<usize>,
    /// Tokens of an output, at least 1; no output ends earlier by itself
    #[arg(long, value_name = "N", default_value = "64", value_parser = count)]
    pub(crate) output_tokens: NonZero<usize>,
    /// How often each side is measured, at least 1
    #[arg(long, value_name = "N", default_value = "5", value_parser = count)]
    pub(crate) runs: NonZero<usize>,
}

/// Parses a number of requests; an engine refuses more than that at the same time.
fn concurrency(text: &str) -> Result<NonZero<usize>, String> {
    let most = Limits::default().max_waiting;
    let number = count(text).ok().filter(|number| number.get() <= most);
    number.ok_or_else(|| format!("wanted a whole number from 1 to {most}"))
}

/// The other side of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Against {
    Ceiling,
    Threads,
    Inline,
    Constraint,
}

impl WorkloadArgs {
    /// Returns the numbers of requests to measure, each once.
    pub(crate) fn concurrencies(&self, compares: bool) -> Vec<usize> {
        let mut wanted: Vec<usize> = self.concurrency.iter().map(|it| it.get()).collect();
        if wanted.is_empty() {
            wanted = if compares { vec![16] } else { vec![1, 2, 4, 8, 16, 32] };
        }
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }
}
