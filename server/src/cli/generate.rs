//! The arguments of `sluicegate generate`.

use std::num::NonZero;

use clap::Args;

use super::{BatchArgs, ConstraintArgs, ModelArgs, PromptForm, RecordArgs, Streaming, count};
use crate::timeline::TimelineFile;

pub(crate) const AFTER_GENERATE: &str = "\
Examples:
  JSON that a schema allows, from two logical devices of this processor:
    sluicegate generate --cpu-devices 2 --schema examples/schemas/character.json \"Describe a wizard.\"

  One of three words:
    sluicegate generate --choice positive --choice neutral --choice negative \"I love it. Sentiment:\"

  A model of your own, its layers placed by hand, and the transfers between the devices:
    sluicegate generate --model model.gguf --layers cpu:0=0..10,cpu:1=10..30 --ledger \"Hello\"

  Three random samples for each of two prompts, as one JSON object:
    sluicegate generate --samples 3 --temperature 0.8 --seed 7 --json \"A poem:\" \"A joke:\"

  A file of prompts with their own options, answered together; an interrupted run continues:
    sluicegate generate --batch-file in.jsonl --output out.jsonl

Each line of a --batch-file is an object with a prompt and, optionally, schema, max_tokens, seed and
id (a text or a whole number; default: the line's number). Each line of its output has the id and
either outputs and usage, as in --json, or an error; lines come in the order in which they finish.
Text goes to stdout; progress, logs and the ledger's table go to stderr.
Exit code: 0 on success, 2 if the command line is invalid, 1 on any other failure.

Environment:
  RUST_LOG          Which logs are shown, such as info or sluicegate=debug [default: warn]
  SLUICEGATE_CACHE  Where fetched models are kept [default: sluicegate in the user's cache folder]
  HF_TOKEN, HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE
                    As other tools of the Hugging Face hub understand them";

/// Generates text for one prompt or several, under a constraint if one is given
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What to answer or continue; several are run together. `-`, or none with a pipe on stdin,
    /// reads all of stdin as one prompt
    #[arg(value_name = "PROMPT")]
    pub(crate) prompts: Vec<String>,
    #[command(flatten)]
    pub(crate) form: PromptForm,
    /// A system message before each prompt, through the model's chat template
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Threads of each stage on a CPU, 1 to 256 [default: all cores for a single stage, one for
    /// each of several]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256),
        help_heading = "Model and devices")]
    pub(crate) threads: Option<u16>,
    #[command(flatten)]
    pub(crate) constraint: ConstraintArgs,
    #[command(flatten)]
    pub(crate) length: LengthArgs,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

/// When an output ends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Length")]
pub(crate) struct LengthArgs {
    /// The most tokens of an output, at least 1 [default: 256, or less if the context is full]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) max_tokens: Option<NonZero<usize>>,
    /// The most tokens of prompt and output together, at least 2 [default: the model's context]
    #[arg(long, value_name = "N", value_parser = context)]
    pub(crate) max_context: Option<usize>,
    /// Tokens before an end token may be chosen, at least 0
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32))]
    pub(crate) min_tokens: u32,
    /// Never chooses an end token: outputs end at --max-tokens, at a --stop or with their
    /// constraint
    #[arg(long, conflicts_with = "min_tokens")]
    pub(crate) ignore_eos: bool,
    /// Ends an output before this text; repeatable
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) stop: Vec<String>,
}

