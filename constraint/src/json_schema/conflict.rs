//! Finds the keywords of a schema that together exclude every value.

use serde_json::{Map, Value};

use super::pointer::escape;

/// The most keywords of a schema to be explained.
const MAX_KEYWORDS: usize = 60;
/// The most patterns among them. Each may use all of the engine's fuel on every compilation.
const MAX_PATTERNS: usize = 8;
/// The most bytes compiled to explain a schema, which is compiled once per keyword.
const MAX_BYTES: usize = 100_000;

/// Keywords whose values restrict nothing by themselves.
const NEUTRAL: [&str; 12] = [
    "$schema",
    "$id",
    "id",
    "$defs",
    "definitions",
    "$anchor",
    "$dynamicAnchor",
    "title",
    "description",
    "default",
    "examples",
    "$comment",
];

/// Finds a minimal set of keywords that excludes every value: without any one of them, some value
/// would remain. Returns JSON pointers; empty if the schema is too large.
///
/// `is_empty` tells whether a schema certainly has no value. It must hold for `schema`.
pub(crate) fn core(schema: &Value, is_empty: &mut dyn FnMut(&Value) -> bool) -> Vec<String> {
    let mut all = Vec::new();
    keywords(schema, "", &mut all);
    let is_pattern = |pointer: &&String| {
        pointer.ends_with("/pattern") || pointer.ends_with("/patternProperties")
    };
    let num_bytes = schema.to_string().len() * all.len();
    if all.len() > MAX_KEYWORDS
        || num_bytes > MAX_BYTES
        || all.iter().filter(is_pattern).count() > MAX_PATTERNS
    {
        return Vec::new();
    }
    // Outer keywords are tried first; removing one also removes those inside it.
    all.sort_by_key(|pointer| pointer.matches('/').count());
    let mut left = schema.clone();
    let mut needed = Vec::new();
    for pointer in all {
        let mut without = left.clone();
        if !remove(&mut without, &pointer) {
            continue;
        }
        if is_empty(&without) {
            left = without;
        } else {
            needed.push(pointer);
        }
    }
    // An outer keyword is reported only by its inner ones that matter.
    let is_inner = |pointer: &String| {
        !needed
            .iter()
            .any(|other| other.len() > pointer.len() && other.starts_with(&format!("{pointer}/")))
    };
    needed.iter().filter(|pointer| is_inner(pointer)).cloned().collect()
}

/// Collects pointers to all keywords of all subschemas.
fn keywords(schema: &Value, at: &str, found: &mut Vec<String>) {
    let Value::Object(object) = schema else { return };
    for (name, value) in object {
        let pointer = format!("{at}/{}", escape(name));
        if !NEUTRAL.contains(&name.as_str()) {
            found.push(pointer.clone());
        }
        match (name.as_str(), value) {
            ("enum" | "const" | "required" | "default" | "examples", _) => {}
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                _,
            ) => {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    keywords(schema, &format!("{pointer}/{}", escape(name)), found);
                }
            }
            (_, Value::Array(schemas)) => {
                for (idx, schema) in schemas.iter().enumerate() {
                    keywords(schema, &format!("{pointer}/{idx}"), found);
                }
            }
            (_, schema) => keywords(schema, &pointer, found),
        }
    }
}

/// Removes a keyword. Returns false if it is already gone.
fn remove(schema: &mut Value, pointer: &str) -> bool {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return false };
    let name = name.replace("~1", "/").replace("~0", "~");
    let parent = schema.pointer_mut(parent).and_then(Value::as_object_mut);
    parent.and_then(|object: &mut Map<String, Value>| object.shift_remove(&name)).is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_conflicts_is_named() {
        let schema = json!({
            "title": "never",
            "type": "object",
            "allOf": [{"required": ["a"]}, {"properties": {"a": false, "b": {"type": "string"}}}],
        });
        let mut is_empty = |schema: &Value| {
            let requires = schema.pointer("/allOf/0/required").is_some();
            requires && schema.pointer("/allOf/1/properties/a") == Some(&json!(false))
        };
        let core = core(&schema, &mut is_empty);
        assert_eq!(core, ["/allOf/0/required", "/allOf/1/properties"]);
    }
}
