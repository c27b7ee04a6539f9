//! The results of a benchmark.

use std::num::NonZero;

use serde::Serialize;
use sluicegate::device::calibrate;
use sluicegate_placement::Plan;

use super::{
    measure::{Measured, TokenCounts},
    side::Side,
    spread::{Spread, quantile},
};
use crate::{
    cli::{Against, WorkloadArgs},
    stages::StagesUsed,
};

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) machine: Machine,
    pub(super) workload: Workload,
    pub(super) points: Vec<Point>,
}

/// The machine of the benchmark.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) cores: usize,
    /// Whether the build has assertions, which take time.
    pub(super) has_assertions: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Workload {
    pub(super) prompt_tokens: usize,
    pub(super) output_tokens: usize,
    pub(super) runs: usize,
}

/// The measurements with one number of concurrent requests.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    pub(super) requests: usize,
    pub(super) sides: Vec<SideReport>,
    pub(super) ratios: Vec<Ratio>,
}

#[derive(Debug, Serialize)]
pub(super) struct SideReport {
    pub(super) name: String,
    /// By process: stages with their layers.
    pub(super) placements: Vec<String>,
    pub(super) threads_per_stage: Option<NonZero<usize>>,
    pub(super) microbatches: usize,
    pub(super) tokens_per_s: Spread,
    /// Of all runs together.
    pub(super) tokens: TokenCounts,
    pub(super) first_token_us: Quantiles,
    pub(super) token_us: Quantiles,
    /// `None` if nothing is constrained.
    pub(super) mask_wait_us: Option<MaskWait>,
    /// By process: the utilisation of its stages in the last run.
    pub(super) used: Vec<StagesUsed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: u64,
    pub(super) p95: u64,
}

/// How long the last stage waited for the masks of a microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct MaskWait {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) most: u64,
}

/// The ratio of two sides' tokens per second in the same round.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    pub(super) side: String,
    pub(super) against: String,
    pub(super) ratio: Spread,
}

impl Report {
    pub(super) fn new(model: String, workload: &WorkloadArgs, points: Vec<Point>) -> Self {
        let workload = Workload {
            prompt_tokens: workload.prompt_tokens.get(),
            output_tokens: workload.output_tokens.get(),
            runs: workload.runs.get(),
        };
        Self { model, machine: Machine::this(), workload, points }
    }
}

impl Machine {
    fn this() -> Self {
        Self {
            processor: calibrate::processor(),
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            has_assertions: cfg!(debug_assertions),
        }
    }
}

impl Point {
    /// `runs` are by side, with equally many for each.
    pub(super) fn new(requests: usize, sides: &[Side], runs: &[Vec<Measured>]) -> Self {
        let speeds: Vec<Vec<f64>> =
            runs.iter().map(|runs| runs.iter().map(Measured::tokens_per_s).collect()).collect();
        let ratio = |over: usize, under: usize| Ratio {
            side: sides[over].name.clone(),
            against: sides[under].name.clone(),
            ratio: Spread::of(
                speeds[over].iter().zip(&speeds[under]).map(|(over, under)| over / under).collect(),
            ),
        };
        let ratios = sides.iter().enumerate().filter_map(|(idx, side)| match side.against? {
            Against::Constraint => Some(ratio(idx, 0)),
            Against::Ceiling | Against::Threads | Against::Inline => Some(ratio(0, idx)),
        });
        let reports = sides.iter().zip(runs).zip(&speeds);
        let reports =
            reports.map(|((side, runs), speeds)| SideReport::new(side, runs, speeds.clone()));
        Self { requests, ratios: ratios.collect(), sides: reports.collect() }
    }
}

impl SideReport {
    fn new(side: &Side, runs: &[Measured], speeds: Vec<f64>) -> Self {
        let mut all = Measured::default();
        for run in runs {
            all.add(run.clone());
        }
        let quantiles =
            |values: &mut [u64]| Quantiles { p50: quantile(values, 50), p95: quantile(values, 95) };
        let is_constrained = side.tasks.iter().any(|task| task.is_constrained);
        let wait = MaskWait {
            p50: quantile(&mut all.mask_wait_us, 50),
            p99: quantile(&mut all.mask_wait_us, 99),
            most: quantile(&mut all.mask_wait_us, 100),
        };
        let last = runs.last().map_or(&[][..], |run| &run.stages[..]);
        let used = side.tasks.iter().zip(last);
        let used = used.map(|(task, usage)| StagesUsed::new(&task.plan, usage.as_ref()));
        Self {
            name: side.name.clone(),
            placements: side.tasks.iter().map(|task| placement(&task.plan)).collect(),
            threads_per_stage: side.tasks[0].threads_per_stage,
            microbatches: side.tasks[0].plan.microbatches,
            tokens_per_s: Spread::of(speeds),
            tokens: all.usage,
            first_token_us: quantiles(&mut all.first_token_us),
            token_us: quantiles(&mut all.token_us),
            mask_wait_us: is_constrained.then_some(wait),
            used: used.collect(),
        }
    }
}

/// In the form of `--layers`.
fn placement(plan: &Plan) -> String {
    let stages = plan.stages.iter().map(|it| format!("{}={}", it.device, plan.layers(it)));
    stages.collect::<Vec<_>>().join(",")
}
