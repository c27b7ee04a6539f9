//! Notations other than JSON Schema, each read into a grammar of the engine's.
//!
//! Only `compile` knows them: what builds, runs and guards a grammar does not.

mod embed;
mod gbnf;
mod lark;
mod line_column;
mod rules;
mod tags;
mod terminals;
mod token_lists;

use llguidance::api::TopLevelGrammar;
use serde_json::Value;

use crate::build::Author;
use crate::error::SpecError;
use crate::limits::Limits;
use crate::vocab::Vocab;
pub(crate) use tags::thinking;
pub(crate) use terminals::{choice, format, regex};

/// What a notation says, for the engine.
pub(crate) struct Source {
    pub(crate) grammar: TopLevelGrammar,
    /// Whose text the engine's complaints speak of.
    pub(crate) author: Author,
    pub(crate) warnings: Vec<String>,
    /// Bytes of the longest output, where that is known.
    pub(crate) max_bytes: Option<usize>,
}

impl Source {
    fn new(grammar: TopLevelGrammar) -> Self {
        Self { grammar, author: Author::Us, warnings: Vec::new(), max_bytes: None }
    }
}

/// Reads a grammar in the engine's dialect of Lark.
///
/// # Errors
/// It is too large or too deep, not a grammar as far as is seen here, or uses what is refused.
pub(crate) fn lark(source: &str, vocab: &Vocab, limits: &Limits) -> Result<Source, SpecError> {
    let (text, warnings) = lark::check(source, vocab, limits)?;
    let grammar = TopLevelGrammar::from_lark(text);
    Ok(Source { author: Author::Caller, warnings, ..Source::new(grammar) })
}

/// Reads a grammar in the notation of llama.cpp.
///
/// # Errors
/// The text is too long or not a grammar, no text can ever be complete, or no lexer can tell its
/// parts apart.
pub(crate) fn gbnf(source: &str, vocab: &Vocab, limits: &Limits) -> Result<Source, SpecError> {
    of_rules(gbnf::read(source, vocab, limits)?, limits)
}

/// Reads a structural tag in which [`thinking`] has found no section.
///
/// # Errors
/// It is not one, counts too far, or says what a grammar cannot; with a JSON pointer.
pub(crate) fn tag(tag: &Value, vocab: &Vocab, limits: &Limits) -> Result<Source, SpecError> {
    of_rules(tags::read(tag, vocab, limits)?, limits)
}

fn of_rules(rules: rules::Rules, limits: &Limits) -> Result<Source, SpecError> {
    let (grammar, warnings) = rules.compile(limits)?;
    Ok(Source { warnings, ..Source::new(grammar) })
}
