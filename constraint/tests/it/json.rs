//! JSON Schema: which texts are accepted, what is refused at compile time and where.

use serde_json::{Value, json};
use sluicegate_constraint::{JsonOptions, PropertyOrder, Spec, SpecError, Whitespace};

use crate::support::{COMPILER, check, check_all, json};

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
            &["{}", "{\"age\":3}", "{\"ag\":null}", "{\"x\":\"\\u0041\"}"],
            // The second spelling of `age` would pass as an additional property.
            &["{\"age\":\"x\"}", "{\"\\u0061ge\":\"x\"}"],
        ),
        (json!({"type": "string"}), &["\"\"", "\"a\\n\\\"é終 \""], &["\"\n\"", "\"\\x\"", "x"]),
        (json!({"type": "integer"}), &["0", "-12"], &["01", "1.0", "1e3", "-"]),
        (json!({"type": "number"}), &["0.5", "1e3", "-2E-1"], &[".5", "1.", "+1", "NaN"]),
        (json!({"minimum": 3, "type": "integer"}), &["3", "42"], &["2", "-3"]),
        (
            json!({"type": "number", "exclusiveMinimum": u64::MAX}),
            &["36893488147419103232", "2e19"],
            &["18446744073709551615", "3"],
        ),
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
        check_all(&compiled, good, bad);
    }
}

#[test]
fn what_the_grammar_joins_and_counts() {
    let rows: Vec<(Value, &[&str], &[&str])> = vec![
        // Both schemas order the properties of `x` and `y`, each otherwise.
        (
            json!({"type": "object", "required": ["x", "y"], "allOf": [
                {"properties": {"x": {"$ref": "#/$defs/a"}, "y": {"$ref": "#/$defs/b"}}},
                {"properties": {"x": {"$ref": "#/$defs/b"}, "y": {"$ref": "#/$defs/a"}}}],
                "$defs": {"a": {"type": "object", "properties": {"p": {"type": "null"}}, "required": ["p"]},
                          "b": {"type": "object", "properties": {"q": {"type": "null"}}, "required": ["q"]}}}),
            &["{\"x\":{\"p\":null,\"q\":null},\"y\":{\"q\":null,\"p\":null}}"],
            &["{\"x\":{\"p\":null},\"y\":{\"q\":null,\"p\":null}}"],
        ),
        // Names that are all taken, and a maximum that cannot bind.
        (
            json!({"type": "object", "patternProperties": {"^(a|ab)$": {}}, "minProperties": 2,
                   "additionalProperties": false}),
            &["{\"ab\":1,\"a\":2}"],
            &["{\"ab\":1}", "{\"ab\":1,\"ab\":2}"],
        ),
        (
            json!({"type": "object", "propertyNames": {"pattern": "a.*b.*c.*d.*e.*f", "minLength": 40,
                   "maxLength": 60}, "properties": {"zz": {}}}),
            &["{}"],
            &["{\"zz\":1}"],
        ),
        (json!({"enum": [1, 2], "const": 1.0}), &["1"], &["2"]),
        (
            json!({"type": "integer", "enum": [1_000_000_001, 2], "multipleOf": 2}),
            &["2"],
            &["1000000001"],
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "": [false],
                   "items": {"type": "integer"}}),
            &["[1]"],
            &["[\"x\"]"],
        ),
        (
            json!({"type": "object", "maxProperties": 2, "minProperties": 1,
                   "properties": {"a": {}, "b": {}}}),
            &["{\"a\": 1}", "{\"b\": null, \"c\": 1}", "{\"c\": null, \"d\": 1}"],
            &["{}", "{\"a\": 1, \"b\": 1, \"c\": 1}"],
        ),
        // A name that two patterns match has both values.
        (
            json!({"type": "object", "additionalProperties": false,
                   "patternProperties": {"a": {"type": "integer"}, "b": {"minimum": 3}}}),
            &["{\"a\": 1}", "{\"b\": \"x\"}", "{\"ab\": 3, \"ba\": 4}"],
            &["{\"a\": \"x\"}", "{\"b\": 2}", "{\"ab\": 2}", "{\"ab\": \"x\"}", "{\"c\": 1}"],
        ),
        (
            json!({"enum": ["\u{1}", 1.0, 1e2, -0.0, 1e-7, "\u{7f}"]}),
            &["\"\\u0001\"", "1", "100", "0", "1e-7", "0.0000001", "\"\\u007f\""],
            &["1.0", "2", "\"\""],
        ),
        (
            json!({"type": "object", "required": ["\u{1}"], "additionalProperties": {"type": "null"}}),
            &["{\"\\u0001\":null}", "{\"\\u0001\":null, \"\\u001f\":null}"],
            &["{\"\\u0001\":1}", "{}"],
        ),
        (
            json!({"allOf": [{"required": ["a"]}], "type": "object", "required": ["c"]}),
            &["{\"a\":0,\"c\":0}"],
            &["{\"a\":0}", "{\"c\":0}"],
        ),
        (
            json!({"not": {"type": "integer"}}),
            &["1.5", "\"a\"", "null", "[]", "{}", "-0.25"],
            &["1", "0", "-3"],
        ),
    ];
    for (schema, good, bad) in rows {
        check_all(&json(schema), good, bad);
    }
}

