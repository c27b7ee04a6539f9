//! Facts about a compiled schema, for the commands that print them.

use std::time::{Duration, Instant};

use serde::Serialize;
use sluicegate_constraint::{Compiled, SpecError, TokenId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GuardedKeyword {
    pub(crate) keyword: String,
    /// JSON pointer to the schema with the keyword.
    pub(crate) at: String,
}

/// A valid text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Witness {
    pub(crate) tokens: Vec<TokenId>,
    /// The duration of the search for it.
    pub(crate) time: Duration,
}

impl Witness {
    /// # Errors
    /// None was found.
    pub(crate) fn find(compiled: &Compiled) -> Result<Self, SpecError> {
        let began = Instant::now();
        let tokens = compiled.first_witness()?.to_vec();
        Ok(Self { tokens, time: began.elapsed() })
    }
}

/// Returns the keywords that the grammar does not express, for which a guard validates values.
pub(crate) fn guarded(compiled: &Compiled) -> Vec<GuardedKeyword> {
    let keyword = |(at, keyword): (&str, &str)| GuardedKeyword {
        keyword: keyword.to_owned(),
        at: at.to_owned(),
    };
    compiled.guarded().map(keyword).collect()
}
