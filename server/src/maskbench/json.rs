//! `maskbench --json`: a summary, and each schema with its tests.

use serde::Serialize;

use super::{
    Entry,
    bench::{CaseRun, TestRun, TokenTime},
    summary::{Summary, TokenTimes, error_kind},
    times::microseconds,
};
use crate::validation::Refusal;

/// The printed object. Times are in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    summary: &'a Summary,
    schemas: Vec<SchemaReport<'a>>,
}

#[derive(Debug, Serialize)]
struct SchemaReport<'a> {
    file: String,
    /// Its index in a file with a list of cases.
    index: usize,
    description: &'a str,
    passes: bool,
    #[serde(flatten)]
    run: Option<RunReport<'a>>,
    /// Null if it was read and compiles.
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct ErrorReport {
    kind: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct RunReport<'a> {
    compile_us: f64,
    first_witness_us: Option<f64>,
    matcher_us: Option<f64>,
    llguidance_compile_us: Option<f64>,
    guarded: bool,
    warnings: &'a [String],
    /// Of all instances.
    tokens: usize,
    #[serde(flatten)]
    times: TokenTimes,
    tests: Vec<TestReport<'a>>,
}

#[derive(Debug, Serialize)]
struct TestReport<'a> {
    description: &'a str,
    valid: bool,
    /// Null if the schema does not compile.
    accepted: Option<bool>,
    tokens: usize,
    refused_at_token: Option<usize>,
    reason: Option<String>,
}

impl<'a> Report<'a> {
    pub(super) fn new(model: &'a str, summary: &'a Summary, entries: &'a [Entry]) -> Self {
        Self { model, summary, schemas: entries.iter().map(SchemaReport::new).collect() }
    }
}

impl<'a> SchemaReport<'a> {
    fn new(entry: &'a Entry) -> Self {
        let error = match &entry.run {
            Err(message) => {
                Some(ErrorReport { kind: "unreadable".to_owned(), message: message.clone() })
            }
            Ok(run) => run
                .compiled
                .as_ref()
                .err()
                .map(|error| ErrorReport { kind: error_kind(error), message: error.to_string() }),
        };
        Self {
            file: entry.file.display().to_string(),
            index: entry.index,
            description: &entry.description,
            passes: entry.run.as_ref().is_ok_and(CaseRun::passes),
            run: entry.run.as_ref().ok().map(RunReport::new),
            error,
        }
    }
}

impl<'a> RunReport<'a> {
    fn new(run: &'a CaseRun) -> Self {
        let compiled = run.compiled.as_ref().ok();
        let witness = compiled.and_then(|it| it.witness.as_ref());
        let times: Vec<TokenTime> =
            run.tests.iter().flat_map(|test| test.times.iter().copied()).collect();
        Self {
            compile_us: microseconds(run.compile),
            first_witness_us: witness.map(|witness| microseconds(witness.time)),
            matcher_us: compiled.map(|it| microseconds(it.matcher)),
            llguidance_compile_us: run.baseline_compile.map(microseconds),
            guarded: run.is_guarded(),
            warnings: compiled.map_or(&[], |it| &it.warnings),
            tokens: run.tests.iter().map(|test| test.tokens.len()).sum(),
            times: TokenTimes::of(&times),
            tests: run.tests.iter().map(TestReport::new).collect(),
        }
    }
}

impl<'a> TestReport<'a> {
    fn new(test: &'a TestRun) -> Self {
        let refusal = match &test.outcome {
            Some(Err(refusal)) => Some(refusal),
            Some(Ok(())) | None => None,
        };
        Self {
            description: &test.description,
            valid: test.valid,
            accepted: test.outcome.as_ref().map(Result::is_ok),
            tokens: test.tokens.len(),
            refused_at_token: refusal.map(|refusal| refusal.num_tokens),
            reason: refusal.map(|Refusal { why, .. }| why.to_string()),
        }
    }
}
