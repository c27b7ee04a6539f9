//! `bench --measure`: runs the requests of one engine and measures them. Tasks come on stdin.

use std::{
    io::{self, BufRead, Write},
    num::NonZero,
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};
use sluicegate::{
    Engine, Event, Generation,
    engine::{GenerationError, SubmitError},
    stream::Usage,
};
use sluicegate_constraint::Spec;
use sluicegate_core::timeline::{self, Activity, Timeline, Window};
use sluicegate_placement::Plan;
use sluicegate_spec::units::TokenId;

use super::workload;
use crate::{
    cli::BenchArgs,
    error::{self, CliError},
    generate, replay,
};

/// Output tokens of the unmeasured requests before: enough to read all weights, start all threads
/// and compile the constraint.
const WARM_UP_TOKENS: usize = 8;

/// The task of a measuring process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) plan: Plan,
    /// `None` leaves the choice to the engine.
    pub(super) threads_per_stage: Option<NonZero<usize>>,
    pub(super) num_requests: usize,
    /// The number of its first prompt.
    pub(super) first_prompt: usize,
    pub(super) is_constrained: bool,
    /// Whether a timeline of every stage is wanted, beside the totals.
    pub(super) wants_timeline: bool,
    /// Whether a journal is written.
    pub(super) records: bool,
}

/// The messages of a measuring process, one per line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The engine is warm; the next line on stdin starts the measurement.
    Ready,
    Measured(Measured),
    /// The process ends.
    Error {
        is_usage: bool,
        message: String,
    },
}

/// The measurements of the requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    /// From the first submission to the last end.
    pub(super) elapsed: Duration,
    pub(super) usage: TokenCounts,
    /// From a request's submission to its first token, in microseconds.
    pub(super) first_token_us: Vec<u64>,
    /// From one token to the next, as the caller saw them.
    pub(super) token_us: Vec<u64>,
    /// How long the last stage waited for masks, by constrained microbatch.
    pub(super) mask_wait_us: Vec<u64>,
    /// By process: the utilisation of its stages; `None` if they were never all in use.
    pub(super) stages: Vec<Option<timeline::Usage>>,
    /// By process, if wanted.
    pub(super) timelines: Vec<Timeline>,
}

/// Tokens of all requests together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenCounts {
    pub(super) completion: usize,
    pub(super) jump_forward: usize,
    pub(super) vetoed: usize,
}

