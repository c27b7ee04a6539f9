//! The arguments of `sluicegate schema`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::maskbench::JsonFormArgs;

const AFTER_CHECK: &str = "\
Examples:
  Is the schema supported, and what is not enforced?
    sluicegate schema check --schema examples/schemas/character.json

  Are these values accepted, and if not, where do they fail?
    sluicegate schema check --schema schema.json --instance value.json --instance '{\"age\": 5}'

  The same token by token, with the number of allowed tokens at each:
    sluicegate schema check --schema schema.json --instance value.json --trace

An instance is checked byte for byte, including the line break at the end of a file.
Exit code: 0 if all are accepted, 1 if one is refused, 2 if the schema or command line is invalid.";

/// Explains how the constraint engine handles a schema
#[derive(Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    #[command(after_long_help = AFTER_CHECK)]
    Check(Box<SchemaCheckArgs>),
}

/// Compiles a schema, and reports for each instance whether it is accepted, or where it is refused
#[derive(Debug, Args)]
pub(crate) struct SchemaCheckArgs {
    /// The model whose tokens are used: an alias (smollm2, gemma3-270m), a .gguf file, a directory
    /// with tokenizer.json, or a repository of the Hugging Face hub. Weights are not read
    #[arg(long, value_name = "NAME", default_value = "smollm2")]
    pub(crate) model: String,
    /// A JSON Schema: a file, or the schema itself if it starts with `{`
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: String,
    /// A value to check: a file, or JSON; repeatable
    #[arg(long = "instance", value_name = "FILE|JSON", allow_hyphen_values = true)]
    pub(crate) instances: Vec<String>,
    /// A folder of schemas that others may refer to, as `http://localhost:1234/` and the path in it
    #[arg(long, value_name = "DIR")]
    pub(crate) remotes: Option<PathBuf>,
    /// Print each token: whether it is allowed, and how many others are
    #[arg(long)]
    pub(crate) trace: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) json_form: JsonFormArgs,
}
