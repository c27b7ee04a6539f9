//! The results of a simulation, as a table or as JSON.

use std::fmt;

use serde::Serialize;
use sluicegate_core::{
    scheduler::SchedulerStats,
    simulate::{EndReason, Full, Run},
    timeline::Usage,
};
use sluicegate_placement::Solution;

use crate::{
    counted::{counted, counted_as},
    plan::Task,
    stages::StagesUsed,
};

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
    /// According to the plan, while its number of sequences runs.
    predicted_tokens_per_s: f64,
    full: Full,
    /// The number of sequences for which the plan's figures hold.
    sequences: usize,
    time_to_first_token_s: Option<Percentiles>,
    time_per_token_s: Option<Percentiles>,
    request_s: Option<Percentiles>,
    #[serde(flatten)]
    used: StagesUsed,
    microbatches: u64,
    scheduler: SchedulerStats,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        task: &'a Task,
        solution: &Solution,
        run: &Run,
        usage: Option<&Usage>,
    ) -> Self {
        let Solution { plan, prediction } = solution;
        let finished = || run.ends.iter().filter(|end| end.reason == EndReason::Finished);
        let first = finished().filter_map(|end| Some(end.first_token_s? - end.arrival_s));
        let (seconds, output_tokens) = (run.seconds(), run.num_tokens());
        Self {
            model: &task.model,
            requests: run.ends.len(),
            refused: run.ends.iter().filter(|end| end.reason == EndReason::Refused).count(),
            seconds,
            output_tokens,
            tokens_per_s: if seconds > 0.0 { output_tokens as f64 / seconds } else { 0.0 },
            predicted_tokens_per_s: prediction.tokens_per_s(),
            full: run.full,
            sequences: plan.sequences,
            time_to_first_token_s: Percentiles::of(first.collect()),
            time_per_token_s: Percentiles::of(run.token_s.clone()),
            request_s: Percentiles::of(finished().map(|end| end.end_s - end.arrival_s).collect()),
            used: StagesUsed::new(plan, usage),
            microbatches: run.num_batches,
            scheduler: run.scheduler.clone(),
        }
    }
}

impl Report<'_> {
    /// Compares the speed while the plan's number of sequences ran with the plan's prediction.
    fn against_plan(&self) -> String {
        let Self { predicted_tokens_per_s: predicted, sequences, full, .. } = self;
        let sequences = counted(*sequences, "sequence");
        match full.tokens_per_s() {
            Some(found) => format!(
                "with {sequences} at once, while others waited: {found:.1} tokens/s, {:.1} % of the \
                 {predicted:.1} that the plan predicts",
                100.0 * found / predicted
            ),
            None => format!(
                "nobody waited, with at most {} at once; the plan's {predicted:.1} tokens/s are for \
                 {sequences}, each followed by another",
                counted(full.most_rows, "sequence")
            ),
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
            "{} in {seconds:.2} s: {}, {tokens_per_s:.1} tokens/s",
            counted(*requests, "request"),
            counted(*output_tokens, "token")
        )?;
        if *refused > 0 {
            let were = if *refused == 1 { "was" } else { "were" };
            writeln!(f, "{refused} of them {were} refused: more pages than the plan's cache has")?;
        }
        writeln!(f, "{}", self.against_plan())?;
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
        write!(f, "\n{}", self.used)?;
        let SchedulerStats { preemptions, shared_tokens, computed_tokens, .. } = self.scheduler;
        writeln!(
            f,
            "{}; {} computed, {} of them again after {}; {} shared",
            counted_as(self.microbatches, "microbatch", "microbatches"),
            counted(computed_tokens, "token"),
            self.scheduler.recomputed_tokens,
            counted(preemptions, "preemption"),
            counted(shared_tokens, "prompt token")
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
