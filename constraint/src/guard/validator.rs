//! The validator, which has the last word on a whole value.

use jsonschema::{PatternOptions, Registry};
use referencing::ResourceRef;
use serde_json::Value;

use crate::error::SpecError;
use crate::json_schema::Schema;
use crate::spec::JsonOptions;

/// The most backtracking steps of a pattern on one string.
const BACKTRACKING: usize = 20_000;
/// The most bytes of a compiled pattern.
const PATTERN_BYTES: usize = 4 << 20;
/// The most errors reported per value.
const MAX_ERRORS: usize = 8;

/// Validates whole values by the specification, formats included.
pub(crate) struct Validator(jsonschema::Validator);

impl Validator {
    /// Compiles a schema that was read.
    ///
    /// # Errors
    /// A pattern is too large, or the validator refuses the schema.
    pub(crate) fn new(schema: &Schema, options: &JsonOptions) -> Result<Self, SpecError> {
        let (schema, draft) = schema.for_validator();
        let remotes = options
            .remotes
            .iter()
            .map(|(uri, schema)| (uri.as_str(), ResourceRef::new(schema, draft.detect(schema))));
        let registry = Registry::new()
            .draft(draft)
            .extend(remotes)
            .and_then(jsonschema::RegistryBuilder::prepare);
        let registry = registry.map_err(|error| wrong(None, error.to_string()))?;
        let patterns =
            PatternOptions::fancy_regex().backtrack_limit(BACKTRACKING).size_limit(PATTERN_BYTES);
        let validator = jsonschema::options()
            .with_draft(draft)
            .with_registry(&registry)
            .with_pattern_options(patterns)
            .should_validate_formats(true)
            .build(&schema);
        validator.map(Self).map_err(|error| {
            let at = error.instance_path().to_string();
            wrong(Some(at), error.to_string())
        })
    }

    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }

    /// Returns the JSON pointers of the errors in an invalid value.
    pub(crate) fn pointers(&self, value: &Value) -> Vec<String> {
        let errors = self.0.iter_errors(value).take(MAX_ERRORS);
        errors.map(|error| error.instance_path().to_string()).collect()
    }
}

fn wrong(at: Option<String>, message: String) -> SpecError {
    SpecError::Schema { at, message }
}
