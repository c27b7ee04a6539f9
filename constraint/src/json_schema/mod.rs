//! JSON Schema: reads a schema of any draft, and restates it for the engine.
//!
//! Owns what keywords mean and how much of them the engine's grammar can say. What it cannot say is
//! left to a guard, which judges finished values; a `format` that nobody knows and a keyword of no
//! draft are annotations, as the specification says, and are warned of.

mod analysis;
mod conflict;
mod disjoint;
pub(crate) mod document;
mod levels;
mod lower;
mod numbers;
mod pointer;
mod regexes;
mod strict;
mod tails;
mod widths;

use referencing::Draft;
use serde_json::{Value, json};

use crate::compile::Limits;
use crate::error::SpecError;
use crate::grammar::check_limit;
use crate::spacing::{ITEM_SEPARATOR, KEY_SEPARATOR};
use crate::spec::{Extras, JsonOptions, Whitespace};
pub(crate) use conflict::core;
pub(crate) use disjoint::is_same;
use document::{Document, Source};
pub(crate) use lower::{Coarse, Left, Lowered};
pub(crate) use regexes::{format_hint, format_regex, parts};
pub(crate) use tails::level_bytes;

/// Escapes in strings. Without `\u`, each text has one spelling, so that a property name cannot be
/// written in a second way to pass as an additional property.
const ESCAPES: &str = "nrbtf\\\"";

/// Schemas on the longest way down a schema, references followed. The validator recurses over them.
const MAX_LEVELS: usize = 400;

/// A schema that was read.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) source: Value,
    pub(crate) draft: Draft,
    pub(crate) document: Document,
    finite: Vec<bool>,
    coarse: Coarse,
}

impl Schema {
    /// Reads and checks a schema.
    ///
    /// # Errors
    /// It is no schema, exceeds a limit, or plainly has no value.
    pub(crate) fn read(
        schema: &Value,
        options: &JsonOptions,
        limits: &Limits,
    ) -> Result<Self, SpecError> {
        check_size(schema, limits)?;
        let Source { schema: source, draft, document } = document::read(schema, options, limits)?;
        analysis::check_cycles(&document)?;
        if options.extras == Extras::Strict {
            strict::check(&document)?;
        }
        let finite = analysis::finite(&document);
        if !finite[Document::ROOT.index()] {
            let message = "no value can be complete: the schema rules all out or requires itself";
            return Err(SpecError::unsatisfiable(message.to_owned()));
        }
        let size = analysis::size(&document);
        check_limit("nested schemas, references followed", size.levels, MAX_LEVELS)?;
        let coarse = Coarse {
            types_only: size.levels > limits.max_schema_levels || !size.fits_engine,
            counts: !size.can_count,
            strings: !size.joins_few,
            patterns: !analysis::compares_few(&document),
            ..Coarse::default()
        };
        Ok(Self { source, draft, document, finite, coarse })
    }

    /// What has to be left out from the start.
    pub(crate) fn coarse(&self) -> Coarse {
        self.coarse
    }

    /// Restates it for the engine.
    pub(crate) fn lower(&self, options: &JsonOptions, coarse: Coarse) -> Lowered {
        let mut lowered = lower::lower(&self.document, options.order, &self.finite, coarse);
        if !lowered.schema.is_object() {
            lowered.schema = json!({ "allOf": [lowered.schema] });
        }
        lowered.schema["x-guidance"] = match options.whitespace {
            // The brackets get theirs from `spacing`, once the engine has read the schema.
            Whitespace::Bounded => json!({
                "whitespace_flexible": false,
                "item_separator": ITEM_SEPARATOR,
                "key_separator": KEY_SEPARATOR,
                "json_allowed_escapes": ESCAPES,
            }),
            Whitespace::Compact => json!({
                "whitespace_flexible": false,
                "json_allowed_escapes": ESCAPES,
            }),
            Whitespace::Flexible => json!({
                "whitespace_flexible": true,
                "json_allowed_escapes": ESCAPES,
            }),
        };
        lowered
    }
}

/// Turns the engine's complaint about a schema, or a grammar with schemas in it, into an error.
pub(crate) fn explain(message: String) -> SpecError {
    let is_empty = ["Unsatisfiable schema", "is unsatisfiable", "are unsatisfiable"];
    if is_empty.iter().any(|part| message.contains(part)) {
        return SpecError::unsatisfiable(reason(&message));
    }
    SpecError::TooComplex { message }
}

/// The engine's reason without its wrapping.
fn reason(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.split("Unsatisfiable schema: ").last().unwrap_or(line).to_owned()
}

/// What to leave out after the engine refused a schema. None if nothing is left to leave out.
pub(crate) fn coarser(message: &str, coarse: Coarse) -> Option<Coarse> {
    let has = |part: &str| message.contains(part);
    let by_cause = if has("patternProperty regexes") || has("pattern_properties") {
        Coarse { patterns: true, ..coarse }
    } else if has("min/maxProperties only supported") {
        Coarse { counts: true, ..coarse }
    } else if has("circular references") {
        Coarse { neighbours: true, ..coarse }
    } else if has("regex") || has("lexer") || has("'multipleOf'") || has("fuel") {
        Coarse { strings: true, ..coarse }
    } else {
        coarse
    };
    if by_cause != coarse {
        return Some(by_cause);
    }
    let steps = [
        Coarse { neighbours: true, ..coarse },
        Coarse { merging: true, neighbours: true, ..coarse },
        Coarse { merging: true, strings: true, patterns: true, counts: true, ..coarse },
        Coarse { types_only: true, ..coarse },
    ];
    steps.into_iter().find(|step| *step != coarse && !coarse.types_only)
}

/// Bounds nesting and size without recursion, before anything recurses over the schema.
fn check_size(schema: &Value, limits: &Limits) -> Result<(), SpecError> {
    let mut num_bytes = 0;
    let mut todo = vec![(schema, 1)];
    while let Some((value, depth)) = todo.pop() {
        check_limit("JSON nesting of a schema", depth, limits.max_schema_depth)?;
        num_bytes += match value {
            Value::String(text) => text.len() + 3,
            Value::Array(items) => {
                todo.extend(items.iter().map(|item| (item, depth + 1)));
                2
            }
            Value::Object(object) => {
                todo.extend(object.values().map(|item| (item, depth + 1)));
                2 + object.keys().map(|key| key.len() + 4).sum::<usize>()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => 5,
        };
        check_limit("bytes of a schema", num_bytes, limits.max_schema_bytes)?;
    }
    Ok(())
}
