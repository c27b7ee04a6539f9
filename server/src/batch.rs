//! `sluicegate generate --batch-file`: answers every line of a file, into another file.
//!
//! Reads the lines, keeps many of them running at the same time, and writes each result as soon as
//! it is known. An interrupted run continues where it stopped.

mod answers;
mod lines;

use std::{
    cmp::Reverse,
    io::{self, Write},
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluicegate::{
    Completion, Engine, Prompt, Request,
    engine::{GenerationError, SubmitError},
};
use sluicegate_constraint::Spec;
use sluicegate_model::open::Model;

use self::{answers::Answers, lines::Line};
use crate::{
    cli::GenerateArgs,
    counted::counted,
    error::CliError,
    generate,
    request::{self, Wanted},
};

/// The most lines that run at the same time, and so the rows that the plan must have room for.
const AT_ONCE: usize = 64;

/// Runs the command on the lines of `file`.
///
/// # Errors
/// [`CliError::Usage`] for invalid lines, before any line runs; [`CliError::Failed`] if the engine
/// stops, or a line failed.
pub(crate) fn run(args: &GenerateArgs, file: &Path) -> Result<(), CliError> {
    request::check(args)?;
    let constraint = args.constraint.spec()?;
    let lines = lines::read(file)?;
    let num_lines = lines.len();
    let Some(output) = &args.batch.output else {
        return Err(CliError::usage_at("--batch-file", anyhow!("wanted --output, too")));
    };
    let mut answers = Answers::open(output, file)?;
    let lines: Vec<Line> = lines.into_iter().filter(|line| !answers.has(&line.id)).collect();
    let num_known = num_lines - lines.len();
    if lines.is_empty() {
        say_done(num_known, 0, output);
        return Ok(());
    }
    let model = generate::open(&args.model)?;
    let tasks: Vec<Task> = lines
        .into_iter()
        .map(|line| {
            let location = format!("--batch-file: {}, line {}", file.display(), line.number);
            Task::new(line, args, &model, &constraint).map_err(|error| error.at(&location))
        })
        .collect::<Result<_, _>>()?;
    let engine = generate::start(args, model, &at_once(&tasks))?;
    let bar = progress_bar(num_lines, num_known);
    let mut num_errors = 0;
    answer_all(&engine, &tasks, |task, outcome| {
        num_errors += usize::from(outcome.is_err());
        let written = answers.write(&task.id, &outcome, task.is_json(), &engine.model().tokenizer);
        bar.inc(1);
        written
    })?;
    bar.finish_and_clear();
    if args.output.ledger {
        generate::print_ledger(&engine);
    }
    if num_errors > 0 {
        let lines = counted(num_errors, "line");
        let error = anyhow!("{lines} of {num_lines} failed; see {}", output.display());
        return Err(CliError::failed(error));
    }
    say_done(num_known, tasks.len(), output);
    Ok(())
}

/// A valid line.
struct Task {
    id: serde_json::Value,
    request: Request,
}

impl Task {
    fn new(
        line: Line,
        args: &GenerateArgs,
        model: &Model,
        constraint: &Spec,
    ) -> Result<Self, CliError> {
        let prompt = request::write(&line.prompt, args, model)?;
        let options = || args.constraint.json_form.options();
        let own = line.schema.map(|schema| Spec::Json { schema, options: options() });
        // Different lines must not get the same random numbers, but a second run must get the same.
        let seed = args.sampling.seed.unwrap_or_default().wrapping_add(line.number as u64 - 1);
        let wanted = Wanted {
            prompts: vec![prompt.tokens],
            constraint: own.unwrap_or_else(|| constraint.clone()),
            max_tokens: line.max_tokens.or(args.length.max_tokens),
            seed: line.seed.unwrap_or(seed),
        };
        Ok(Self { id: line.id, request: request::build(args, model, wanted)? })
    }

    fn is_json(&self) -> bool {
        matches!(self.request.constraint, Spec::Json { .. } | Spec::JsonObject)
    }
}

/// The request for which the plan must have room: the longest lines, as many as run at the same
/// time.
fn at_once(tasks: &[Task]) -> Request {
    let mut longest: Vec<&Request> = tasks.iter().map(|task| &task.request).collect();
    longest.sort_by_key(|request| Reverse(num_tokens(request)));
    longest.truncate(AT_ONCE);
    Request {
        prompts: longest.iter().flat_map(|it| it.prompts.clone()).collect(),
        max_tokens: longest.iter().map(|it| it.max_tokens).max().unwrap_or(1),
        ..longest[0].clone()
    }
}

fn num_tokens(request: &Request) -> usize {
    let prompts = request.prompts.iter().map(|prompt| match prompt {
        Prompt::Tokens(tokens) => tokens.len(),
        Prompt::Text(_) | Prompt::Chat(_) => 0,
    });
    prompts.sum::<usize>() + request.max_tokens
}

/// The result of a line. A line's own error does not concern the others.
type Outcome = Result<Completion, anyhow::Error>;

/// Answers all tasks, many at the same time, and passes on each outcome as it comes.
///
/// # Errors
/// The error of `take`, or the one that stopped the engine; no further task starts after it.
fn answer_all(
    engine: &Engine,
    tasks: &[Task],
    mut take: impl FnMut(&Task, Outcome) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..tasks.len().min(AT_ONCE) {
            let (next, is_over, sender) = (&next, &is_over, sender.clone());
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    // After an error the receiver is gone.
                    let _ = sender.send((task, answer(engine, &task.request)));
                }
            });
        }
        drop(sender);
        let mut taken = Ok(());
        for (task, outcome) in &outcomes {
            taken = outcome.and_then(|outcome| take(task, outcome));
            if taken.is_err() {
                is_over.store(true, Ordering::Relaxed);
                break;
            }
        }
        taken
    })
}

/// Answers one line.
///
/// # Errors
/// The engine has stopped, so no other line can succeed.
fn answer(engine: &Engine, request: &Request) -> Result<Outcome, CliError> {
    let generation = match engine.submit(request.clone()) {
        Ok(generation) => generation,
        Err(error @ (SubmitError::Failed(_) | SubmitError::ShutDown)) => {
            return Err(CliError::failed(error));
        }
        Err(error) => return Ok(Err(error.into())),
    };
    match generation.wait() {
        Ok(completion) => Ok(Ok(completion)),
        Err(error @ (GenerationError::Engine(_) | GenerationError::ShutDown)) => {
            Err(CliError::failed(error))
        }
        Err(error) => Ok(Err(error.into())),
    }
}

/// Tells people what was done; the command has no other output.
fn say_done(num_known: usize, num_new: usize, output: &Path) {
    let known = match num_known {
        0 => String::new(),
        known => format!("; {} were already there", counted(known, "line")),
    };
    let lines = counted(num_new, "line");
    // A caller without stderr loses nothing.
    let _ = writeln!(io::stderr().lock(), "wrote {lines} to {}{known}", output.display());
}

/// Draws a bar, only if stderr is a terminal.
fn progress_bar(num_lines: usize, num_known: usize) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(2);
    let bar = ProgressBar::with_draw_target(Some(num_lines as u64), target);
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos}/{len} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.with_position(num_known as u64)
}
