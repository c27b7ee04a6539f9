//! `sluicegate generate`: from arguments to printed text.

use std::{
    io::{self, Write},
    num::NonZero,
    path::Path,
    time::Instant,
};

use anyhow::{Context, anyhow};
use sluicegate::{
    Completion, Engine, Generation, Request, engine::SubmitError, request::WrittenPrompt,
    stream::FinishReason,
};
use sluicegate_constraint::{Spec, SpecError};
use sluicegate_model::{error::SourceError, open::Model, source::ModelSource};
use sluicegate_placement::{Plan, Purpose};
use sluicegate_spec::device::DeviceId;

use crate::{
    cli::{GenerateArgs, ModelArgs, Streaming},
    counted::counted,
    error::CliError,
    place, print, progress, prompts, replay,
    report::{Report, Run},
    request::{self, Wanted},
};

/// Runs the command; `started` is the start time of the process.
///
/// # Errors
/// [`CliError::Usage`] for invalid arguments.
pub(crate) fn run(args: &GenerateArgs, started: Instant) -> Result<(), CliError> {
    // Cheap checks come first: nothing is fetched or loaded for an invalid call.
    if args.batch.output.is_some() {
        return Err(CliError::usage_at(
            "--output",
            anyhow!("wanted --batch-file, too, and no prompt"),
        ));
    }
    request::check(args)?;
    if args.output.logprobs.is_some() && !args.output.json {
        let error = anyhow!("wanted --json or --batch-file, too: plain text cannot show them");
        return Err(CliError::usage_at("--logprobs", error));
    }
    let constraint = args.constraint.spec()?;
    args.constraint.warn_of_idle();
    let prompts = prompts::read(&args.prompts)?;
    let display = Display::choose(args, prompts.len())?;
    if let Some(file) = &args.output.timeline {
        file.create()?;
    }
    replay::create(&args.record)?;
    let model = open(&args.model)?;
    let prompts: Vec<WrittenPrompt> =
        prompts.iter().map(|it| request::write(it, args, &model)).collect::<Result<_, _>>()?;
    if args.output.show_prompt {
        // A caller without stderr loses nothing.
        let _ = print::prompts(&prompts, &mut io::stderr().lock());
    }
    let wanted = Wanted {
        prompts: prompts.into_iter().map(|prompt| prompt.tokens).collect(),
        constraint: constraint.clone(),
        max_tokens: args.length.max_tokens,
        seed: args.sampling.seed.unwrap_or_default(),
    };
    let request = request::build(args, &model, wanted)?;
    let engine = start(args, model, &request)?;
    let load = started.elapsed();
    let generation = engine.submit(request).map_err(|error| explain_submit(error, args))?;
    let generated = generate(generation, display);
    // Files first: they must be written even if the reader of stdout goes away.
    if let Ok(_) | Err(CliError::OutputClosed) = &generated {
        write_files(args, &engine)?;
    }
    let completion = generated?;
    warn_of_cut_outputs(&completion, &constraint);
    let mut stdout = io::stdout().lock();
    match display {
        Display::Stream => {}
        Display::Complete => print::complete(&completion.outputs, &mut stdout)?,
        Display::Json => {
            let run = Run {
                model: &engine.model().name,
                plan: engine.plan(),
                constraint: &constraint,
                load,
                completion: &completion,
                tokenizer: &engine.model().tokenizer,
                ledger: engine.ledger().entries(),
                masks: engine.ledger().masks(),
            };
            print::json(&Report::new(run), &mut stdout)?;
        }
    }
    Ok(())
}

/// Places the model for a request, and starts it.
///
/// # Errors
/// There is no such placement, or a stage cannot start.
pub(crate) fn start(
    args: &GenerateArgs,
    model: Model,
    request: &Request,
) -> Result<Engine, CliError> {
    let plan = place::plan(&args.model, &model, request, Purpose::Trial)?;
    tracing::info!("{} placed:\n{plan}", model.name);
    let num_threads = threads(args, &plan)?;
    let mut builder = Engine::builder(model, plan).kv_type(args.model.kv_type);
    if let Some(num_threads) = num_threads {
        builder = builder.threads_per_stage(num_threads);
    }
    if args.output.timeline.is_some() {
        builder = builder.record_timeline();
    }
    replay::record(builder, &args.record)?.build().map_err(CliError::failed)
}

