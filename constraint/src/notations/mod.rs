//! Notations other than JSON Schema, each read into a grammar for the engine.
//!
//! Only `compile` knows them. The code that builds, runs and guards grammars does not.

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

/// A grammar for the engine.
pub(crate) struct Source {
    pub(crate) grammar: TopLevelGrammar,
    /// The author of the text that the engine's messages refer to.
    pub(crate) author: Author,
    pub(crate) warnings: Vec<String>,
    /// Bytes of the longest output, where known.
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
/// The text is too large, nests too deep, uses a refused feature, or is not a grammar as far as
/// this crate checks.
pub(crate) fn lark(source: &str, vocab: &Vocab, limits: &Limits) -> Result<Source, SpecError> {
    let (text, warnings) = lark::check(source, vocab, limits)?;
    let grammar = TopLevelGrammar::from_lark(text);
    Ok(Source { author: Author::Caller, warnings, ..Source::new(grammar) })
}

/// Reads a grammar in llama.cpp's notation.
///
/// # Errors
/// The text is too long or not a grammar, no text can ever be complete, or no lexer can separate
/// its parts.
pub(crate) fn gbnf(source: &str, vocab: &Vocab, limits: &Limits) -> Result<Source, SpecError> {
    of_rules(gbnf::read(source, vocab, limits)?, limits)
}

/// Reads a structural tag, after [`thinking`] found no section in it.
///
/// # Errors
/// With a JSON pointer: the tag is invalid, counts too far, or asks for something that a grammar
/// cannot express.
pub(crate) fn tag(tag: &Value, vocab: &Vocab, limits: &Limits) -> Result<Source, SpecError> {
    of_rules(tags::read(tag, vocab, limits)?, limits)
}

fn of_rules(rules: rules::Rules, limits: &Limits) -> Result<Source, SpecError> {
    let (grammar, warnings) = rules.compile(limits)?;
    Ok(Source { warnings, ..Source::new(grammar) })
}
