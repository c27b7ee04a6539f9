//! The arguments of `sluicegate generate --batch-file`.

use std::path::PathBuf;

use clap::Args;

/// Many prompts from one file, their outputs to another.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct BatchArgs {
    /// Answers every line of a file, an object with a prompt and its own options (see below). The
    /// other options apply to lines without their own
    #[arg(long, value_name = "IN.jsonl", requires = "output", conflicts_with_all = ["prompts",
        "stream", "no-stream", "json", "show_prompt", "timeline"])]
    pub(crate) batch_file: Option<PathBuf>,
    /// The file for the outputs, a line each. Lines whose id is already there are not run again
    #[arg(long, value_name = "OUT.jsonl", requires = "batch_file")]
    pub(crate) output: Option<PathBuf>,
}
