//! What may be said on the command line, and its help.

mod bench;
mod doctor;
mod maskbench;
mod plan;
mod schema;
mod simulate;
mod switches;

use std::{num::NonZero, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use sluicegate_constraint::Format;
use sluicegate_model::kv_pages::KvType;
use sluicegate_runtime::device::DeviceSelector;

pub(crate) use bench::{Against, BenchArgs, WorkloadArgs};
pub(crate) use doctor::DoctorArgs;
pub(crate) use maskbench::{JsonFormArgs, MaskbenchArgs};
pub(crate) use plan::{Goal, PlanArgs, PolicyArgs, TaskArgs};
pub(crate) use schema::{SchemaCheckArgs, SchemaCommand};
pub(crate) use simulate::SimulateArgs;
pub(crate) use switches::{PromptForm, Streaming};

use crate::{layers::StageLayers, memory::MemoryCaps, timeline::TimelineFile};

/// Runs one language model across several devices and lets through only output that a schema allows
#[derive(Debug, Parser)]
#[command(name = "sluicegate", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_long_help = AFTER_GENERATE, allow_negative_numbers = true)]
    Generate(Box<GenerateArgs>),
    #[command(after_long_help = plan::AFTER_PLAN)]
    Plan(Box<PlanArgs>),
    #[command(after_long_help = simulate::AFTER_SIMULATE)]
    Simulate(Box<SimulateArgs>),
    #[command(after_long_help = bench::AFTER_BENCH)]
    Bench(Box<BenchArgs>),
    #[command(after_long_help = maskbench::AFTER_MASKBENCH)]
    Maskbench(Box<MaskbenchArgs>),
    #[command(subcommand)]
    Schema(SchemaCommand),
    #[command(after_long_help = doctor::AFTER_DOCTOR)]
    Doctor(Box<DoctorArgs>),
}

const AFTER_GENERATE: &str = "\
Examples:
  JSON that a schema allows, from two logical devices of this processor:
    sluicegate generate --cpu-devices 2 --schema examples/schemas/character.json \"Describe a wizard.\"

  One of three words:
    sluicegate generate --choice positive --choice neutral --choice negative \"I love it. Sentiment:\"

  A model of your own, its layers placed by hand, and what crossed between the devices:
    sluicegate generate --model model.gguf --layers cpu:0=0..10,cpu:1=10..30 --ledger \"Hello\"

  Three random samples for each of two prompts, as one JSON object:
    sluicegate generate --samples 3 --temperature 0.8 --seed 7 --json \"A poem:\" \"A joke:\"

Text goes to stdout; progress, logs and the ledger's table go to stderr.
Exit code: 0 if all went well, 2 if the command line must change, 1 if anything else failed.

Environment:
  RUST_LOG          Which logs are shown, such as info or sluicegate_runtime=debug [default: warn]
  SLUICEGATE_CACHE  Where fetched models are kept [default: sluicegate in the user's cache folder]
  HF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE
                    As other tools of the Hugging Face hub understand them";

/// Generates text for one prompt or several, under a constraint if one is given.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What to answer or continue; several are run together. `-`, or none with a pipe on stdin,
    /// reads all of stdin as one prompt
    #[arg(value_name = "PROMPT")]
    pub(crate) prompts: Vec<String>,
    #[command(flatten)]
    pub(crate) form: PromptForm,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) constraint: ConstraintArgs,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which model, and where it runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model and devices")]
