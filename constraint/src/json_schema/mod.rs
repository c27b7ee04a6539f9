//! JSON Schema: reads a schema of any draft and turns it into the engine's grammar.
//!
//! Owns the meaning of keywords and how much of it a grammar can express. The rest is left to a
//! guard, which validates finished values. An unknown `format` or keyword is an annotation, as the
//! specification demands, and causes a warning.

mod analysis;
mod conflict;
mod disjoint;
pub(crate) mod document;
mod ecma;
mod grammar;
mod levels;
mod numbers;
mod patterns;
mod pointer;
mod regexes;
mod spelling;
mod strict;
mod tails;
mod values;
mod width;

use referencing::Draft;
use serde_json::{Value, json};

use crate::error::SpecError;
use crate::limits::Limits;
use crate::limits::check_limit;
use crate::spacing::{ITEM_SEPARATOR, KEY_SEPARATOR, Spacing};
use crate::spec::{Extras, JsonOptions};
pub(crate) use conflict::core;
use document::{Bound, Document, Reader, Source};
use grammar::Room;
pub(crate) use grammar::{Coarse, Left, Made, in_order};
pub(crate) use numbers::{common_multiple, spelled};
pub(crate) use patterns::{Ask, Patterns};
pub(crate) use regexes::{format_hint, format_regex};
pub(crate) use spelling::{escape, quoted};
pub(crate) use tails::level_bytes;
pub(crate) use values::is_same;
use values::{MAX_EXACT, has_inexact};

/// The escapes allowed in strings of schemas embedded in other grammars. Without `\u` each text has
/// a single spelling, so that no property name can be respelled to pass as an additional one.
const ESCAPES: &str = "nrbtf\\\"";

/// A schema that has been read and checked.
#[derive(Debug)]
pub(crate) struct Schema {
    source: Source,
    pub(crate) document: Document,
    finite: Vec<bool>,
}

impl Schema {
    /// Reads and checks a schema.
    ///
    /// # Errors
    /// The document is not a schema, exceeds a limit, or certainly has no value.
    pub(crate) fn read(
        schema: &Value,
        options: &JsonOptions,
        limits: &Limits,
    ) -> Result<Self, SpecError> {
        check_size(schema, limits)?;
        let (source, document) = document::read(schema, options, limits)?;
        analysis::check_cycles(&document)?;
        if options.extras == Extras::Strict {
            strict::check(&document)?;
        }
        let finite = analysis::finite(&document);
        if !finite[Document::ROOT.index()] {
            let message = "the schema excludes every value, or requires itself endlessly";
            return Err(SpecError::unsatisfiable(message.to_owned()));
        }
        let levels = analysis::levels(&document);
        let max_levels = limits.max_schema_levels;
        check_limit("nested schemas, references followed", levels, max_levels)?;
        Ok(Self { source, document, finite })
    }

    /// Returns the schema for the validator, with its draft. That is the schema as it was read; or
    /// as it was given, if the target of a reference depends on the path to it.
    pub(crate) fn for_validator(&self) -> (Value, Draft) {
        if self.document.is_dynamic {
            return (self.source.schema.clone(), self.source.draft);
        }
        (self.document.to_schema(Reader::Validator), Draft::Draft202012)
    }

    /// Returns a keyword that our grammar expresses and the engine's own reading of schemas does
    /// not.
    pub(crate) fn beyond_engine(&self) -> Option<Left> {
        self.document.ids().find_map(|id| {
            let keywords = self.document.keywords(id)?;
            let bounds = [&keywords.number.minimum, &keywords.number.maximum];
            // The engine computes in floats.
            let is_exact =
                |bound: &Bound| bound.value.as_f64().is_some_and(|it| it.abs() < MAX_EXACT);
            let keyword = if keywords.object.names.is_some_and(|it| !self.document.is_always(it)) {
                "propertyNames"
            } else if !bounds.into_iter().flatten().all(is_exact) {
                "minimum"
            } else if keywords.literals.iter().flatten().any(has_inexact) {
                "enum"
            } else {
                return None;
            };
            Some(Left { at: self.document.node(id).at.clone(), keyword })
        })
    }

    /// Makes the schema's grammar.
    pub(crate) fn grammar(&self, options: &JsonOptions, coarse: Coarse) -> Made {
        self.made(options, coarse, Room::BUILT)
    }

    /// Makes the schema's grammar only to see what it leaves out, for schemas that the engine reads
    /// itself. The cost of building it is no reason to leave anything out here.
    pub(crate) fn checked(&self, options: &JsonOptions) -> Made {
        self.made(options, Coarse::default(), Room::CHECKED)
    }

    fn made(&self, options: &JsonOptions, coarse: Coarse, room: Room) -> Made {
        let form = (options.order, Spacing(options.whitespace));
        grammar::make(&self.document, form, &self.finite, coarse, room)
    }

    /// Returns the schema in the form that the engine reads inside other grammars.
    pub(crate) fn embedded(&self) -> Value {
        let options = json!({
            "whitespace_flexible": false,
            "item_separator": ITEM_SEPARATOR,
            "key_separator": KEY_SEPARATOR,
            "json_allowed_escapes": ESCAPES,
            // Options that are not disjoint have been refused.
            "coerce_one_of": true,
        });
        let mut schema = self.document.to_schema(Reader::Engine);
        schema["x-guidance"] = options;
        schema
    }
}

/// Checks nesting and size without recursion, before anything recurses over the schema.
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