#[test]
fn patterns_are_of_what_is_decoded() {
    let rows: Vec<(Value, &[&str], &[&str])> = vec![
        (json!({"pattern": "^[^\"]*$"}), &["\"a\\\\b\"", "\"é\""], &["\"a\\\"b\""]),
        (json!({"pattern": "^[^\\\\]*$"}), &["\"a\\\"b\""], &["\"a\\\\b\""]),
        (json!({"pattern": "^(?![^\"]*$)"}), &["\"a\\\"b\""], &["\"ab\"", "\"\\u0000\""]),
        (
            json!({"type": "object", "patternProperties": {"^[^\"]*$": {"type": "integer"}},
                   "additionalProperties": false}),
            &["{\"a\":1}"],
            &["{\"a\\\"b\":1}"],
        ),
        (json!({"type": "string", "pattern": "^[\\w-\\.]+$"}), &["\"a-b.c\""], &["\"a b\""]),
        // Words are of ASCII, whatever looks at them.
        (json!({"type": "string", "pattern": "\\bab\\b"}), &["\"abé\"", "\"c ab!\""], &["\"abc\""]),
        (json!({"type": "string", "pattern": "x(?=\\w)"}), &["\"xa\""], &["\"xé\""]),
        (json!({"type": "string", "pattern": "^a(?!\\w)"}), &["\"aé\""], &["\"ab\""]),
        (json!({"type": "string", "pattern": "^(?:(?!b).)*$"}), &["\"\\u0001\""], &["\"b\""]),
        (json!({"type": "string", "pattern": "\\<b\\>"}), &["\"<b>\""], &["\"b\""]),
        (json!({"type": "string", "pattern": "x(?=\\d)"}), &["\"ax1\""], &["\"xa\"", "\"x\""]),
        (json!({"type": "string", "pattern": "(?<=\\w)b$"}), &["\"cab\""], &["\"b\"", "\" b\""]),
        (
            json!({"type": "string", "pattern": "(?=.*\\d)(?=.*[a-z])(?=.*[A-Z]).{8,}"}),
            &["\"1aB45678\""],
            &["\"1ab45678\"", "\"1aB4567\""],
        ),
        (
            json!({"type": "object", "patternProperties": {".": false}, "minProperties": 1}),
            &["{\"\":0}"],
            &["{}", "{\"a\":1}"],
        ),
    ];
    for (schema, good, bad) in rows {
        check_all(&json(schema), good, bad);
    }
}

#[test]
fn what_has_no_value_is_refused() {
    for (schema, want) in [
        (json!({"type": "object", "minProperties": 3, "maxProperties": 1}), "minProperties (3)"),
        (json!({"type": "string", "minLength": 3, "maxLength": 1}), "minLength (3)"),
        (json!({"type": "integer", "multipleOf": 0.3, "minimum": 1, "maximum": 2}), "multipleOf"),
        (
            json!({"type": "number", "not": {"type": "integer"}, "minimum": 1, "maximum": 1}),
            "fraction",
        ),
    ] {
        let error = error(schema.clone());
        assert!(error.to_string().contains(want), "{schema}: {error}");
    }
}

