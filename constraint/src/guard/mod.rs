//! Finishes JSON: from what is written, finds a rest with which the whole is surely valid.
//!
//! The grammar may allow more than the schema; then a validator judges whole values. Owns no state
//! of a sequence. What is found is checked against the grammar by the caller and, where the grammar
//! is not exact, by the validator: a wrong guess costs time, never a wrong output.

mod array;
mod choices;
mod facts;
mod finish;
mod judge;
mod number;
mod object;
mod partial;
mod solver;
mod text;
mod verdict;

use std::sync::{Mutex, PoisonError};

use choices::Attempts;
pub(crate) use judge::Judge;
use partial::Partial;
use solver::Solver;
use verdict::Opinion;

use crate::json_schema::document::Document;
use crate::json_schema::{Patterns, level_bytes};

/// Attempts that may each take their full share of a search's fuel.
const SHARES: usize = 4;

/// How much a search may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Values that are built.
    pub(crate) attempts: usize,
    /// Schemas that are visited for that, at less than a microsecond each.
    pub(crate) fuel: usize,
}

/// Finishes values of one schema. Shared by all its matchers.
pub(crate) struct Finisher {
    document: Document,
    /// Present where the grammar allows more than the schema.
    judge: Option<Judge>,
    /// What an open level of a value may still need at most, in bytes, where that is known.
    level_bytes: Option<usize>,
    /// Expressions that searches have compiled: one set per search at a time.
    patterns: Mutex<Vec<Patterns>>,
}

impl Finisher {
    pub(crate) fn new(mut document: Document, judge: Option<Judge>) -> Self {
        let level_bytes = if judge.is_none() { level_bytes(&document) } else { None };
        if judge.is_some() {
            document.add_opposites();
        }
        Self { document, judge, level_bytes, patterns: Mutex::default() }
    }

    pub(crate) fn level_bytes(&self) -> Option<usize> {
        self.level_bytes
    }

    /// Estimates the memory that this holds.
    pub(crate) fn num_bytes(&self) -> usize {
        // A validator is about as large as what it was made from.
        let factor = if self.judge.is_some() { 2 } else { 1 };
        self.document.num_bytes() * factor
    }

    /// Whether the grammar alone does not suffice.
    pub(crate) fn is_guard(&self) -> bool {
        self.judge.is_some()
    }

    /// Whether a text that the grammar allows is a valid value.
    pub(crate) fn accepts(&self, text: &[u8]) -> bool {
        let Some(judge) = &self.judge else { return true };
        match partial::read(text) {
            Ok(Partial::Whole(value)) => judge.accepts(&value),
            Ok(Partial::Number(text)) => partial::number(&text).is_ok_and(|it| judge.accepts(&it)),
            _ => false,
        }
    }

    /// Finds bytes that finish `text` as a valid value, with a bounded effort. `fits` says
    /// whether grammar and budget take them.
    pub(crate) fn finish(
        &self,
        text: &[u8],
        effort: Effort,
        fits: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let partial = partial::read(text).ok()?;
        if let Partial::Whole(value) = &partial {
            let is_valid = self.judge.as_ref().is_none_or(|judge| judge.accepts(value));
            return (is_valid && fits(&[])).then(Vec::new);
        }
        let mut patterns = self.lock().pop().unwrap_or_default();
        let found = self.search(&partial, effort, fits, &mut patterns);
        self.lock().push(patterns);
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Patterns>> {
        // Patterns are whole whatever happened to their last user.
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn search(
        &self,
        partial: &Partial,
        effort: Effort,
        fits: &mut dyn FnMut(&[u8]) -> bool,
        patterns: &mut Patterns,
    ) -> Option<Vec<u8>> {
        let mut fuel = effort.fuel;
        let mut opinion = Opinion { document: &self.document, patterns, fuel: &mut fuel };
        if !opinion.may_hold(Document::ROOT, partial) {
            return None;
        }
        let mut attempts = Attempts::new();
        for _ in 0..effort.attempts {
            if fuel == 0 {
                return None;
            }
            // One attempt that goes astray leaves enough for others.
            let share = (effort.fuel / SHARES).min(fuel);
            let mut solver = Solver {
                document: &self.document,
                patterns,
                choices: attempts.next()?,
                place: String::new(),
                out: Vec::new(),
                fuel: share,
                blamed: None,
                depth: 0,
            };
            let value = solver.value(&[Document::ROOT], partial, 0);
            let Solver { choices, out, place, fuel: left, .. } = solver;
            fuel -= share - left;
            let places = match (value, &self.judge) {
                (None, _) => vec![place],
                (Some(value), Some(judge)) if !judge.accepts(&value) => judge.places(&value),
                (Some(_), _) if fits(&out) => return Some(out),
                (Some(_), _) => Vec::new(),
            };
            attempts.learn(&choices, &places);
        }
        None
    }
}