/// How tokens are chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling (greedy unless an option here says otherwise)")]
pub(crate) struct SamplingArgs {
    /// Outputs per prompt, 1 to 256; more than one are drawn at random. With --beams: how many of
    /// the best beams are printed
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) samples: u16,
    /// Keeps the N most likely texts at each step, 1 to 256, and prints the best
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256),
        conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    pub(crate) beams: Option<u16>,
    /// Ranks beams by their score divided by this power of their length in tokens, -10 to 10: above
    /// 0 favours longer texts, below 0 shorter ones [default: 0]
    #[arg(long, value_name = "X", value_parser = length_penalty, requires = "beams")]
    pub(crate) length_penalty: Option<f32>,
    /// Draws tokens at random, at least 0: below 1 favours likely tokens, above 1 unlikely ones; 0
    /// is greedy [default for a random draw: 1]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    pub(crate) temperature: Option<f32>,
    /// Draws only from the K most likely tokens, at least 1
    #[arg(long, value_name = "K", value_parser = count)]
    pub(crate) top_k: Option<NonZero<usize>>,
    /// Draws only from the fewest most likely tokens whose probabilities add up to P, above 0 and
    /// at most 1
    #[arg(long, value_name = "P", value_parser = share)]
    pub(crate) top_p: Option<f32>,
    /// Draws only from tokens at least P times as likely as the most likely one, 0 to 1
    #[arg(long, value_name = "P", value_parser = fraction)]
    pub(crate) min_p: Option<f32>,
    /// Makes tokens of prompt and output less likely, 0.01 to 100; 1 changes nothing
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = repetition)]
    pub(crate) repetition_penalty: f32,
    /// Makes tokens less likely each time they are generated, -100 to 100; 0 changes nothing
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = penalty)]
    pub(crate) frequency_penalty: f32,
    /// Makes tokens less likely once they are generated, -100 to 100; 0 changes nothing
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = penalty)]
    pub(crate) presence_penalty: f32,
    /// Seed of the random numbers, at least 0: the same call with the same seed gives the same text
    /// [default: 0]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub(crate) seed: Option<u64>,
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
    /// Add the natural logarithm of each token's probability, and the N most likely tokens at its
    /// position, 0 to 20, to the output of --json or --batch-file; with --beams 0
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=20))]
    pub(crate) logprobs: Option<u8>,
    /// Print each prompt as the model gets it, its text and its tokens' ids, on stderr
    #[arg(long)]
    pub(crate) show_prompt: bool,
    /// Print the transfers between devices, as a table on stderr
    #[arg(long)]
    pub(crate) ledger: bool,
    /// Write a timeline of every stage: .svg for people, .json as a trace for tools
    #[arg(long, value_name = "FILE.svg|FILE.json")]
    pub(crate) timeline: Option<TimelineFile>,
}

fn seed(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| "wanted a whole number of at least 0")
}

/// At least one token each of prompt and output.
fn context(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|it| *it >= 2).ok_or("wanted a whole number of at least 2")
}

fn number(text: &str) -> Result<f32, &'static str> {
    text.parse().ok().filter(|number: &f32| number.is_finite()).ok_or("wanted a number")
}

fn not_negative(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|number| *number >= 0.0).ok_or("wanted 0 or a number above it")
}

fn repetition(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|it| (0.01..=100.0).contains(it)).ok_or("wanted 0.01 to 100")
}

fn penalty(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|it| (-100.0..=100.0).contains(it)).ok_or("wanted -100 to 100")
}

fn length_penalty(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|it| (-10.0..=10.0).contains(it)).ok_or("wanted -10 to 10")
}

fn fraction(text: &str) -> Result<f32, &'static str> {
    number(text).ok().filter(|number| (0.0..=1.0).contains(number)).ok_or("wanted 0 to 1")
}

fn share(text: &str) -> Result<f32, &'static str> {
    fraction(text).ok().filter(|share| *share > 0.0).ok_or("wanted a number above 0, at most 1")
}

/// Parses `generate x` with these arguments, for tests.
#[cfg(test)]
pub(crate) fn parse_generate(given: &[&str]) -> GenerateArgs {
    use super::{Cli, Command};
    use clap::Parser;

    let given = ["sluicegate", "generate", "x"].iter().chain(given);
    match Cli::try_parse_from(given).expect("the arguments parse").command {
        Command::Generate(args) => *args,
        _ => panic!("generate was asked for"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

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
            "--min-tokens",
            "2",
            "--max-context",
            "99",
            "--threads",
            "2",
            "--show-prompt",
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
        check_refused(&["--raw", "--system", "s"], "cannot be used with");
        check_refused(&["--batch-file", "a", "--output", "b", "x"], "cannot be used with");
        check_refused(&["--batch-file", "a", "--output", "b", "--json"], "cannot be used with");
        check_refused(&["--batch-file", "a"], "--output <OUT.jsonl>");
        check_refused(&["--output", "a"], "--batch-file <IN.jsonl>");
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
        check_refused(&["--max-context", "1"], "wanted a whole number of at least 2");
        check_refused(&["--threads", "0"], "0 is not in 1..=256");
        check_refused(
            &["--repetition-penalty", "0"],
            "'--repetition-penalty <X>': wanted 0.01 to 100",
        );
        check_refused(&["--presence-penalty", "101"], "wanted -100 to 100");
    }
}