#[test]
fn a_reference_orders_properties_from_where_it_stands() {
    let compiled = json(json!({
        "properties": {"a": {}},
        "$ref": "#/$defs/b",
        "required": ["a", "b"],
        "$defs": {"b": {"type": "object", "properties": {"b": {}}}},
    }));
    check_all(&compiled, &["{\"a\":1,\"b\":1}"], &["{\"b\":1,\"a\":1}"]);
}

#[test]
fn listed_objects_are_in_any_order_where_all_are() {
    let schema = json!({"enum": [{"a": 1, "b": {"c": 2, "d": 3}}, [{"x": 1, "y": 2}]]});
    let ordered = ["{\"a\":1,\"b\":{\"c\":2,\"d\":3}}", "[{\"x\":1,\"y\":2}]"];
    let others = ["{\"b\":{\"d\":3,\"c\":2},\"a\":1}", "[{\"y\":2,\"x\":1}]"];
    let never =
        ["{\"a\":1}", "{\"a\":1,\"a\":1}", "{\"b\":{\"c\":2,\"d\":3},\"a\":1,\"a\":1}", "{}"];
    check_all(&json(schema.clone()), &ordered, &[&others[..], &never].concat());
    let options = JsonOptions { order: PropertyOrder::Any, ..JsonOptions::default() };
    let compiled = COMPILER.compile(&Spec::Json { schema, options }).unwrap();
    check_all(&compiled, &[ordered, others].concat(), &never);
}

#[test]
fn no_whitespace_stands_before_a_comma_or_a_colon() {
    let object = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "list": {"type": "array"}},
        "required": ["name", "list"],
        "additionalProperties": false,
    });
    let good = [
        r#"{"name":"a","list":[]}"#,
        r#"{"name": "a", "list": [1, {"k": null}]}"#,
        r#"{ "name": "a", "list": [ 1, { } ] }"#,
        "{\n  \"name\": \"a , b :\",\n  \"list\": [\n    1,\n    []\n  ]\n}",
        "{\n                \"name\": \"a\", \"list\": [\n]}",
    ];
    let bad = [
        "{\"name\": \"a\"\n,\"list\":[]}",
        "{\"name\": \"a\" ,\"list\":[]}",
        "{\"name\" :\"a\",\"list\":[]}",
        "{\"name\"\n:\"a\",\"list\":[]}",
        "{\"name\":  \"a\",\"list\":[]}",
        "{\"name\": \"a\",  \"list\":[]}",
        "{\"name\":\"a\",\"list\":[1 ,2]}",
        "{\"name\":\"a\",\"list\":[1\n  ,2]}",
        "{\"name\":\"a\",\"list\":[[] ,1]}",
        "{\"name\":\"a\",\"list\":[{\"k\" :1}]}",
        "{\n                 \"name\":\"a\",\"list\":[]}",
        "{\t\"name\":\"a\",\"list\":[]}",
        "{\"name\":\"a\",\"list\":[]  }",
    ];
    check_all(&json(object.clone()), &good, &bad);
    let with = |whitespace| {
        let options = JsonOptions { whitespace, ..JsonOptions::default() };
        COMPILER.compile(&Spec::Json { schema: object.clone(), options }).unwrap()
    };
    let wide = "{\t\"name\" : \"a\"\n\n,\"list\":[ ]}";
    check_all(&with(Whitespace::Flexible), &[wide], &[]);
    check_all(&with(Whitespace::Compact), &good[..1], &good[1..]);
}

#[track_caller]
fn error(schema: Value) -> SpecError {
    COMPILER.compile(&Spec::json(schema)).unwrap_err()
}

/// What the grammar leaves to the guard, as keywords.
fn guarded(schema: Value) -> Vec<String> {
    let compiled = json(schema);
    let mut keywords: Vec<String> =
        compiled.guarded().map(|(_, keyword)| keyword.to_owned()).collect();
    keywords.dedup();
    keywords
}

