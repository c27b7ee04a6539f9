//! What each keyword of JSON Schema means to the walk. A pure table with its small predicates.

use serde_json::{Map, Value};

/// How a keyword is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its value is a schema.
    Schema,
    /// Its value is a list of schemas.
    Schemas,
    /// `items`: a schema, or in older drafts a list.
    Items,
    /// Its value maps names to schemas.
    Properties,
    /// Its value maps regexes to schemas.
    PatternProperties,
    /// A reference to another schema.
    Reference,
    /// Its value is a literal that the output may equal.
    Const,
    /// Its value is a list of such literals.
    Enum,
    /// A list of names.
    Required,
    /// A bound on numbers.
    Bound,
    MultipleOf,
    /// A bound on a length.
    Count,
    Pattern,
    Format,
    /// Restricts values in a way the grammar cannot express, with the reason.
    Unsupported(&'static str),
    /// Names the schema; harmless at the root.
    Id,
    /// Restricts nothing, but the engine refuses it.
    Idle,
    /// Restricts nothing, or is read where it is referred to.
    Annotation,
    /// In no draft.
    Unknown,
}

/// Formats that the engine enforces.
pub(super) const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"];

/// Looks a keyword up.
pub(super) fn kind(keyword: &str) -> Kind {
    const DEPENDS: &str = "what one property needs of another is not a matter of grammar";
    const UNEVALUATED: &str = "it depends on which other schemas matched";
    match keyword {
        "additionalProperties" | "additionalItems" => Kind::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Kind::Schemas,
        "items" => Kind::Items,
        "properties" => Kind::Properties,
        "patternProperties" => Kind::PatternProperties,
        "$ref" => Kind::Reference,
        "const" => Kind::Const,
        "enum" => Kind::Enum,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => Kind::Bound,
        "multipleOf" => Kind::MultipleOf,
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            Kind::Count
        }
        "pattern" => Kind::Pattern,
        "format" => Kind::Format,
        "not" => Kind::Unsupported("a grammar cannot express what a schema excludes"),
        "if" => Kind::Unsupported("a grammar cannot express a condition on other values"),
        "then" | "else" => Kind::Unsupported("a grammar cannot express a condition"),
        "dependentRequired" | "dependentSchemas" | "dependencies" => Kind::Unsupported(DEPENDS),
        "propertyNames" => Kind::Unsupported("write the names as `patternProperties`"),
        "contains" => Kind::Unsupported("a grammar cannot count the items that match"),
        "minContains" | "maxContains" => Kind::Unsupported("a grammar cannot count such items"),
        "uniqueItems" => Kind::Unsupported("a grammar cannot compare items"),
        "unevaluatedItems" | "unevaluatedProperties" => Kind::Unsupported(UNEVALUATED),
        "$dynamicRef" | "$recursiveRef" => Kind::Unsupported("only `$ref` is followed"),
        "$id" | "id" => Kind::Id,
        "$dynamicAnchor" | "$recursiveAnchor" | "$vocabulary" => Kind::Idle,
        "required" => Kind::Required,
        "type" | "$schema" | "$defs" | "definitions" | "$anchor" | "$comment" | "title"
        | "description" | "default" | "deprecated" | "readOnly" | "writeOnly" | "examples"
        | "contentMediaType" | "contentEncoding" | "contentSchema" => Kind::Annotation,
        _ => Kind::Unknown,
    }
}

/// Says whether an unsupported keyword restricts nothing as it stands, so that it may be dropped.
pub(super) fn is_idle(keyword: &str, value: &Value, schema: &Map<String, Value>) -> bool {
    let allows_all = *value == Value::Bool(true) || is_empty_object(value);
    match keyword {
        "not" | "uniqueItems" => *value == Value::Bool(false),
        "if" => !schema.contains_key("then") && !schema.contains_key("else"),
        "then" | "else" => !schema.contains_key("if"),
        "minContains" | "maxContains" => !schema.contains_key("contains"),
        "dependentRequired" | "dependentSchemas" | "dependencies" => is_empty_object(value),
        "propertyNames" | "unevaluatedItems" | "unevaluatedProperties" => allows_all,
        _ => false,
    }
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

/// Says whether a string can be written with the escapes that are allowed.
pub(super) fn is_writable(text: &str) -> bool {
    text.chars().all(|c| c >= ' ' && c != '\u{7f}' || "\n\r\t\u{8}\u{c}".contains(c))
}
