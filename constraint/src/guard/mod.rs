//! Finishes JSON: from what is written, finds a rest with which the whole is surely valid.
//!
//! The grammar may allow more than the schema; then a validator judges whole values. Owns no state
//! of a sequence. What is found is checked against the grammar by the caller and, where the grammar
//! is not exact, by the validator: a wrong guess costs time, never a wrong output.

mod array;
mod choices;
mod facts;
mod finish;
mod number;
mod object;
mod partial;
mod solver;
mod text;
mod validator;
mod verdict;

use std::sync::{Mutex, PoisonError};

use choices::Attempts;
use partial::Partial;
use solver::Solver;
pub(crate) use validator::Validator;
use verdict::Opinion;

use crate::json_schema::document::Document;
use crate::json_schema::{Patterns, level_bytes};

/// Attempts that may each take their full share of a search's fuel.
const SHARES: usize = 4;
/// Bytes of a value that are judged in the time of a schema, and that are looked at for what is wrong.
const JUDGED_PER_FUEL: usize = 64;
const EXPLAINED_PER_FUEL: usize = 16;
/// Bytes of a finish that the grammar is asked about in the time of a schema.
const ASKED_PER_FUEL: usize = 8;

/// How much a search may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Values that are built.
    pub(crate) attempts: usize,
    /// Schemas that are visited for that, at less than a microsecond each, and other work by the time
    /// that it takes.
    pub(crate) fuel: usize,
}

/// What a search for a finish asks of its caller.
pub(crate) struct Caller<'a> {
    /// Whether grammar and budget take these bytes.
    pub(crate) fits: &'a mut dyn FnMut(&[u8]) -> bool,
    /// Whether there is no more time.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

/// Finishes values of one schema. Shared by all its matchers.
pub(crate) struct Finisher {
    document: Document,
    /// Present where the grammar allows more than the schema.
    validator: Option<Validator>,
    /// What an open level of a value may still need at most, in bytes, where that is known.
    level_bytes: Option<usize>,
    /// Expressions that searches have compiled: one set per search at a time.
    patterns: Mutex<Vec<Patterns>>,
}

impl Finisher {
    pub(crate) fn new(mut document: Document, validator: Option<Validator>) -> Self {
        let level_bytes = if validator.is_none() { level_bytes(&document) } else { None };
        if validator.is_some() {
            document.add_opposites();
        }
        Self { document, validator, level_bytes, patterns: Mutex::default() }
    }

    pub(crate) fn level_bytes(&self) -> Option<usize> {
        self.level_bytes
    }

    /// Estimates the memory that this holds.
    pub(crate) fn num_bytes(&self) -> usize {
        // A validator is about as large as what it was made from.
        let factor = if self.validator.is_some() { 2 } else { 1 };
        self.document.num_bytes() * factor
    }

    /// Whether the grammar alone does not suffice.
    pub(crate) fn is_guard(&self) -> bool {
        self.validator.is_some()
    }

    /// Whether a text that the grammar allows is a valid value.
    pub(crate) fn accepts(&self, text: &[u8]) -> bool {
        let Some(validator) = &self.validator else { return true };
        match partial::read(text) {
            Ok(Partial::Whole(value)) => validator.accepts(&value),
            Ok(Partial::Number(text)) => {
                partial::number(&text).is_ok_and(|it| validator.accepts(&it))
            }
            _ => false,
        }
    }

    /// Finds bytes that finish `text` as a valid value, with a bounded effort.
    pub(crate) fn finish(
        &self,
        text: &[u8],
        effort: Effort,
        mut caller: Caller<'_>,
    ) -> Option<Vec<u8>> {
        let partial = partial::read(text).ok()?;
        if let Partial::Whole(value) = &partial {
            let is_valid = self.validator.as_ref().is_none_or(|validator| validator.accepts(value));
            return (is_valid && (caller.fits)(&[])).then(Vec::new);
        }
        let mut patterns = self.lock().pop().unwrap_or_default();
        let found = self.search((&partial, text.len()), effort, &mut caller, &mut patterns);
        self.lock().push(patterns);
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Patterns>> {
        // Patterns are whole whatever happened to their last user.
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn search(
        &self,
        (partial, num_written): (&Partial, usize),
        effort: Effort,
        caller: &mut Caller<'_>,
        patterns: &mut Patterns,
    ) -> Option<Vec<u8>> {
        let mut fuel = effort.fuel;
        let mut opinion = Opinion { document: &self.document, patterns, fuel: &mut fuel };
        if !opinion.may_hold(Document::ROOT, partial) {
            return None;
        }
        let mut attempts = Attempts::new();
        for _ in 0..effort.attempts {
            if fuel == 0 || (caller.is_over)() {
                return None;
            }
            // One attempt that goes astray leaves enough for others.
            let share = (effort.fuel / SHARES).min(fuel);
            let mut solver = Solver {
                document: &self.document,
                patterns,
                choices: attempts.next()?,
                pointer: String::new(),
                out: Vec::new(),
                fuel: share,
                blamed: None,
                depth: 0,
                is_over: caller.is_over,
            };
            let value = solver.value(&[Document::ROOT], partial, 0);
            let Solver { choices, out, pointer, fuel: left, .. } = solver;
            fuel -= share - left;
            let num_bytes = num_written + out.len();
            let mut pointers = Vec::new();
            match (value, &self.validator) {
                (None, _) => pointers.push(pointer),
                (Some(value), Some(validator)) if !validator.accepts(&value) => {
                    fuel = fuel.saturating_sub(num_bytes / EXPLAINED_PER_FUEL);
                    pointers = validator.pointers(&value);
                }
                (Some(_), _) => {
                    if (caller.fits)(&out) {
                        return Some(out);
                    }
                    fuel = fuel.saturating_sub(out.len() / ASKED_PER_FUEL);
                }
            }
            fuel = fuel.saturating_sub(num_bytes / JUDGED_PER_FUEL);
            attempts.learn(&choices, &pointers);
        }
        None
    }
}
