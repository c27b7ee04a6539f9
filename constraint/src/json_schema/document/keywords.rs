//! The keywords of each draft, and readers for keywords that belong together.

use referencing::Draft;
use serde_json::Value;

use super::super::numbers::Decimal;
use super::super::values::is_same;
use super::Bound;
use super::syntax::SchemaObject;
use crate::error::SpecError;

/// Keywords that restrict nothing, at least in the schema's draft.
pub(super) const ANNOTATIONS: [&str; 14] = [
    "id",
    "definitions",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "example",
    "contentMediaType",
    "contentEncoding",
    "contentSchema",
    "nullable",
];

pub(super) fn is_own(name: &str, draft: Draft) -> bool {
    match name {
        "type"
        | "dependencies"
        | "minimum"
        | "maximum"
        | "exclusiveMinimum"
        | "exclusiveMaximum"
        | "multipleOf"
        | "minLength"
        | "maxLength"
        | "pattern"
        | "format"
        | "items"
        | "additionalItems"
        | "minItems"
        | "maxItems"
        | "uniqueItems"
        | "properties"
        | "patternProperties"
        | "additionalProperties"
        | "required"
        | "minProperties"
        | "maxProperties" => true,
        "contains" | "propertyNames" => draft >= Draft::Draft6,
        "dependentRequired" | "dependentSchemas" | "unevaluatedProperties" | "unevaluatedItems" => {
            draft >= Draft::Draft201909
        }
        "prefixItems" => draft >= Draft::Draft202012,
        _ => false,
    }
}

/// Adds literals. If `enum` and `const` are both present, a value must be in both.
pub(super) fn add_literals(literals: &mut Option<Vec<Value>>, more: Vec<Value>) {
    *literals = Some(match literals.take() {
        None => more,
        Some(known) => {
            let is_listed = |value: &Value| more.iter().any(|it| is_same(it, value));
            known.into_iter().filter(is_listed).collect()
        }
    });
}

/// Reads a bound. In draft 4 `exclusiveMinimum` and `exclusiveMaximum` are booleans; in later
/// drafts they are bounds of their own, and the tighter bound counts.
pub(super) fn bound(
    schema: SchemaObject<'_, '_>,
    inclusive: &str,
    exclusive: &str,
) -> Result<Option<Bound>, SpecError> {
    let loose = schema.number(inclusive)?;
    if schema.get(exclusive).is_some_and(Value::is_boolean) {
        let is_exclusive = schema.flag(exclusive)?;
        return Ok(loose.map(|value| Bound { value, is_exclusive }));
    }
    let strict = schema.number(exclusive)?;
    let is_lower = inclusive == "minimum";
    Ok(match (loose, strict) {
        (Some(loose), Some(strict)) => {
            let (a, b) = (Decimal::new(&loose), Decimal::new(&strict));
            let is_strict = if is_lower { b >= a } else { b <= a };
            let value = if is_strict { strict } else { loose };
            Some(Bound { value, is_exclusive: is_strict })
        }
        (Some(value), None) => Some(Bound { value, is_exclusive: false }),
        (None, Some(value)) => Some(Bound { value, is_exclusive: true }),
        (None, None) => None,
    })
}

/// Reads the names that a property requires: a list or, in old drafts, a single name.
pub(super) fn needed(
    schema: SchemaObject<'_, '_>,
    keyword: &str,
    value: &Value,
) -> Result<Vec<String>, SpecError> {
    let wrong = || schema.wrong(keyword, "names with lists of names");
    match value {
        Value::String(name) => Ok(vec![name.clone()]),
        Value::Array(names) => {
            names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}