pub(crate) struct ModelArgs {
    /// An alias (smollm2, gemma3-270m), a .gguf file, a directory with config.json and
    /// *.safetensors, or a repository of the Hugging Face hub as OWNER/NAME; fetched once where it
    /// is not on this machine
    #[arg(long, value_name = "NAME", default_value = "smollm2")]
    pub(crate) model: String,
    /// Fills the model of a config.json, or of the one in a directory, with seeded numbers: to try a
    /// placement, its memory and its speed before the weights are here
    #[arg(long)]
    pub(crate) dummy_weights: bool,
    /// auto, cpu, cuda, or a list such as cuda:1 or cpu:0,cpu:1, in the order of the stages [default:
    /// auto, or the devices that --layers names]
    #[arg(long, value_name = "DEVICES")]
    pub(crate) device: Option<DeviceSelector>,
    /// How many logical CPU devices this machine shows: cpu:0, cpu:1, … [default: 1, or as many as
    /// --layers names]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) cpu_devices: Option<u32>,
    /// What devices may hold at most, such as cpu:0=300MiB,cpu:1=1GiB
    #[arg(long, value_name = "DEVICE=SIZE,…")]
    pub(crate) max_memory: Option<MemoryCaps>,
    /// Places the layers by hand, such as cpu:0=0..10,cpu:1=10..30: stages in order, all layers, the
    /// end not included. Logical CPU devices named here exist without --cpu-devices
    #[arg(long, value_name = "DEVICE=FIRST..END,…")]
    pub(crate) layers: Option<StageLayers>,
    /// What auto places for: the most tokens per second of several sequences at once, or the least
    /// time per token of one
    #[arg(long, value_name = "GOAL", value_enum, default_value_t = Goal::Throughput)]
    pub(crate) objective: Goal,
    /// In what the cache keeps keys and values: f32, or f16 or bf16 in half of the memory
    #[arg(long, value_name = "TYPE", default_value_t)]
    pub(crate) kv_type: KvType,
    /// Places the layers as a plan says that `plan --save` has kept
    #[arg(long, value_name = "FILE", conflicts_with_all = ["layers", "device", "max_memory"])]
    pub(crate) plan: Option<PathBuf>,
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
    /// Only text that this regular expression matches as a whole (Rust syntax)
    #[arg(long, allow_hyphen_values = true, group = "constraint")]
    pub(crate) regex: Option<String>,
    /// Only one of these texts; repeat the option for each (a comma is part of the text)
    #[arg(long, value_name = "TEXT", group = "constraint")]
    pub(crate) choice: Vec<String>,
    /// Only text of this shape: int, float, bool, date, time, datetime, uuid, email, ipv4, ipv6, uri
    #[arg(long, value_name = "NAME", group = "constraint")]
    pub(crate) format: Option<Format>,
    /// Only text of the grammar in this file, in llguidance's dialect of Lark
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) lark: Option<PathBuf>,
    /// Only text of the grammar in this file, in llama.cpp's notation
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) gbnf: Option<PathBuf>,
    /// Text with tagged, constrained parts, as the JSON in this file says in xgrammar's form
    #[arg(long, value_name = "FILE", group = "constraint")]
    pub(crate) structural_tag: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json_form: JsonFormArgs,
}

/// When an output ends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Length")]
pub(crate) struct LengthArgs {
    /// The most tokens of an output [default: 256, or what the model's context leaves]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_tokens: Option<NonZero<usize>>,
    /// Ends an output before this text; repeatable
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling (greedy unless an option here says otherwise)")]
pub(crate) struct SamplingArgs {
    /// Outputs per prompt; more than one are drawn at random. With --beams: how many of the best
    /// beams are printed
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) samples: u16,
    /// Keeps the N likeliest texts at each step, and prints the best
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256),
        conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    pub(crate) beams: Option<u16>,
    /// Draws tokens at random: below 1 likelier ones more often, above 1 less often; 0 is greedy
    /// [default for a random draw: 1]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    pub(crate) temperature: Option<f32>,
    /// Draws only from the K likeliest tokens
    #[arg(long, value_name = "K", value_parser = count)]
    pub(crate) top_k: Option<NonZero<usize>>,
    /// Draws only from the fewest likeliest tokens whose probabilities add up to P
    #[arg(long, value_name = "P", value_parser = share)]
    pub(crate) top_p: Option<f32>,
    /// Draws only from tokens that are at least P times as likely as the likeliest
    #[arg(long, value_name = "P", value_parser = fraction)]
    pub(crate) min_p: Option<f32>,
    /// Makes tokens of prompt and output less likely; 1 changes nothing
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive)]
    pub(crate) repetition_penalty: f32,
    /// Makes tokens less likely each time that they were generated; 0 changes nothing
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number)]
    pub(crate) frequency_penalty: f32,
    /// Makes tokens less likely once they were generated; 0 changes nothing
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number)]
    pub(crate) presence_penalty: f32,
    /// Start of the random numbers: the same call with the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = seed)]
    pub(crate) seed: u64,
}

/// What is printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) streaming: Streaming,
    /// Print one JSON object: model, plan, outputs, usage, timings and ledger
    #[arg(long, conflicts_with = "stream")]
    pub(crate) json: bool,
    /// Print what crossed between the devices, as a table on stderr
    #[arg(long)]
    pub(crate) ledger: bool,
    /// Write what every stage did when: .svg for people, .json as a trace for tools
    #[arg(long, value_name = "FILE.svg|FILE.json")]
    pub(crate) timeline: Option<TimelineFile>,
}

