//! The arguments of `sluicegate maskbench`.

use std::{num::NonZero, path::PathBuf};

use clap::Args;
use sluicegate_constraint::{Extras, JsonOptions, PropertyOrder, Whitespace};

use super::count;

pub(crate) const AFTER_MASKBENCH: &str = "\
Examples:
  Every schema of a folder, with a summary at the end:
    sluicegate maskbench --model model.gguf maskbench/data

  The official test suite of JSON Schema, with the schemas that its tests refer to:
    sluicegate maskbench tests/draft2020-12 --remotes remotes

  A comparison with llguidance itself, everything as one JSON object:
    sluicegate maskbench --compare-llguidance --json maskbench/data > report.json

A file holds one object, or a list of them: {\"schema\": …, \"tests\": [{\"data\": …, \"valid\": true}]}.
An instance is accepted if each of its tokens is in the mask and an end token is in the last one.
Exit code: 0 for any result, 2 if the command line is invalid, 1 on any other failure.";

/// Runs schemas and their instances through the constraint engine: correctness and speed
#[derive(Debug, Args)]
pub(crate) struct MaskbenchArgs {
    /// Files, or folders with .json files in them
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The model whose tokens are used: an alias (smollm2, gemma3-270m), a .gguf file, a directory
    /// with tokenizer.json, or a repository of the Hugging Face hub. Weights are not read
    #[arg(long, value_name = "NAME", default_value = "smollm2")]
    pub(crate) model: String,
    /// Print one JSON object: a summary, and each schema with its tests
    #[arg(long)]
    pub(crate) json: bool,
    /// Files run at the same time, each in a thread, at least 1; only 1 gives reliable times
    #[arg(long, value_name = "N", default_value = "1", value_parser = count)]
    pub(crate) jobs: NonZero<usize>,
    /// A folder of schemas that others may refer to, as `http://localhost:1234/` and the path in it
    #[arg(long, value_name = "DIR")]
    pub(crate) remotes: Option<PathBuf>,
    /// Time plain llguidance on the same instances, alternating
    #[arg(long)]
    pub(crate) compare_llguidance: bool,
    #[command(flatten)]
    pub(crate) json_form: JsonFormArgs,
}

/// How JSON is formatted.
#[derive(Debug, Args)]
#[command(next_help_heading = "JSON")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch on the command line")]
pub(crate) struct JsonFormArgs {
    /// No whitespace between values [default: common formatting, a space or a line break after
    /// commas, colons and inside brackets]
    #[arg(long)]
    pub(crate) compact: bool,
    /// Any whitespace between values, as JSON allows
    #[arg(long, conflicts_with = "compact")]
    pub(crate) flexible: bool,
    /// Properties in any order
    #[arg(long)]
    pub(crate) any_order: bool,
    /// Properties always in the schema's order; without this, in any order if the grammar cannot
    /// express all that the schema requires of its objects
    #[arg(long, conflicts_with = "any_order")]
    pub(crate) schema_order: bool,
    /// The schema must follow OpenAI's rules for strict schemas: closed objects, all properties
    /// required
    #[arg(long)]
    pub(crate) strict: bool,
}

impl JsonFormArgs {
    /// Returns the switches that are set.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let Self { compact, flexible, any_order, schema_order, strict } = *self;
        let switches = [
            ("--compact", compact),
            ("--flexible", flexible),
            ("--any-order", any_order),
            ("--schema-order", schema_order),
            ("--strict", strict),
        ];
        switches.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name)
    }

    pub(crate) fn options(&self) -> JsonOptions {
        let whitespace = match (self.compact, self.flexible) {
            (true, _) => Whitespace::Compact,
            (false, true) => Whitespace::Flexible,
            (false, false) => Whitespace::Bounded,
        };
        let order = match (self.any_order, self.schema_order) {
            (true, _) => PropertyOrder::Any,
            (false, true) => PropertyOrder::Schema,
            (false, false) => PropertyOrder::Auto,
        };
        let extras = if self.strict { Extras::Strict } else { Extras::Specification };
        JsonOptions { whitespace, order, extras, ..JsonOptions::default() }
    }
}