#[test]
fn what_the_grammar_says_whole_needs_no_guard() {
    for schema in [
        json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}),
        json!({"not": {"type": "null"}}),
        json!({"oneOf": [{"type": "string"}, {"type": "integer"}]}),
        json!({"oneOf": [{"properties": {"k": {"const": "a"}}, "required": ["k"], "type": "object"},
                         {"properties": {"k": {"const": "b"}}, "required": ["k"], "type": "object"}]}),
        json!({"type": "object", "propertyNames": {"pattern": "^a"}}),
        json!({"type": "string", "pattern": "^(?=.*a)[a-z]{3}$"}),
        json!({"type": "string", "format": "date"}),
        json!({"type": "array", "uniqueItems": true, "maxItems": 1}),
        json!({"if": {"type": "null"}}),
        json!({"enum": ["a", "\u{1}", 1.0, 1e-7]}),
        json!({"type": "string", "pattern": "^(?!a)[ab]{2}$"}),
        json!({"type": "object", "maxProperties": 2, "minProperties": 1, "properties": {"a": {}, "b": {}}}),
        json!({"type": "object", "patternProperties": {"a": {"type": "integer"}, "b": {"minimum": 3}}}),
        json!({"$ref": "#/$defs/b", "required": ["c"], "properties": {"next": {"$ref": "#"}},
               "$defs": {"b": {"type": "object", "properties": {"next": {"$ref": "#"}}}}}),
        json!({"type": "integer", "minimum": i64::MIN, "maximum": u64::MAX}),
    ] {
        assert_eq!(guarded(schema.clone()), [""; 0], "{schema}");
    }
}

#[test]
fn what_the_grammar_cannot_say_is_left_to_the_guard() {
    for (schema, keyword) in [
        (json!({"type": "integer", "not": {"const": 1}}), "not"),
        (json!({"if": {"type": "null"}, "then": {"const": 1}, "else": true}), "if"),
        (json!({"type": "array", "uniqueItems": true}), "uniqueItems"),
        (json!({"type": "array", "contains": {"const": 1}}), "contains"),
        (json!({"type": "object", "unevaluatedProperties": false}), "unevaluatedProperties"),
        (json!({"type": "number", "minimum": 1e300}), "minimum"),
        (json!({"type": "string", "format": "iri"}), "format"),
    ] {
        assert!(guarded(schema.clone()).contains(&keyword.to_owned()), "{schema}");
    }
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
    assert_eq!(compiled.warnings(), ["`$id` is ignored at the root: it is no URI"]);
    assert!(!compiled.is_guarded());
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
            "unknown keyword \"minimun\" restricts nothing at /properties/c",
            "format \"color\" is not enforced at /properties/c",
        ]
    );
    // The engine's own options are not the caller's: these would let anything through.
    let compiled = json(json!({"x-guidance": {"lenient": true}, "type": "null"}));
    check(&compiled, "null", true);
    check(&compiled, "1", false);
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
        (json!({"patternProperties": {"[": {}}}), "/patternProperties/["),
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

#[test]
fn numbers_stay_within_what_readers_hold() {
    let longest = "9".repeat(308);
    for schema in [json!({"type": "number"}), json!({"type": ["array", "number"]}), json!({})] {
        let compiled = json(schema);
        for (text, accepted) in [
            ("1e308", true),
            ("-1.7976931348623157e+308", true),
            ("1e309", false),
            ("1.7976931348623159e308", false),
            ("1e-400", true),
            ("1e0001", false),
            (&longest, true),
            (&format!("{longest}9"), false),
        ] {
            check(&compiled, text, accepted);
            let mut matcher = compiled.matcher();
            let tokens = crate::support::bytewise(text.as_bytes());
            let is_whole = matcher.accepted_prefix(&tokens) == Ok(tokens.len());
            assert_eq!(is_whole, accepted, "{text}");
        }
    }
    // In a string they are text, and a number that must still become a multiple may go on.
    check(&json(json!({"type": "string"})), "\"1e99999\"", true);
    let multiples = json(json!({"type": "integer", "multipleOf": 7}));
    let mut matcher = multiples.matcher();
    for token in crate::support::bytewise(format!("1{}", "0".repeat(320)).as_bytes()) {
        assert!(matcher.mask().unwrap().allows(token));
        matcher.advance(token).unwrap();
        if matcher.num_tokens() > 308 && matcher.is_accepting() {
            break;
        }
    }
}
