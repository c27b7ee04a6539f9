//! JSON Schemas inside other grammars: the one place where those ask for the engine's form of one.

use serde_json::Value;

use crate::error::SpecError;
use crate::json_schema::Schema;
use crate::limits::Limits;
use crate::spec::JsonOptions;

/// Returns the engine's form of a schema, with its options. What it means must be all in the
/// grammar: nothing guards a value inside other text.
///
/// # Errors
/// The schema is not valid, too large, or says what the grammar cannot.
pub(crate) fn embed(
    schema: &Value,
    limits: &Limits,
    warnings: &mut Vec<String>,
) -> Result<Value, SpecError> {
    let options = JsonOptions::default();
    let schema = Schema::read(schema, &options, limits)?;
    let made = schema.checked(&options);
    made.grammar.map_err(SpecError::unsatisfiable)?;
    if let Some(left) = made.left.into_iter().chain(schema.beyond_engine()).next() {
        let message = "a schema inside other text must be all in the grammar";
        return Err(SpecError::unsupported(left.keyword, Some(&left.at), message));
    }
    warnings.extend(schema.document.warnings.iter().cloned().chain(made.warnings));
    Ok(schema.embedded())
}
