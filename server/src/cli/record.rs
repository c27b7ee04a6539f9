//! Recording what the serving loop is told, and telling it again.

use std::path::PathBuf;

use clap::Args;

pub(crate) const AFTER_REPLAY: &str = "\
Examples:
  Record a run, and look whether the loop still does the same:
    sluicegate generate --record run.jsonl 'Say hello.'
    sluicegate replay run.jsonl

No model is needed, and any machine will do. Exit codes: 0 where every input led to the recorded
actions, 1 at the first that did not, 2 where the file is no journal.";

/// Where a journal goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Journal")]
pub(crate) struct RecordArgs {
    /// Writes down what the serving loop is told, for `replay`; at most 256 MiB
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) record: Option<PathBuf>,
    /// Leaves prompts out of it; outputs are there all the same
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
