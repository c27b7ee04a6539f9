//! Compares the engine with plain llguidance, on the same schemas and tokens.

use serde::Serialize;

use super::{
    bench::{CaseRun, TestRun, TokenTime},
    times::Times,
};

/// Times of ours and llguidance, over schemas that both compile and tokens that both reached.
#[derive(Debug, Default, Serialize)]
pub(super) struct Comparison {
    pub(super) schemas: usize,
    pub(super) ours: Compared,
    pub(super) llguidance: Compared,
    /// Schemas that only llguidance refuses.
    pub(super) only_ours: usize,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Compared {
    pub(super) compile_us: Times,
    /// Without guarded schemas.
    pub(super) token_us: Times,
}

impl Comparison {
    /// Compares the runs; `None` if llguidance did not run.
    pub(super) fn of(runs: &[&CaseRun]) -> Option<Self> {
        let both: Vec<(&&CaseRun, _)> = runs
            .iter()
            .filter(|run| run.compiled.is_ok())
            .filter_map(|run| Some((run, run.baseline_compile?)))
            .collect();
        if both.is_empty() {
            return None;
        }
        let tests = || {
            let unguarded = both.iter().filter(|(run, _)| !run.is_guarded());
            unguarded.flat_map(|(run, _)| &run.tests)
        };
        let reached = |test: &TestRun| test.times.len().min(test.baseline_times.len());
        let times = |of: fn(&TestRun) -> &Vec<TokenTime>| -> Times {
            tests()
                .flat_map(|test| of(test).iter().take(reached(test)))
                .map(|it| it.sum())
                .collect()
        };
        let num_ours = runs.iter().filter(|run| run.compiled.is_ok()).count();
        Some(Self {
            schemas: both.len(),
            ours: Compared {
                compile_us: both.iter().map(|(run, _)| run.compile).collect(),
                token_us: times(|test| &test.times),
            },
            llguidance: Compared {
                compile_us: both.iter().map(|(_, compile)| *compile).collect(),
                token_us: times(|test| &test.baseline_times),
            },
            only_ours: num_ours - both.len(),
        })
    }
}