impl Measured {
    pub(super) fn tokens_per_s(&self) -> f64 {
        self.usage.completion as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Adds what ran at the same time.
    pub(super) fn add(&mut self, other: Self) {
        self.elapsed = self.elapsed.max(other.elapsed);
        self.usage.completion += other.usage.completion;
        self.usage.jump_forward += other.usage.jump_forward;
        self.usage.vetoed += other.usage.vetoed;
        self.first_token_us.extend(other.first_token_us);
        self.token_us.extend(other.token_us);
        self.mask_wait_us.extend(other.mask_wait_us);
        self.stages.extend(other.stages);
        self.timelines.extend(other.timelines);
    }

    fn add_request(&mut self, followed: Followed) {
        let Followed { first_token, tokens, usage } = followed;
        self.usage.completion += usage.completion_tokens;
        self.usage.jump_forward += usage.jump_forward_tokens;
        self.usage.vetoed += usage.vetoed_tokens;
        self.first_token_us.push(micros(first_token));
        self.token_us.extend(tokens.into_iter().map(micros));
    }

    /// Adds the activity of every stage; `recomputed_share` of it repeated earlier work.
    fn add_timeline(&mut self, timeline: Timeline, recomputed_share: f64, is_wanted: bool) {
        let waits = timeline.spans.iter().filter(|span| span.activity == Activity::AwaitMask);
        let waits = waits.map(|span| micros(Duration::from_secs_f64(span.seconds())));
        self.mask_wait_us.extend(waits);
        let usage = timeline::Usage::of(&timeline, Window::Steady);
        self.stages.push(usage.map(|usage| usage.less_recomputed(recomputed_share)));
        self.timelines.extend(is_wanted.then_some(timeline));
    }
}

/// Serves the parent process, which also gets all errors; stderr does not.
///
/// # Errors
/// The parent process is gone.
pub(super) fn serve(args: &BenchArgs) -> Result<(), CliError> {
    let mut lines = io::stdin().lock().lines();
    let mut go = || lines.next().transpose().map_err(CliError::failed);
    let outcome = go().and_then(|task| match task {
        Some(task) => measure(args, &task, &mut go),
        None => Err(CliError::usage_at("--measure", anyhow!("wanted a task on stdin"))),
    });
    match outcome {
        Ok(Some(measured)) => say(&Reply::Measured(measured)),
        // The parent process is gone.
        Ok(None) => Ok(()),
        Err(CliError::Usage(error)) => {
            say(&Reply::Error { is_usage: true, message: error::chain(&error) })
        }
        Err(CliError::Failed(error)) => {
            say(&Reply::Error { is_usage: false, message: error::chain(&error) })
        }
        Err(error) => Err(error),
    }
}

/// Runs a task; `None` if the parent process ends before it starts the measurement.
fn measure(
    args: &BenchArgs,
    task: &str,
    go: &mut impl FnMut() -> Result<Option<String>, CliError>,
) -> Result<Option<Measured>, CliError> {
    let task: Task = serde_json::from_str(task).map_err(CliError::usage)?;
    let given = args.constraint.spec()?;
    let output_tokens = args.workload.output_tokens.get();
    // The caller's constraint is tested with its full length, which it may need to end.
    let (constraint, warm_up_tokens) = match (task.is_constrained, given) {
        (false, _) => (Spec::Text, WARM_UP_TOKENS.min(output_tokens)),
        (true, Spec::Text) => (workload::words(), WARM_UP_TOKENS.min(output_tokens)),
        (true, given) => (given, output_tokens),
    };
    let model = generate::open(&args.model)?;
    let (num_requests, first) = (task.num_requests, task.first_prompt);
    let prompt_tokens = args.workload.prompt_tokens.get();
    let prompts = |first: usize| {
        workload::prompts(&model, first..first + num_requests, prompt_tokens)
            .map_err(CliError::failed)
    };
    // Numbers that no process measures.
    let (warm_up, prompts) = (prompts(first + 1_000_000)?, prompts(first)?);
    let mut builder =
        Engine::builder(model, task.plan).kv_type(args.model.kv_type).record_timeline();
    if let Some(num_threads) = task.threads_per_stage {
        builder = builder.threads_per_stage(num_threads);
    }
    if task.records {
        builder = replay::record(builder, &args.record)?;
    }
    let engine = builder.build().map_err(CliError::failed)?;
    let explain = |error: Failure| match error {
        Failure::Submit(SubmitError::Spec(error)) => {
            CliError::usage_at(&args.constraint.argument(), error)
        }
        Failure::Submit(error) => error.into(),
        Failure::Run(error) => CliError::failed(error),
    };
    run(&engine, warm_up, warm_up_tokens, &constraint).map_err(explain)?;
    say(&Reply::Ready)?;
    if go()?.is_none() {
        return Ok(None);
    }
    // Discards the timeline of the warm-up.
    drop(engine.timeline());
    let mut measured = run(&engine, prompts, output_tokens, &constraint).map_err(explain)?;
    let recomputed_share = engine.metrics().scheduler.recomputed_share();
    measured.add_timeline(engine.timeline(), recomputed_share, task.wants_timeline);
    Ok(Some(measured))
}

fn say(reply: &Reply) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, reply).map_err(io::Error::from)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}

/// Why a run has no measurements.
enum Failure {
    Submit(SubmitError),
    Run(GenerationError),
}

/// Runs all prompts at the same time.
fn run(
    engine: &Engine,
    prompts: Vec<Vec<TokenId>>,
    output_tokens: usize,
    constraint: &Spec,
) -> Result<Measured, Failure> {
    let began = Instant::now();
    let followed = thread::scope(|scope| {
        let mut callers = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            let request = workload::request(prompt, output_tokens, constraint.clone());
            let submitted = Instant::now();
            let generation = engine.submit(request).map_err(Failure::Submit)?;
            callers.push(scope.spawn(move || follow(generation, submitted)));
        }
        let join = |caller: thread::ScopedJoinHandle<'_, Result<Followed, GenerationError>>| {
            caller.join().expect("following a request does not panic").map_err(Failure::Run)
        };
        callers.into_iter().map(join).collect::<Result<Vec<Followed>, Failure>>()
    })?;
    let mut measured = Measured { elapsed: began.elapsed(), ..Measured::default() };
    for request in followed {
        measured.add_request(request);
    }
    Ok(measured)
}

/// What a caller saw of its request.
struct Followed {
    first_token: Duration,
    tokens: Vec<Duration>,
    usage: Usage,
}

/// Reads a request's events as they come.
fn follow(generation: Generation, submitted: Instant) -> Result<Followed, GenerationError> {
    let mut followed =
        Followed { first_token: Duration::ZERO, tokens: Vec::new(), usage: Usage::default() };
    let mut last = None;
    for event in generation {
        match event? {
            Event::Text { tokens, .. } if !tokens.is_empty() => {
                let now = Instant::now();
                match last {
                    None => followed.first_token = now - submitted,
                    // Tokens that come together share the time.
                    Some(last) => {
                        let num_tokens = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
                        let share = (now - last) / num_tokens;
                        followed.tokens.extend(tokens.iter().map(|_| share));
                    }
                }
                last = Some(now);
            }
            Event::Text { .. } | Event::Output(_) => {}
            Event::Finished { usage, .. } => followed.usage = usage,
        }
    }
    Ok(followed)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
