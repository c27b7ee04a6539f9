//! `sluicegate plan`: plans a model from its header and a description of devices; prints a table or
//! JSON.

mod json;
mod model;
mod what_if;

use std::io::{self, Write};

use anyhow::anyhow;
use sluicegate_placement::{
    self, Cluster, Explained, Objective, ParetoPoint, PlanError, Policy, SavedPlan, Solution,
};
use sluicegate_spec::profile::ModelProfile;

use crate::{
    cli::{PlanArgs, PolicyArgs, TaskArgs},
    cluster,
    error::CliError,
    print, saved,
};

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] for invalid arguments; a model that does not fit is a failure.
pub(crate) fn run(args: &PlanArgs) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    if let Some([before, after]) = args.output.diff.as_deref() {
        let (before, after) = (saved::read("--diff", before)?, saved::read("--diff", after)?);
        writeln!(
            stdout,
            "{}",
            sluicegate_placement::diff(&before, &after).map_err(CliError::failed)?
        )?;
        return Ok(());
    }
    let task = Task::of(&args.task, &args.policy)?;
    if args.output.pareto {
        let points = sluicegate_placement::pareto(&task.profile, &task.cluster, &task.policy);
        print_pareto(&points.map_err(explain)?, args.output.json, &mut stdout)?;
        return Ok(());
    }
    let solution = task.solve()?;
    if !args.output.what_if.is_empty() {
        let changed = what_if::apply(&task, &args.output.what_if)?;
        let after = changed.solve()?;
        let difference = sluicegate_placement::diff(&task.saved(&solution), &changed.saved(&after));
        writeln!(stdout, "{}", difference.map_err(CliError::failed)?)?;
        return Ok(());
    }
    let explanation =
        sluicegate_placement::explain(&task.profile, &task.cluster, &task.policy, &solution)
            .map_err(explain)?;
    // Before stdout: the file must be written even if the reader of stdout goes away.
    if let Some(path) = &args.output.save {
        saved::write(path, &task.saved(&solution))?;
    }
    if args.output.json {
        let report = json::Report::new(&task, &solution, &explanation);
        print::json(&report, &mut stdout)?;
    } else {
        let explained = Explained { solution: &solution, explanation: &explanation };
        writeln!(stdout, "{}: {}\n\n{explained}", task.model, devices(&task.cluster))?;
    }
    Ok(())
}

/// The task of the planner.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) model: String,
    pub(crate) profile: ModelProfile,
    pub(crate) cluster: Cluster,
    pub(crate) policy: Policy,
}

impl Task {
    /// Reads the model's header and the description of the devices.
    pub(crate) fn of(args: &TaskArgs, policy: &PolicyArgs) -> Result<Self, CliError> {
        let cluster = cluster::of_task(args, policy.layers.as_ref(), policy.objective.into())?;
        let (model, profile) = model::read(&args.model, model::target(&cluster, args.kv_bits))?;
        let policy = policy.policy(profile.max_positions);
        let task = Self { model, profile, cluster, policy };
        task.check_length("--prompt-tokens or --output-tokens")?;
        task.check_limits()?;
        Ok(task)
    }

    /// Checks that a sequence fits the model's context; `to_lower` names what should be lower.
    fn check_length(&self, to_lower: &str) -> Result<(), CliError> {
        let Policy { prompt_tokens, output_tokens, .. } = self.policy;
        let context = self.profile.max_positions;
        if prompt_tokens.saturating_add(output_tokens) <= context {
            return Ok(());
        }
        Err(CliError::usage(anyhow!(
            "{prompt_tokens} tokens of prompt and {output_tokens} of output; the model's context is \
             {context}; lower {to_lower}"
        )))
    }

    /// Refuses a limit without effect.
    fn check_limits(&self) -> Result<(), CliError> {
        let Policy { objective, time_limits, .. } = &self.policy;
        if *objective == Objective::Throughput || time_limits.to_first_token.is_none() {
            return Ok(());
        }
        let error = anyhow!("has no effect with --objective latency, which ignores prompts");
        Err(CliError::usage_at("--max-time-to-first-token", error))
    }

    pub(crate) fn solve(&self) -> Result<Solution, CliError> {
        let solved = sluicegate_placement::solve(&self.profile, &self.cluster, &self.policy);
        solved.map_err(|error| match error {
            PlanError::Infeasible(shortfall) => {
                let smaller = shortfall
                    .fitting_kv_element_bytes
                    .map(|bytes| format!("; so would one with --kv-bits {}", 8 * bytes));
                let more = self.policy.memory_share.map(|_| "; or raise --memory-share");
                let (smaller, more) = (smaller.unwrap_or_default(), more.unwrap_or_default());
                CliError::failed(anyhow!("{shortfall}{smaller}{more}"))
            }
            error => explain(error),
        })
    }

    fn saved(&self, solution: &Solution) -> SavedPlan {
        SavedPlan {
            version: SavedPlan::VERSION,
            model: self.model.clone(),
            profile: self.profile.clone(),
            cluster: self.cluster.clone(),
            policy: self.policy.clone(),
            plan: solution.plan.clone(),
        }
    }
}

/// Maps a planning error to the argument to change, or to a failure.
pub(crate) fn explain(error: PlanError) -> CliError {
    let argument = match &error {
        PlanError::Infeasible(_)
        | PlanError::TooFewDevices { .. }
        | PlanError::TooSlow(_)
        | PlanError::NoTime
        | PlanError::Profile { .. }
        | PlanError::KvGroup { .. }
        | PlanError::TooManyLayers { .. }
        | PlanError::Invalid(_) => return CliError::failed(error),
        PlanError::Cluster(_) => "--cluster",
        PlanError::KeepTogether { .. } => "--keep-together",
        PlanError::UnknownDevice { field: "memory caps", .. } => "--max-memory",
        PlanError::UnknownDevice { field: "forbidden devices", .. }
        | PlanError::AllForbidden { .. } => "--forbid",
        PlanError::Zero { .. } => return CliError::usage(error),
        _ => "--layers",
    };
    CliError::usage_at(argument, error)
}

/// Lists the devices of a cluster, equal ones together: `2x RTX 4090, 1x RTX 3090`.
pub(crate) fn devices(cluster: &Cluster) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for device in &cluster.devices {
        let name = if device.name.is_empty() { device.id.to_string() } else { device.name.clone() };
        match kinds.iter_mut().find(|(kind, _)| *kind == name) {
            Some((_, count)) => *count += 1,
            None => kinds.push((name, 1)),
        }
    }
    let words = kinds.iter().map(|(kind, count)| match count {
        1 => kind.clone(),
        _ => format!("{count}x {kind}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn print_pareto(
    points: &[ParetoPoint],
    as_json: bool,
    stdout: &mut impl Write,
) -> Result<(), CliError> {
    if as_json {
        return Ok(print::json(points, stdout)?);
    }
    if points.is_empty() {
        return Err(CliError::failed(anyhow!("no cache of any size fits")));
    }
    writeln!(
        stdout,
        "{:>12}  {:>9}  {:>12}  {:>14}  stages",
        "KV tokens", "sequences", "tokens/s", "ms/token alone"
    )?;
    for point in points {
        let plan = &point.solution.plan;
        let stages = plan.stages.iter().map(|it| format!("{}: {}", it.device, plan.units(it)));
        writeln!(
            stdout,
            "{:>12}  {:>9}  {:>12.1}  {:>14.2}  {}",
            point.kv_tokens,
            point.sequences,
            point.tokens_per_s,
            point.single_token_s * 1e3,
            stages.collect::<Vec<_>>().join("; ")
        )?;
    }
    Ok(())
}
