//! Compiles one schema, validates its instances, and times both.

use std::time::{Duration, Instant};

use sluicegate_constraint::{
    Compiled, Compiler, JsonOptions, Spec, SpecError, TokenId,
    baseline::{Baseline, BaselineMatcher},
};

use super::{
    files::{Case, Test},
    instance::{self, Spacing},
};
use crate::{
    facts::Witness,
    validation::{Refusal, TokenCheck, Why, validate},
};

/// What is the same for every schema.
pub(super) struct Bench {
    pub(super) compiler: Compiler,
    pub(super) options: JsonOptions,
    pub(super) spacing: Spacing,
    /// The engine to compare with.
    pub(super) baseline: Option<Baseline>,
}

/// The results of a schema.
#[derive(Debug)]
pub(super) struct CaseRun {
    pub(super) compiled: Result<CompiledRun, SpecError>,
    pub(super) compile: Duration,
    /// One for each test of the schema.
    pub(super) tests: Vec<TestRun>,
    /// `None` if there is nothing to compare with, or the other engine does not compile the schema.
    pub(super) baseline_compile: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct CompiledRun {
    /// The time to make a matcher of the compiled schema.
    pub(super) matcher: Duration,
    /// `None` if no guard needs one.
    pub(super) witness: Option<Witness>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) struct TestRun {
    pub(super) description: String,
    pub(super) valid: bool,
    pub(super) tokens: Vec<TokenId>,
    /// `None` if there was no matcher.
    pub(super) outcome: Option<Result<(), Refusal>>,
    pub(super) times: Vec<TokenTime>,
    pub(super) baseline_times: Vec<TokenTime>,
}

/// The times of a token.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TokenTime {
    pub(super) mask: Duration,
    pub(super) advance: Duration,
}

impl TokenTime {
    pub(super) fn sum(self) -> Duration {
        self.mask + self.advance
    }
}

impl CaseRun {
    /// Returns whether every instance is accepted or refused as labelled.
    pub(super) fn passes(&self) -> bool {
        self.compiled.is_ok() && self.tests.iter().all(TestRun::is_right)
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.compiled.as_ref().is_ok_and(CompiledRun::is_guarded)
    }
}

impl CompiledRun {
    fn of(compiled: &Compiled) -> Result<Self, SpecError> {
        let witness = compiled.is_guarded().then(|| Witness::find(compiled)).transpose()?;
        let (_, matcher) = timed(|| compiled.matcher());
        Ok(Self { matcher, witness, warnings: compiled.warnings().to_vec() })
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.witness.is_some()
    }
}

impl TestRun {
    /// Returns whether it is accepted or refused as labelled.
    pub(super) fn is_right(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.is_ok() == self.valid)
    }

    pub(super) fn is_vetoed(&self) -> bool {
        matches!(&self.outcome, Some(Err(Refusal { why: Why::Vetoed { .. }, .. })))
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(&self.outcome, Some(Err(Refusal { why: Why::Failed(_), .. })))
    }
}

impl Bench {
    /// Runs a case. With a baseline, `turn` decides which engine goes first.
    pub(super) fn run(&self, case: Case, turn: usize) -> CaseRun {
        let Case { schema, tests, .. } = case;
        let spec = Spec::Json { schema: schema.clone(), options: self.options.clone() };
        let ((compiled, compile), baseline) = in_turn(
            turn,
            || timed(|| self.compiler.compile_grammar(&spec)),
            || self.baseline.as_ref().map(|baseline| timed(|| baseline.compile(schema))),
        );
        let baseline = match baseline {
            Some((Ok(matcher), compile)) => Some((matcher, compile)),
            Some((Err(_), _)) | None => None,
        };
        let compiled = compiled.and_then(|compiled| {
            let run = CompiledRun::of(&compiled)?;
            Ok((compiled, run))
        });
        let tests = tests.into_iter().zip(turn..).map(|(test, turn)| {
            let text = instance::write(test.data.get(), self.spacing);
            let tokens = self.compiler.vocab().tokenize(text.as_bytes());
            let ((outcome, times), baseline_times) = in_turn(
                turn,
                || Self::validate(&compiled, &tokens),
                || baseline.as_ref().map(|(matcher, _)| run_baseline(matcher, &tokens)),
            );
            let Test { description, valid, .. } = test;
            let baseline_times = baseline_times.unwrap_or_default();
            TestRun { description, valid, tokens, outcome, times, baseline_times }
        });
        CaseRun {
            tests: tests.collect(),
            compiled: compiled.map(|(_, run)| run),
            compile,
            baseline_compile: baseline.map(|(_, compile)| compile),
        }
    }

    fn validate(
        compiled: &Result<(Compiled, CompiledRun), SpecError>,
        tokens: &[TokenId],
    ) -> (Option<Result<(), Refusal>>, Vec<TokenTime>) {
        let mut times = Vec::new();
        let mut watch = |check: &TokenCheck<'_>| {
            let advance = check.advance_time.unwrap_or_default();
            times.push(TokenTime { mask: check.mask_time, advance });
        };
        let outcome = match compiled {
            Ok((compiled, _)) => {
                let mut matcher = compiled.matcher();
                Some(validate(&mut matcher, tokens, &mut watch))
            }
            // A schema without valid instances fails to compile, which refuses every instance.
            Err(SpecError::Unsatisfiable { .. }) => {
                Some(Err(Refusal { num_tokens: 0, why: Why::NotAllowed }))
            }
            Err(_) => None,
        };
        (outcome, times)
    }
}

/// Runs both, ours first in even turns, so that neither always profits from caches that the other
/// has filled.
fn in_turn<A, B>(turn: usize, ours: impl FnOnce() -> A, theirs: impl FnOnce() -> B) -> (A, B) {
    if turn.is_multiple_of(2) {
        let ours = ours();
        (ours, theirs())
    } else {
        let theirs = theirs();
        (ours(), theirs)
    }
}

fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed())
}

/// Times the tokens that the baseline accepts.
fn run_baseline(template: &BaselineMatcher, tokens: &[TokenId]) -> Vec<TokenTime> {
    let mut matcher = template.copy();
    let mut times = Vec::new();
    for &token in tokens {
        if matcher.is_stopped() {
            break;
        }
        let (is_allowed, mask) = timed(|| matcher.mask_allows(token));
        if is_allowed != Ok(true) {
            times.push(TokenTime { mask, advance: Duration::ZERO });
            break;
        }
        let (advanced, advance) = timed(|| matcher.advance(token));
        times.push(TokenTime { mask, advance });
        if advanced.is_err() {
            break;
        }
    }
    times
}
