//! `sluicegate simulate`: serves a workload with the production scheduler in predicted time.

mod report;
mod workload;

use std::io::{self, Write};

use anyhow::Context;
use sluicegate_core::{
    scheduler::SchedulerConfig,
    simulate::{MaskStart, Planned, Setup, simulate},
    timeline::{Usage, Window},
};

use crate::{
    cli::SimulateArgs,
    error::CliError,
    plan::{self, Task},
};

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] for invalid arguments; a model that does not fit is a failure.
pub(crate) fn run(args: &SimulateArgs) -> Result<(), CliError> {
    let mut task = Task::of(&args.task, &args.policy)?;
    let requests = workload::read(&args.workload, task.profile.max_positions)?;
    task.policy = workload::expected(&requests, &args.policy, task.policy);
    if let Some(file) = &args.output.timeline {
        file.create()?;
    }
    let solution = task.solve()?;
    let mask_s = f64::from(args.mask_us) * 1e-6;
    let timing = Planned::new(&task.profile, &task.cluster, &solution.plan, mask_s);
    let timing = timing.map_err(plan::explain)?;
    let setup = Setup {
        timing: &timing,
        scheduler: SchedulerConfig::new(&solution.plan, &task.profile),
        mask_workers: args.mask_workers.get(),
        mask_start: MaskStart::WithOrder,
        // Only times matter, since a workload has no texts.
        keeps_pages: false,
        faults: &[],
    };
    let run = simulate(&setup, &requests).context("the simulation violated an invariant");
    let run = run.map_err(CliError::Failed)?;
    let usage = Usage::of(&run.timeline, Window::Steady)
        .map(|usage| usage.less_recomputed(run.scheduler.recomputed_share()));
    if let Some(file) = &args.output.timeline {
        file.write(&run.timeline)?;
    }
    let report = report::Report::new(&task, &solution, &run, usage.as_ref());
    let mut stdout = io::stdout().lock();
    if args.output.json {
        serde_json::to_writer_pretty(&mut stdout, &report).map_err(io::Error::from)?;
        writeln!(stdout)?;
    } else {
        write!(stdout, "{}: {}\n\n{report}", task.model, plan::devices(&task.cluster))?;
    }
    Ok(())
}
