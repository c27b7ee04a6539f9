//! The arguments that record the inputs of the serving loop, and those of `sluicegate replay`.

use std::path::PathBuf;

use clap::Args;

pub(crate) const AFTER_REPLAY: &str = "\
Examples:
  Record a run, and check that the loop still does the same:
    sluicegate generate --record run.jsonl 'Say hello.'
    sluicegate replay run.jsonl

Neither the model nor its devices are needed. Exit codes: 0 if every input leads to the recorded
actions, 1 if one does not, 2 if the file cannot be read or is not a journal of this version.";

/// The file of a journal.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Journal")]
pub(crate) struct RecordArgs {
    /// Records the inputs of the serving loop for `replay`, and replaces the file's contents; at
    /// most 256 MiB. bench: those with the most requests in the last run
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) record: Option<PathBuf>,
    /// Replaces prompts by others of the same length, with the same shared beginnings; outputs are
    /// recorded
    #[arg(long, requires = "record")]
    pub(crate) record_without_prompts: bool,
}

/// Repeats a recorded run of the serving loop, and checks that it does the same
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// A file written by --record
    #[arg(value_name = "FILE.jsonl")]
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
