//! Summarises a run: counts and percentiles.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_constraint::SpecError;

use super::{
    Entry,
    bench::{CaseRun, TokenTime},
    comparison::Comparison,
    files,
    times::Times,
};

/// Everything that is printed about all schemas together.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Schemas that compile and accept or refuse every instance as labelled.
    pub(super) schemas: Share,
    /// Of those, the schemas from real use.
    pub(super) real_schemas: Share,
    /// Instances accepted or refused as labelled.
    pub(super) tests: Share,
    /// Of those, the instances of schemas outside folders named `optional`.
    pub(super) required_tests: Share,
    /// Files and cases that could not be read or run.
    pub(super) unreadable: usize,
    pub(super) compile_errors: Counts,
    pub(super) valid_refused: usize,
    pub(super) invalid_accepted: usize,
    /// Instances of schemas that do not compile.
    pub(super) not_validated: usize,
    /// Instances on which the engine gave up.
    pub(super) engine_failures: usize,
    pub(super) warnings: Counts,
    /// Schemas whose values a validator checks as well.
    pub(super) guarded: usize,
    pub(super) vetoes: usize,
    pub(super) compile_us: Times,
    pub(super) first_witness_us: Times,
    /// Of schemas that do not compile.
    pub(super) refuse_us: Times,
    pub(super) matcher_us: Times,
    /// Of schemas without guards.
    pub(super) unguarded: TokenTimes,
    pub(super) guarded_tokens: TokenTimes,
    pub(super) comparison: Option<Comparison>,
}

/// A part of a total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) passing: usize,
    pub(super) total: usize,
}

/// Counts by kind.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) total: usize,
    pub(super) by_kind: BTreeMap<String, usize>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct TokenTimes {
    pub(super) mask_us: Times,
    pub(super) advance_us: Times,
    pub(super) token_us: Times,
}

impl Share {
    fn add(&mut self, passes: bool) {
        self.total += 1;
        self.passing += usize::from(passes);
    }
}

impl Counts {
    fn add(&mut self, kind: String) {
        self.total += 1;
        *self.by_kind.entry(kind).or_default() += 1;
    }

    /// Returns the kinds, the most frequent first.
    pub(super) fn ranked(&self) -> Vec<(&str, usize)> {
        let mut ranked: Vec<_> =
            self.by_kind.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        ranked
    }
}

impl TokenTimes {
    pub(super) fn of(times: &[TokenTime]) -> Self {
        Self {
            mask_us: times.iter().map(|time| time.mask).collect(),
            advance_us: times.iter().map(|time| time.advance).collect(),
            token_us: times.iter().map(|time| time.sum()).collect(),
        }
    }
}

impl Summary {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut summary = Self::default();
        for entry in entries {
            let passes = entry.run.as_ref().is_ok_and(CaseRun::passes);
            summary.schemas.add(passes);
            if files::is_real(&entry.file) {
                summary.real_schemas.add(passes);
            }
            match &entry.run {
                Ok(run) => {
                    summary.count(run);
                    if !files::is_optional(&entry.file) {
                        run.tests.iter().for_each(|it| summary.required_tests.add(it.is_right()));
                    }
                }
                Err(_) => summary.unreadable += 1,
            }
        }
        let runs: Vec<&CaseRun> =
            entries.iter().filter_map(|entry| entry.run.as_ref().ok()).collect();
        summary.measure(&runs);
        summary
    }

    fn count(&mut self, run: &CaseRun) {
        match &run.compiled {
            Ok(compiled) => {
                for warning in &compiled.warnings {
                    self.warnings.add(warning_kind(warning).to_owned());
                }
                self.guarded += usize::from(compiled.is_guarded());
            }
            Err(error) => self.compile_errors.add(error_kind(error)),
        }
        for test in &run.tests {
            self.tests.add(test.is_right());
            self.vetoes += usize::from(test.is_vetoed());
            self.engine_failures += usize::from(test.has_failed());
            match (&test.outcome, test.valid) {
                (None, _) => self.not_validated += 1,
                (Some(Err(_)), true) => self.valid_refused += 1,
                (Some(Ok(())), false) => self.invalid_accepted += 1,
                _ => {}
            }
        }
    }

    fn measure(&mut self, runs: &[&CaseRun]) {
        let compiled = || runs.iter().filter_map(|run| run.compiled.as_ref().ok());
        let compiles = |is_ok: bool| runs.iter().filter(move |run| run.compiled.is_ok() == is_ok);
        self.compile_us = compiles(true).map(|run| run.compile).collect();
        self.refuse_us = compiles(false).map(|run| run.compile).collect();
        self.matcher_us = compiled().map(|run| run.matcher).collect();
        let witnesses = compiled().filter_map(|run| run.witness.as_ref());
        self.first_witness_us = witnesses.map(|witness| witness.time).collect();
        let tokens = |is_guarded: bool| {
            let runs = runs.iter().filter(|run| run.is_guarded() == is_guarded);
            let tests = runs.flat_map(|run| &run.tests);
            let times: Vec<TokenTime> = tests.flat_map(|test| test.times.iter().copied()).collect();
            TokenTimes::of(&times)
        };
        self.unguarded = tokens(false);
        self.guarded_tokens = tokens(true);
        self.comparison = Comparison::of(runs);
    }
}

/// Names the fault of a schema.
pub(super) fn error_kind(error: &SpecError) -> String {
    match error {
        SpecError::Unsupported { keyword, .. } => keyword.clone(),
        SpecError::Regex { .. } => "invalid regex".to_owned(),
        SpecError::Schema { .. } => "invalid schema".to_owned(),
        SpecError::Unsatisfiable { .. } => "unsatisfiable".to_owned(),
        SpecError::TooLarge { .. } => "too large".to_owned(),
        SpecError::TooComplex { .. } => "too complex".to_owned(),
        _ => "other".to_owned(),
    }
}

/// Names the kind of a warning: the words before its first quoted name, or that name.
fn warning_kind(warning: &str) -> &str {
    if let Some(quoted) = warning.strip_prefix('`') {
        return quoted.split('`').next().unwrap_or(quoted);
    }
    let words = warning.split(['"', '`']).next().unwrap_or(warning).trim();
    if words.split_whitespace().count() <= 2 { words } else { "other" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_by_what_they_are_of() {
        assert_eq!(warning_kind("format \"x\" is not enforced at /a"), "format");
        assert_eq!(warning_kind("unknown keyword \"x\" restricts nothing"), "unknown keyword");
        assert_eq!(warning_kind("`x-guidance` is ignored"), "x-guidance");
        assert_eq!(warning_kind("something else that is long"), "other");
    }
}
