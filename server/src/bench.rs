//! `sluicegate bench`: measures a running model, each time in a process of its own.
//!
//! The command plans every side and measures them in turn; each turn runs this program with
//! `--measure`. It counts and prints; the engine does the work.

mod measure;
mod process;
mod report;
mod side;
mod spread;
mod table;
#[cfg(test)]
mod tests;
mod workload;

use std::io::{self, Write};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sluicegate_constraint::Spec;
use sluicegate_core::timeline::Timeline;

use self::{
    measure::Measured,
    report::{Point, Report},
    side::Side,
};
use crate::{
    cli::{Against, BenchArgs},
    error::CliError,
    generate, replay,
};

/// Runs the command.
///
/// # Errors
/// [`CliError::Usage`] for invalid arguments; else the error of the side that failed.
pub(crate) fn run(args: &BenchArgs) -> Result<(), CliError> {
    if args.measure {
        return measure::serve(args);
    }
    check_constraint(args)?;
    if args.record.record.is_some() && !args.against.is_empty() {
        let error = anyhow!("a journal records one placement; wanted no --against");
        return Err(CliError::usage_at("--record", error));
    }
    args.constraint.warn_of_idle();
    if let Some(file) = &args.timeline {
        file.create()?;
    }
    replay::create(&args.record)?;
    let model = generate::open(&args.model)?;
    let against = sorted(&args.against);
    let points: Vec<(usize, Vec<Side>)> = args
        .workload
        .concurrencies(!against.is_empty())
        .into_iter()
        .map(|requests| Ok((requests, side::sides(args, &model, requests, &against)?)))
        .collect::<Result<_, CliError>>()?;
    let name = model.name.clone();
    // Each turn must have the memory and the processor to itself.
    drop(model);
    let measured = take_turns(&points, args.workload.runs.get())?;
    if let (Some(file), Some(timeline)) = (&args.timeline, last_timeline(&measured)) {
        file.write(timeline)?;
    }
    let points = points.iter().zip(&measured);
    let points = points.map(|((requests, sides), runs)| Point::new(*requests, sides, runs));
    let report = Report::new(name, &args.workload, points.collect());
    let mut stdout = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut stdout, &report).map_err(io::Error::from)?;
        writeln!(stdout)?;
    } else {
        table::print(&report, &mut stdout)?;
    }
    Ok(stdout.flush()?)
}

/// Returns the timeline of the requested placement with the most requests.
fn last_timeline(measured: &[Vec<Vec<Measured>>]) -> Option<&Timeline> {
    measured.last()?.first()?.last()?.timelines.first()
}

/// Refuses a constraint that no side uses.
fn check_constraint(args: &BenchArgs) -> Result<(), CliError> {
    let is_free = args.constraint.spec()? == Spec::Text;
    if is_free || args.against.contains(&Against::Constraint) {
        return Ok(());
    }
    let error = anyhow!("no side is constrained; add --against constraint");
    Err(CliError::usage_at(&args.constraint.argument(), error))
}

fn sorted(against: &[Against]) -> Vec<Against> {
    let mut against = against.to_vec();
    against.sort_unstable();
    against.dedup();
    against
}

/// Measures every side `num_runs` times; returns the runs by number of requests and side. Every
/// second round runs backwards, so that no side profits from its position.
fn take_turns(
    points: &[(usize, Vec<Side>)],
    num_runs: usize,
) -> Result<Vec<Vec<Vec<Measured>>>, CliError> {
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (point_idx, (_, sides)) in points.iter().enumerate() {
        order.extend((0..sides.len()).map(|side_idx| (point_idx, side_idx)));
    }
    let mut measured: Vec<Vec<Vec<Measured>>> =
        points.iter().map(|(_, sides)| sides.iter().map(|_| Vec::new()).collect()).collect();
    let bar = progress_bar(order.len() * num_runs);
    for _ in 0..num_runs {
        for &(point_idx, side_idx) in &order {
            let side = &points[point_idx].1[side_idx];
            bar.set_message(side.name.clone());
            measured[point_idx][side_idx].push(process::take_turn(side)?);
            bar.inc(1);
        }
        order.reverse();
    }
    bar.finish_and_clear();
    Ok(measured)
}

/// Draws a bar, only if stderr is a terminal.
fn progress_bar(num_turns: usize) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(1);
    let bar = ProgressBar::with_draw_target(Some(num_turns as u64), target);
    if let Ok(style) = ProgressStyle::with_template("[{bar:30}] {pos}/{len} {eta} {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
