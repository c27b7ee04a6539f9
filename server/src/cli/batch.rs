//! The arguments of `sluicegate generate --batch-file`.

use std::path::PathBuf;

use clap::Args;

/// Many prompts from a file, their outputs into another.
#[derive(Debug, Args)]
#[command(next_help_heading = "Batch")]
pub(crate) struct BatchArgs {
    /// Answers every line of a file, an object with a prompt and what else it needs (see below). The
    /// other options hold for lines that say nothing else
    #[arg(long, value_name = "IN.jsonl", requires = "output", conflicts_with_all = ["prompts",
        "stream", "no-stream", "json", "show_prompt", "timeline"])]
    pub(crate) batch_file: Option<PathBuf>,
    /// Where the outputs go, a line each. Lines whose id is there already are not run again
    #[arg(long, value_name = "OUT.jsonl", requires = "batch_file")]
    pub(crate) output: Option<PathBuf>,
}
