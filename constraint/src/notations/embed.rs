//! JSON Schemas embedded in other grammars. The only module that requests the engine's form of a
//! schema.

use serde_json::Value;

use crate::error::SpecError;
use crate::json_schema::Schema;
use crate::limits::Limits;
use crate::spec::JsonOptions;

/// Returns the engine's form of a schema, with its options. The grammar must express the whole
/// schema, since nothing guards a value inside other text.
///
/// # Errors
/// The schema is invalid or too large, or has a keyword that the grammar cannot express.
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
        let message = "the grammar must express all of a schema inside other text";
        return Err(SpecError::unsupported(left.keyword, Some(&left.at), message));
    }
    warnings.extend(schema.document.warnings.iter().cloned().chain(made.warnings));
    Ok(schema.embedded())
}
