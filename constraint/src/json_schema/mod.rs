//! JSON Schema for the engine: checks what it would get wrong, names what it cannot express, and
//! sets its options. Owns no grammar; the engine makes that from the schema returned here.
//!
//! A keyword that restricts values and cannot be expressed is an error with its JSON pointer. A
//! `format` the engine does not know, and a keyword that no draft knows, are annotations: they are
//! dropped with a warning, as the specification says.

mod finite;
mod keywords;
mod levels;
mod numbers;
mod pointer;
mod walk;
mod widths;

use serde_json::{Value, json};

use crate::compile::Limits;
use crate::error::SpecError;
use crate::grammar::check_limit;
pub(crate) use walk::Places;

/// Whitespace between two lexemes: none, one space, or a line break with up to 16 spaces.
///
/// Small models have seen compact, spaced and indented JSON and do badly when held to another style
/// than the one they began; unbounded whitespace on the other hand is where they get stuck. This
/// allows the three styles (indents to 8 levels of 2, 4 of 4) and bounds what a gap can cost.
const WHITESPACE: &str = r"[ ]|\n[ ]{0,16}";

/// Escapes in strings. Without `\u`, each text has one spelling, so that a property name cannot be
/// written in a second way to pass as an additional property.
const ESCAPES: &str = "nrbtf\\\"";

/// Parts of the engine's messages about its limits.
const LIMITS: [&str; 7] =
    ["too big", "too large", "too complex", "too many", "exceeded", "limit", "panic"];

/// A schema that the engine may see.
pub(crate) struct Prepared {
    pub(crate) schema: Value,
    pub(crate) warnings: Vec<String>,
    pub(crate) places: Places,
}

/// Checks `schema` and returns the engine's version of it.
pub(crate) fn prepare(schema: &Value, limits: &Limits) -> Result<Prepared, SpecError> {
    check_size(schema, limits)?;
    let walked = match schema {
        Value::Bool(false) => {
            return Err(SpecError::Unsatisfiable { message: "the schema is `false`".to_string() });
        }
        Value::Bool(true) => return Ok(finish(json!({}), Vec::new(), Places::default())),
        Value::Object(_) => walk::walk(schema, limits)?,
        _ => {
            return Err(SpecError::Schema {
                at: Some(String::new()),
                message: "wanted an object or a boolean".to_string(),
            });
        }
    };
    Ok(finish(walked.schema, walked.warnings, walked.places))
}

fn finish(mut schema: Value, warnings: Vec<String>, places: Places) -> Prepared {
    schema["x-guidance"] = json!({
        "whitespace_flexible": false,
        "whitespace_pattern": WHITESPACE,
        "json_allowed_escapes": ESCAPES,
    });
    Prepared { schema, warnings, places }
}

/// Turns the engine's complaint about a prepared schema into an error with a place, if it has one.
pub(crate) fn explain(message: String, places: &Places) -> SpecError {
    let unsupported = |keyword: &str, message: &str| SpecError::Unsupported {
        keyword: keyword.to_string(),
        at: places.only(keyword),
        message: message.to_string(),
    };
    let has = |part: &str| message.contains(part);
    if has("oneOf constraints are not supported") {
        unsupported("oneOf", "its options cannot be shown to exclude each other")
    } else if has("min/maxProperties only supported") {
        let keyword = if places.has("minProperties") { "minProperties" } else { "maxProperties" };
        unsupported(keyword, "only where all listed properties are required")
    } else if has("circular references with sibling keys") {
        unsupported("$ref", "it leads back to itself beside other keywords")
    } else if has("patternProperty regexes") {
        unsupported("patternProperties", "its patterns cannot be shown to exclude each other")
    } else if has("'multipleOf'") {
        unsupported("multipleOf", &message)
    } else if has("Unable to determine if regex is empty") {
        unsupported("pattern", "it is too complex together with its other bounds")
    } else if has("Unsatisfiable schema") {
        SpecError::Unsatisfiable { message }
    } else if LIMITS.iter().any(|part| has(part)) {
        SpecError::TooComplex { message }
    } else {
        SpecError::Schema { at: None, message }
    }
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
