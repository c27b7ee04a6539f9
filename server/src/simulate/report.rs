//! What a simulation found, as a table or as JSON.

use std::fmt;

use serde::Serialize;
use sluicegate_model::placed::DeviceId;
use sluicegate_runtime::{
    placement::Plan,
    scheduler::SchedulerStats,
    simulate::{EndReason, Run},
    timeline::{StageUsage, Usage},
};

use crate::plan::Task;

/// Times are in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    requests: usize,
    refused: usize,
    /// From the first arrival to the last end.
    seconds: f64,
    output_tokens: usize,
    tokens_per_s: f64,
    time_to_first_token_s: Option<Percentiles>,
    time_per_token_s: Option<Percentiles>,
    request_s: Option<Percentiles>,
    /// Of the steady window; null if it is empty.
    fraction_of_ideal: Option<f64>,
    bottleneck: Option<String>,
    window_s: Option<[f64; 2]>,
    stages: Vec<StageReport>,
    microbatches: u64,
    scheduler: SchedulerStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Debug, Serialize)]
struct StageReport {
    device: DeviceId,
    units: String,
    #[serde(flatten)]
    usage: StageUsage,
}

impl<'a> Report<'a> {
    pub(super) fn new(task: &'a Task, plan: &Plan, run: &Run, usage: Option<&Usage>) -> Self {
        let finished = || run.ends.iter().filter(|end| end.reason == EndReason::Finished);
        let first = finished().filter_map(|end| Some(end.first_token_s? - end.arrival_s));
        let shares = usage.map_or(&[][..], |usage| &usage.stages[..]);
        let stages = plan.stages.iter().zip(shares).map(|(stage, usage)| StageReport {
            device: stage.device,
            units: plan.units(stage),
            usage: *usage,
        });
        let (seconds, output_tokens) = (run.seconds(), run.num_tokens());
        Self {
            model: &task.model,
            requests: run.ends.len(),
            refused: run.ends.iter().filter(|end| end.reason == EndReason::Refused).count(),
            seconds,
            output_tokens,
            tokens_per_s: if seconds > 0.0 { output_tokens as f64 / seconds } else { 0.0 },
            time_to_first_token_s: Percentiles::of(first.collect()),
            time_per_token_s: Percentiles::of(run.token_s.clone()),
            request_s: Percentiles::of(finished().map(|end| end.end_s - end.arrival_s).collect()),
            fraction_of_ideal: usage.map(|usage| usage.fraction_of_ideal),
            bottleneck: usage.map(|usage| usage.bottleneck.to_string()),
            window_s: usage.map(|usage| [usage.start_s, usage.end_s]),
            stages: stages.collect(),
            microbatches: run.turns,
            scheduler: run.scheduler.clone(),
        }
    }
}

impl Percentiles {
    /// By nearest rank: values that occurred.
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied()
        };
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, refused, seconds, output_tokens, tokens_per_s, .. } = self;
        writeln!(
            f,
            "{requests} requests in {seconds:.2} s: {output_tokens} tokens, {tokens_per_s:.1} tokens/s"
        )?;
        if *refused > 0 {
            writeln!(f, "{refused} of them were refused: more pages than the plan's cache has")?;
        }
        writeln!(f, "\n{:<19}  {:>10}  {:>10}  {:>10}", "", "p50", "p95", "p99")?;
        for (name, percentiles) in [
            ("time to first token", self.time_to_first_token_s),
            ("time per token", self.time_per_token_s),
            ("whole request", self.request_s),
        ] {
            if let Some(Percentiles { p50, p95, p99 }) = percentiles {
                let [p50, p95, p99] = [p50, p95, p99].map(time);
                writeln!(f, "{name:<19}  {p50:>10}  {p95:>10}  {p99:>10}")?;
            }
        }
        self.write_stages(f)?;
        let SchedulerStats { preemptions, shared_tokens, .. } = self.scheduler;
        writeln!(
            f,
            "{} microbatches; {preemptions} preemptions, {shared_tokens} prompt tokens shared",
            self.microbatches
        )
    }
}

impl Report<'_> {
    fn write_stages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(fraction), Some(bottleneck), Some([start_s, end_s])) =
            (self.fraction_of_ideal, &self.bottleneck, self.window_s)
        else {
            return writeln!(f, "\nthe stages were never all in use");
        };
        let units = self.stages.iter().map(|stage| stage.units.len()).max().unwrap_or(0).max(5);
        writeln!(f, "\nstage  device  {:<units$}    busy   input   masks    host", "units")?;
        for (stage, StageReport { device, units: names, usage }) in self.stages.iter().enumerate() {
            let StageUsage { lent, awaiting_masks, awaiting_input, awaiting_host, .. } = *usage;
            let shares = [usage.busy(), awaiting_input + lent, awaiting_masks, awaiting_host];
            let [busy, input, masks, host] = shares.map(|share| format!("{:.1} %", 100.0 * share));
            writeln!(
                f,
                "{stage:>5}  {:<6}  {names:<units$}  {busy:>6}  {input:>6}  {masks:>6}  {host:>6}",
                device.to_string()
            )?;
        }
        writeln!(
            f,
            "{:.1} % of the ideal from {start_s:.2} s to {end_s:.2} s; {bottleneck} is busiest",
            100.0 * fraction
        )
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 1.0 => format!("{seconds:.2} s"),
        _ if seconds >= 1e-3 => format!("{:.2} ms", seconds * 1e3),
        _ => format!("{:.1} us", seconds * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Percentiles::of(Vec::new()), None);
        let of = |count: u32| Percentiles::of((1..=count).rev().map(f64::from).collect()).unwrap();
        assert_eq!(of(1), Percentiles { p50: 1.0, p95: 1.0, p99: 1.0 });
        assert_eq!(of(200), Percentiles { p50: 100.0, p95: 190.0, p99: 198.0 });
    }

    #[test]
    fn times_are_readable() {
        assert_eq!([2.5, 0.0125, 0.000_05].map(time), ["2.50 s", "12.50 ms", "50.0 us"]);
    }
}