fn count(text: &str) -> Result<NonZero<usize>, &'static str> {
    text.parse().map_err(|_| "wanted a whole number of at least 1")
}

fn seed(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "wanted a whole number of at least 0")
}

fn number(text: &str) -> Result<f32, &'static str> {
    text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or("wanted a number")
}

fn not_negative(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|number| *number >= 0.0).ok_or("wanted 0 or a number above it")
}

fn positive(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|number| *number > 0.0).ok_or("wanted a number above 0")
}

fn fraction(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|number| (0.0..=1.0).contains(number)).ok_or("wanted 0 to 1")
}

fn share(text: &str) -> Result<f32, &'static str> {
    fraction(text).ok().filter(|share| *share > 0.0).ok_or("wanted a number above 0, at most 1")
}

/// What `generate x` and these arguments mean, for tests.
#[cfg(test)]
pub(crate) fn parse_generate(given: &[&str]) -> GenerateArgs {
    let given = ["sluicegate", "generate", "x"].iter().chain(given);
    match Cli::try_parse_from(given).expect("the arguments parse").command {
        Command::Generate(args) => *args,
        _ => panic!("generate was asked for"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<GenerateArgs, clap::Error> {
        let cli = Cli::try_parse_from(["sluicegate", "generate"].iter().chain(args))?;
        let Command::Generate(args) = cli.command else { panic!("generate was asked for") };
        Ok(*args)
    }

    #[track_caller]
    fn check_refused(args: &[&str], want: &str) {
        let error = parse(args).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn the_command_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_options_of_the_command_are_there() {
        let args = [
            "--model",
            "m.gguf",
            "--device",
            "cpu:0,cpu:1",
            "--cpu-devices",
            "2",
            "--max-memory",
            "cpu:0=300MiB",
            "--kv-type",
            "f16",
            "--layers",
            "cpu:0=0..1",
            "--schema",
            "{}",
            "--max-tokens",
            "9",
            "--stop",
            "a",
            "--stop",
            "b,c",
            "--samples",
            "2",
            "--temperature",
            "0.5",
            "--top-k",
            "3",
            "--top-p",
            "0.9",
            "--min-p",
            "0.1",
            "--repetition-penalty",
            "1.1",
            "--frequency-penalty",
            "-0.5",
            "--presence-penalty",
            "0.5",
            "--seed",
            "7",
            "--raw",
            "--no-stream",
            "--json",
            "--ledger",
            "one",
            "two",
        ];
        let args = parse(&args).unwrap();
        assert_eq!(args.prompts, ["one", "two"]);
        assert_eq!(args.length.stop, ["a", "b,c"]);
        assert_eq!(args.form, PromptForm::Raw);
        assert_eq!(args.output.streaming, Streaming::Off);
        assert!((args.sampling.frequency_penalty + 0.5).abs() < f32::EPSILON);
        let args = parse(&["--beams", "4", "--choice", "a,b", "--choice", "-1", "--chat", "-"]);
        let args = args.unwrap();
        assert_eq!(args.constraint.choice, ["a,b", "-1"]);
        assert_eq!((args.prompts, args.form), (vec!["-".to_owned()], PromptForm::Chat));
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        check_refused(&["--chat", "--raw", "x"], "'--chat' cannot be used with '--raw'");
        check_refused(&["--stream", "--no-stream"], "cannot be used with");
        check_refused(&["--json", "--stream"], "'--json' cannot be used with '--stream'");
        check_refused(&["--beams", "2", "--temperature", "1"], "cannot be used with");
        check_refused(&["--schema", "s", "--choice", "a"], "cannot be used with");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        check_refused(
            &["--temperature", "-1"],
            "'--temperature <X>': wanted 0 or a number above it",
        );
        check_refused(&["--seed", "-1"], "'--seed <N>': wanted a whole number of at least 0");
        check_refused(&["--temperature", "nan"], "wanted 0 or a number above it");
        check_refused(&["--top-p", "0"], "wanted a number above 0, at most 1");
        check_refused(&["--min-p", "2"], "wanted 0 to 1");
        check_refused(&["--samples", "0"], "0 is not in 1..=256");
        check_refused(&["--max-tokens", "0"], "wanted a whole number of at least 1");
        check_refused(&["--top-k", "1.5"], "wanted a whole number of at least 1");
        check_refused(&["--cpu-devices", "257"], "257 is not in 1..=256");
        check_refused(&["--device", "gpu"], "`gpu` is no device selector");
        check_refused(&["--stop", ""], "--stop");
    }
}
