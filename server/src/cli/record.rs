//! Recording what the serving loop is told, and telling it again.

use std::path::PathBuf;

use clap::Args;

pub(crate) const AFTER_REPLAY: &str = "\
Examples:
  Record a run, and look whether the loop still does the same:
    sluicegate generate --record run.jsonl 'Say hello.'
    sluicegate replay run.jsonl

Neither the model nor its devices are needed. Exit codes: 0 where every input led to the recorded
actions, 1 at the first that did not, 2 where the file cannot be read, or is no journal of this version.";

/// Where a journal goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Journal")]
pub(crate) struct RecordArgs {
    /// Writes down what the serving loop is told, for `replay`, in place of what the file held; at most
    /// 256 MiB. bench: of the most requests in the last run
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) record: Option<PathBuf>,
    /// Puts others in the place of prompts, which are as long and begin alike where they did; outputs
    /// are there all the same
    #[arg(long, requires = "record")]
    pub(crate) record_without_prompts: bool,
}

/// Tells a serving loop again what a journal says, and looks whether it does the same.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A file that --record wrote
    #[arg(value_name = "FILE.jsonl")]
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
