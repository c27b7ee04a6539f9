//! JSON Schema: which texts are accepted, what is refused at compile time and where.

use serde_json::{Value, json};
use sluicegate_constraint::{Spec, SpecError};

use crate::support::{COMPILER, check, json};

#[test]
fn json_table() {
    let closed = json!({
        "type": "object",
        "properties": {"b": {"type": "integer"}, "a": {"type": "string"}},
        "required": ["b"],
        "additionalProperties": false,
    });
    let open = json!({"type": "object", "properties": {"age": {"type": "integer"}}});
    let rows: Vec<(Value, &[&str], &[&str])> = vec![
        (
            closed,
            &["{\"b\":1}", "{\"b\": 1, \"a\": \"x\"}", "{\n  \"b\": 1,\n  \"a\": \"\"\n}"],
            // Order is the schema's; nothing before or after; whitespace is bounded.
            &[
                "{\"a\":\"\",\"b\":1}",
                "{}",
                " {\"b\":1}",
                "{\"b\":1} ",
                "{\"b\":  1}",
                "{\n\n\"b\":1}",
                "{\t\"b\":1}",
                "{\"b\":1,}",
                "{\"b\":1,\"c\":1}",
            ],
        ),
        (
            open,
            &["{}", "{\"age\":3}", "{\"ag\":null}"],
            // The second spelling of `age` would pass as an additional property.
            &["{\"age\":\"x\"}", "{\"\\u0061ge\":\"x\"}", "{\"x\":\"\\u0041\"}"],
        ),
        (json!({"type": "string"}), &["\"\"", "\"a\\n\\\"é終 \""], &["\"\n\"", "\"\\x\"", "x"]),
        (json!({"type": "integer"}), &["0", "-12"], &["01", "1.0", "1e3", "-"]),
        (json!({"type": "number"}), &["0.5", "1e3", "-2E-1"], &[".5", "1.", "+1", "NaN"]),
        (json!({"minimum": 3, "type": "integer"}), &["3", "42"], &["2", "-3"]),
        (json!({"const": {"k": [1, "x"]}}), &["{\"k\": [1, \"x\"]}"], &["{\"k\":[1]}"]),
        (json!({"enum": ["a", "b", null]}), &["\"a\"", "null"], &["\"c\"", "a"]),
        (json!({"type": "string", "format": "date"}), &["\"2024-02-29\""], &["\"2024-13-01\""]),
        (json!({"type": "string", "pattern": "b"}), &["\"abc\"", "\"b\""], &["\"ac\""]),
        (json!({"type": "array", "maxItems": 1}), &["[]", "[{}]"], &["[1,2]"]),
        (json!({"items": {"$ref": "#"}, "type": "array"}), &["[[],[[]]]"], &["[1]"]),
        // A branch that could never be complete is no branch.
        (
            json!({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/endless"}],
                   "$defs": {"endless": {"type": "array", "items": {"$ref": "#/$defs/endless"},
                                         "minItems": 1}}}),
            &["null"],
            &["[", "[[]]"],
        ),
        (json!({"$ref": "#/x/y%20z", "x": {"y z": {"type": "null"}}}), &["null"], &["1"]),
    ];
    for (schema, good, bad) in rows {
        let compiled = json(schema);
        for (texts, accepted) in [(good, true), (bad, false)] {
            for text in texts {
                check(&compiled, text, accepted);
            }
        }
    }
}

#[track_caller]
fn error(schema: Value) -> SpecError {
    COMPILER.compile(&Spec::JsonSchema(schema)).unwrap_err()
}

