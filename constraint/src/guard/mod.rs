//! Finishes JSON: searches for the rest of a partial text that makes the whole valid.
//!
//! Where the grammar allows more than the schema, a validator checks whole values. Owns no state of
//! a sequence. Every finish found is checked against the grammar by the caller and, where the
//! grammar is not exact, by the validator. So a wrong guess costs time, but never leads to a wrong
//! output.

mod array;
mod choices;
mod facts;
mod finish;
mod gather;
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

/// The denominator of the share of a search's fuel that one attempt may use.
const SHARES: usize = 4;
/// Bytes of a value validated, and explained, per unit of fuel.
const VALIDATED_PER_FUEL: usize = 64;
const EXPLAINED_PER_FUEL: usize = 16;
/// Bytes of a finish checked by the grammar per unit of fuel.
const ASKED_PER_FUEL: usize = 8;

/// The cost limits of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// The most values to build.
    pub(crate) attempts: usize,
    /// The most schemas to visit, at less than a microsecond each. Other work is charged by its
    /// time.
    pub(crate) fuel: usize,
}

/// The callbacks of a search.
pub(crate) struct Caller<'a> {
    /// Returns whether grammar and budget allow these bytes.
    pub(crate) fits: &'a mut dyn FnMut(&[u8]) -> bool,
    /// Returns whether the time is up.
    pub(crate) is_over: &'a dyn Fn() -> bool,
}

/// Finishes values of one schema. Shared by all its matchers.
pub(crate) struct Finisher {
    document: Document,
    /// Present where the grammar allows more than the schema.
    validator: Option<Validator>,
    /// The most bytes that an open nesting level may still need, where known.
    level_bytes: Option<usize>,
    /// Sets of compiled patterns; each search takes one while it runs.
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

    /// Estimates the memory of the finisher.
    pub(crate) fn num_bytes(&self) -> usize {
        // A validator is about as large as its schema.
        let factor = if self.validator.is_some() { 2 } else { 1 };
        self.document.num_bytes() * factor
    }

    /// Returns whether the grammar alone does not suffice.
    pub(crate) fn is_guard(&self) -> bool {
        self.validator.is_some()
    }

    /// Returns whether a text that the grammar allows is a valid value.
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

    /// Searches for bytes that complete `text` to a valid value, with bounded effort.
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
        // Patterns stay consistent even if their last user panicked.
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
            // A share leaves fuel for other attempts if this one goes astray.
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
            fuel = fuel.saturating_sub(num_bytes / VALIDATED_PER_FUEL);
            attempts.learn(&choices, &pointers);
        }
        None
    }
}