/// Returns the threads of each stage; an error if no stage has threads.
fn threads(args: &GenerateArgs, plan: &Plan) -> Result<Option<NonZero<usize>>, CliError> {
    let has_threads = plan.stages.iter().any(|it| matches!(it.device, DeviceId::Cpu(_)));
    match args.threads {
        Some(_) if !has_threads => {
            let error = anyhow!("only stages on a CPU have threads, and none is on one");
            Err(CliError::usage_at("--threads", error))
        }
        threads => Ok(threads.and_then(|it| NonZero::new(it.into()))),
    }
}

/// Writes the timeline and prints the ledger, if wanted.
fn write_files(args: &GenerateArgs, engine: &Engine) -> Result<(), CliError> {
    if let Some(file) = &args.output.timeline {
        file.write(&engine.timeline())?;
    }
    if args.output.ledger {
        print_ledger(engine);
    }
    Ok(())
}

pub(crate) fn print_ledger(engine: &Engine) {
    // A caller without stderr loses nothing.
    let _ = write!(io::stderr().lock(), "{}", engine.ledger());
}

/// Adds the argument to change.
pub(crate) fn explain_submit(error: SubmitError, args: &GenerateArgs) -> CliError {
    match error {
        SubmitError::Spec(error @ SpecError::Budget { needed, .. }) => {
            CliError::usage_at("--max-tokens", anyhow!("{error}; wanted at least {needed}"))
        }
        SubmitError::Spec(error) => CliError::usage_at(&args.constraint.argument(), error),
        error => error.into(),
    }
}

/// What is printed on stdout, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Display {
    Stream,
    Complete,
    Json,
}

impl Display {
    fn choose(args: &GenerateArgs, num_prompts: usize) -> Result<Self, CliError> {
        let num_outputs = num_prompts * usize::from(args.sampling.samples);
        match args.output.streaming {
            _ if args.output.json => Ok(Self::Json),
            Streaming::On if num_outputs > 1 => Err(CliError::usage_at(
                "--stream",
                anyhow!("wanted a single output, found {num_outputs}; leave the flag out"),
            )),
            Streaming::Auto if num_outputs > 1 => Ok(Self::Complete),
            Streaming::Auto | Streaming::On => Ok(Self::Stream),
            Streaming::Off => Ok(Self::Complete),
        }
    }
}

/// The seed of dummy weights; its value does not matter.
const DUMMY_SEED: u64 = 0;

/// Finds, fetches and opens the model; with dummy weights only its configuration is needed.
pub(crate) fn open(args: &ModelArgs) -> Result<Model, CliError> {
    let ModelArgs { model: name, dummy_weights, .. } = args;
    if *dummy_weights {
        return open_dummy(Path::new(name));
    }
    let progress = progress::for_stderr();
    let files = ModelSource::parse(name).and_then(|source| source.resolve(progress.as_ref()));
    let files = files.map_err(explain_source)?;
    Model::open(&files).context("cannot open the model").map_err(CliError::Failed)
}

fn open_dummy(path: &Path) -> Result<Model, CliError> {
    if !path.exists() {
        let error = anyhow!(
            "with --dummy-weights wanted a config.json or its directory, but there is no file {}",
            path.display()
        );
        return Err(CliError::usage_at("--model", error));
    }
    Model::dummy(path, DUMMY_SEED).context("cannot make the model").map_err(CliError::Failed)
}

/// Maps a source error to a usage error (exit 2) or a failure (exit 1).
pub(crate) fn explain_source(error: SourceError) -> CliError {
    match error {
        SourceError::NoModel { path, .. } if !path.exists() => {
            CliError::usage_at("--model", anyhow!("there is no file {}", path.display()))
        }
        SourceError::Unknown { .. } | SourceError::NoModel { .. } => {
            CliError::usage_at("--model", error)
        }
        error => CliError::failed(error),
    }
}

fn generate(generation: Generation, display: Display) -> Result<Completion, CliError> {
    match display {
        Display::Stream => print::stream(generation, &mut io::stdout().lock()),
        Display::Complete | Display::Json => print::collect(generation, |_| Ok(())),
    }
}

/// Warns that outputs are incomplete, for callers that ignore `finish_reason`.
fn warn_of_cut_outputs(completion: &Completion, constraint: &Spec) {
    let is_cut = |reason| reason == FinishReason::Length;
    let num_cut = completion.outputs.iter().filter(|it| is_cut(it.finish_reason)).count();
    if num_cut > 0 && *constraint != Spec::Text {
        tracing::warn!(
            "{num_cut} of {} reached the token limit before the constraint was fulfilled; raise \
             --max-tokens",
            counted(completion.outputs.len(), "output")
        );
    }
}