#[test]
fn unsupported_keywords_are_named_with_their_place() {
    let inside = |schema: Value| json!({"type": "object", "properties": {"a/b": {"anyOf": [{"type": "null"}, schema]}}});
    for (keyword, schema) in [
        ("not", json!({"not": {"type": "null"}})),
        ("if", json!({"if": {"type": "null"}, "then": {}})),
        ("uniqueItems", json!({"type": "array", "uniqueItems": true})),
        ("contains", json!({"contains": {"const": 1}})),
        ("dependentRequired", json!({"dependentRequired": {"a": ["b"]}})),
        ("dependencies", json!({"dependencies": {"a": ["b"]}})),
        ("propertyNames", json!({"propertyNames": {"maxLength": 3}})),
        ("unevaluatedProperties", json!({"unevaluatedProperties": false})),
        ("$dynamicRef", json!({"$dynamicRef": "#x"})),
        ("$ref", json!({"$ref": "https://example.com/schema.json"})),
        ("$ref", json!({"$ref": "#anchor"})),
        ("oneOf", json!({"oneOf": [{"minimum": 3}, {"maximum": 5}]})),
        (
            "minProperties",
            json!({"type": "object", "properties": {"x": {}, "y": {}},
                                 "minProperties": 2}),
        ),
        ("const", json!({"const": 9_007_199_254_740_993_i64})),
        ("minimum", json!({"minimum": 1e300})),
        ("enum", json!({"enum": ["a", "\u{1}"]})),
        ("pattern", json!({"pattern": "a(?P<stop>b)"})),
    ] {
        match error(inside(schema.clone())) {
            SpecError::Unsupported { keyword: found, at, .. } => {
                assert_eq!(found, keyword, "{schema}");
                assert_eq!(at.as_deref(), Some("/properties/a~1b/anyOf/1"), "{schema}");
            }
            other => panic!("{schema}: {other:?}"),
        }
    }
    // Where two places may be meant, none is named.
    let vague = json!({"oneOf": [{"minimum": 3}, {"maximum": 5}]});
    let two = error(json!({"type": "array", "prefixItems": [vague, vague]}));
    assert!(matches!(two, SpecError::Unsupported { at: None, .. }), "{two:?}");
}

#[test]
fn keywords_that_restrict_nothing_are_no_obstacle() {
    let compiled = json(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "not a uri at all",
        "type": "array", "uniqueItems": false, "minContains": 3, "then": {"not": {}},
        "unevaluatedItems": true, "deprecated": true, "items": {"type": "null", "not": false},
        "propertyNames": true, "dependentSchemas": {}, "$dynamicAnchor": "a",
        "$defs": {"unused": {"not": {}}},
    }));
    assert_eq!(compiled.warnings(), [""; 0]);
    check(&compiled, "[null,null]", true);
}

#[test]
fn unknown_formats_and_keywords_warn() {
    let compiled = json(json!({
        "type": "object",
        "properties": {"c": {"type": "string", "format": "color", "minimun": 3}},
        "required": ["c"], "additionalProperties": false, "x-order": 1,
    }));
    check(&compiled, "{\"c\":\"abc\"}", true);
    assert_eq!(
        compiled.warnings(),
        [
            "format \"color\" is not enforced at /properties/c",
            "unknown keyword \"minimun\" restricts nothing at /properties/c",
        ]
    );
    // The engine's own options are not the caller's: these would let anything through.
    let compiled = json(json!({"x-guidance": {"lenient": true}, "type": "null"}));
    assert_eq!(compiled.warnings(), ["`x-guidance` is ignored at the schema's root"]);
    check(&compiled, "null", true);
}

#[test]
fn malformed_schemas_are_errors_with_a_place() {
    for (schema, want) in [
        (json!(3), ""),
        (json!({"properties": 3}), "/properties"),
        (json!({"properties": {"a": 3}}), "/properties/a"),
        (json!({"anyOf": {}}), "/anyOf"),
        (json!({"items": "x"}), "/items"),
        (json!({"enum": 3}), "/enum"),
        (json!({"maximum": "3"}), "/maximum"),
        (json!({"multipleOf": 0}), "/multipleOf"),
        (json!({"multipleOf": -2}), "/multipleOf"),
        (json!({"minLength": -1}), "/minLength"),
        (json!({"pattern": "("}), "/pattern"),
        (json!({"patternProperties": {"[": {}}}), "/patternProperties"),
        (json!({"$ref": "#/$defs/none"}), "/$ref"),
        (json!({"$ref": 3}), "/$ref"),
    ] {
        match error(schema.clone()) {
            SpecError::Schema { at, .. } => assert_eq!(at.as_deref(), Some(want), "{schema}"),
            other => panic!("{schema}: {other:?}"),
        }
    }
    for schema in [json!({"type": "text"}), json!({"type": 3}), json!({"required": 3})] {
        assert!(matches!(error(schema.clone()), SpecError::Schema { .. }), "{schema}");
    }
}

#[test]
fn unsatisfiable_schemas_are_errors() {
    for schema in [
        json!(false),
        json!({"type": "string", "minLength": 3, "maxLength": 2}),
        json!({"type": "integer", "minimum": 3, "maximum": 2}),
        json!({"type": "string", "const": 3}),
        json!({"enum": []}),
        json!({"type": "array", "minItems": 1, "items": false}),
        json!({"type": "object", "properties": {"a": false}, "required": ["a"]}),
        json!({"type": "string", "pattern": "^a$", "minLength": 2}),
    ] {
        let found = error(schema.clone());
        assert!(matches!(found, SpecError::Unsatisfiable { .. }), "{schema}: {found:?}");
    }
}
