//! The sides of a benchmark: the requested placement, and what it is compared with.

use std::num::NonZero;

use anyhow::anyhow;
use sluicegate::{Prompt, Request, device::DeviceSelector};
use sluicegate_model::open::Model;
use sluicegate_placement::{Plan, Purpose};
use sluicegate_spec::device::DeviceId;

use super::measure::Task;
use crate::{
    cli::{Against, BenchArgs, ModelArgs},
    counted::counted,
    error::CliError,
    place,
};

/// One side: processes that run at the same time, usually one.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) name: String,
    /// `None` for the requested placement.
    pub(super) against: Option<Against>,
    pub(super) tasks: Vec<Task>,
}

/// Returns the requested placement for that many requests, and what it is compared with.
///
/// # Errors
/// There is no placement, or nothing to compare it with.
pub(super) fn sides(
    args: &BenchArgs,
    model: &Model,
    num_requests: usize,
    against: &[Against],
) -> Result<Vec<Side>, CliError> {
    check_length(args, model)?;
    let plan = plan(args, &args.model, model, num_requests)?;
    let num_stages = plan.stages.len();
    let own_name = name(num_stages, None);
    let most = args.workload.concurrencies(!against.is_empty()).into_iter().max();
    let task = Task {
        plan,
        threads_per_stage: None,
        num_requests,
        first_prompt: 0,
        is_constrained: false,
        wants_timeline: args.timeline.is_some(),
        records: args.record.record.is_some() && Some(num_requests) == most,
    };
    let mut sides = vec![Side { name: own_name.clone(), against: None, tasks: vec![task.clone()] }];
    let task = Task { wants_timeline: false, ..task };
    for &against in against {
        let (name, tasks) = match against {
            Against::Constraint => {
                let task = Task { is_constrained: true, ..task.clone() };
                (format!("{own_name}, constrained"), vec![task])
            }
            Against::Threads | Against::Inline => {
                let num_threads = if against == Against::Threads { num_stages } else { 1 };
                let single = single(args, model, &task, num_requests, num_threads)?;
                (name(1, Some(num_threads)), vec![single])
            }
            Against::Ceiling => {
                let tasks = ceiling(args, model, &task)?;
                (format!("{} of 1 thread", counted(tasks.len(), "engine")), tasks)
            }
        };
        sides.push(Side { name, against: Some(against), tasks });
    }
    Ok(sides)
}

fn name(num_stages: usize, num_threads: Option<usize>) -> String {
    let stages = counted(num_stages, "stage");
    match num_threads {
        Some(threads) => format!("{stages}, {}", counted(threads, "thread")),
        None => stages,
    }
}

/// As many single-threaded engines as there are stages, each with its share of the requests.
fn ceiling(args: &BenchArgs, model: &Model, task: &Task) -> Result<Vec<Task>, CliError> {
    let num_engines = task.plan.stages.len();
    let num_requests = task.num_requests;
    if num_requests < num_engines {
        let error = anyhow!(
            "ceiling: wanted at least one request for each of {num_engines} engines, found \
             {num_requests}; raise --concurrency"
        );
        return Err(CliError::usage_at("--against", error));
    }
    let mut first_prompt = 0;
    let share = |engine: usize| {
        let share = num_requests / num_engines + usize::from(engine < num_requests % num_engines);
        let single = single(args, model, task, share, 1)?;
        let single = Task { first_prompt, ..single };
        first_prompt += share;
        Ok(single)
    };
    (0..num_engines).map(share).collect()
}

/// One stage on the first device, with `num_threads` threads.
fn single(
    args: &BenchArgs,
    model: &Model,
    task: &Task,
    num_requests: usize,
    num_threads: usize,
) -> Result<Task, CliError> {
    let stages = &task.plan.stages;
    let foreign = stages.iter().find(|stage| !matches!(stage.device, DeviceId::Cpu(_)));
    let error = match foreign {
        Some(stage) => anyhow!("only stages on a CPU have threads; a stage is on {}", stage.device),
        None if stages.len() == 1 => anyhow!(
            "wanted several stages to compare, found one; raise --cpu-devices or place them with \
             --layers"
        ),
        None => {
            let device = stages[0].device;
            let mut max_memory = args.model.max_memory.clone();
            if let Some(caps) = &mut max_memory {
                caps.0.retain(|capped, _| *capped == device);
            }
            let model_args = ModelArgs {
                device: Some(DeviceSelector::List(vec![device])),
                max_memory,
                layers: None,
                plan: None,
                cpu_devices: args.model.cpu_devices.max(cpu_devices(&task.plan)),
                ..args.model.clone()
            };
            let plan = plan(args, &model_args, model, num_requests)?;
            let threads_per_stage = NonZero::new(num_threads);
            return Ok(Task { plan, threads_per_stage, num_requests, ..task.clone() });
        }
    };
    Err(CliError::usage_at("--against", error))
}

/// Returns the number of logical CPU devices up to the last that a plan uses.
fn cpu_devices(plan: &Plan) -> Option<u32> {
    let number = |device| match device {
        DeviceId::Cpu(index) => Some(index + 1),
        DeviceId::Host | DeviceId::Cuda(_) => None,
    };
    plan.stages.iter().filter_map(|stage| number(stage.device)).max()
}

fn plan(
    args: &BenchArgs,
    model_args: &ModelArgs,
    model: &Model,
    num_requests: usize,
) -> Result<Plan, CliError> {
    let prompt = Prompt::Tokens(vec![0; args.workload.prompt_tokens.get()]);
    let request = Request {
        prompts: vec![prompt.clone(); num_requests],
        max_tokens: args.workload.output_tokens.get(),
        ..Request::new(prompt)
    };
    place::plan(model_args, model, &request, Purpose::Workload)
}

fn check_length(args: &BenchArgs, model: &Model) -> Result<(), CliError> {
    let prompt = args.workload.prompt_tokens.get();
    let wanted = prompt.saturating_add(args.workload.output_tokens.get());
    let context = model.config.max_positions;
    if wanted <= context {
        return Ok(());
    }
    let error = anyhow!(
        "prompt and output have {wanted} tokens together, but the model's context ends at \
         {context}; lower --prompt-tokens or --output-tokens"
    );
    Err(CliError::usage(error))
}
