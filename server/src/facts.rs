//! What the engine says of a compiled schema, for the commands that show it.

use std::time::{Duration, Instant};

use serde::Serialize;
use sluicegate_constraint::{Compiled, SpecError, TokenId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Keywords that the grammar does not express, so that a guard judges values.
    pub(crate) guarded: Vec<GuardedKeyword>,
    /// The tokens of a valid text. None if nobody looked for one.
    pub(crate) witness: Option<Vec<TokenId>>,
    /// What the search for it took.
    pub(crate) witness_time: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GuardedKeyword {
    pub(crate) keyword: String,
    /// JSON pointer to the schema that holds it.
    pub(crate) at: String,
}

impl Facts {
    /// Looks for a valid text only where a guard needs one.
    ///
    /// # Errors
    /// None was found.
    pub(crate) fn of(compiled: &Compiled) -> Result<Self, SpecError> {
        if compiled.is_guarded() {
            return Self::with_example(compiled);
        }
        Ok(Self { guarded: Vec::new(), witness: None, witness_time: None })
    }

    /// # Errors
    /// No valid text was found.
    pub(crate) fn with_example(compiled: &Compiled) -> Result<Self, SpecError> {
        let began = Instant::now();
        let witness = compiled.first_witness()?.to_vec();
        let witness_time = began.elapsed();
        let keyword = |(at, keyword): (&str, &str)| GuardedKeyword {
            keyword: keyword.to_owned(),
            at: at.to_owned(),
        };
        let guarded = compiled.guarded().map(keyword).collect();
        Ok(Self { guarded, witness: Some(witness), witness_time: Some(witness_time) })
    }

    pub(crate) fn is_guarded(&self) -> bool {
        !self.guarded.is_empty()
    }
}
