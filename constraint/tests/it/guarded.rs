//! What the grammar leaves to the guard: which values are found, which texts are accepted.

use serde_json::{Value, json};
use sluicegate_constraint::Spec;

use crate::support::{COMPILER, check_all, json};

#[test]
fn many_items_that_differ_are_found() {
    for items in [
        json!({"type": "integer"}),
        json!({"type": "string"}),
        json!({"type": "number"}),
        json!({"type": "integer", "minimum": 1, "maximum": 1_000}),
    ] {
        for count in [50, 200] {
            let schema = json!({"type": "array", "minItems": count, "uniqueItems": true,
                                "items": items});
            let found = COMPILER.compile(&Spec::json(schema)).err();
            assert!(found.is_none(), "{count} of {items}: {found:?}");
        }
    }
}

#[test]
fn guarded_schemas_accept_what_is_valid_and_nothing_else() {
    let rows: Vec<(Value, Vec<&str>, Vec<&str>)> = vec![
        (json!({"type": "integer", "not": {"const": 1}}), vec!["2", "10", "-1"], vec!["1"]),
        (
            json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true}),
            vec!["[]", "[1, 2]", "[1, 11]"],
            vec!["[1, 1]", "[1, 2, 1]"],
        ),
        (
            json!({"type": "array", "contains": {"const": 5}, "minContains": 2}),
            vec!["[5, 5]", "[1, 5, \"x\", 5]"],
            vec!["[]", "[5]", "[5, 1]"],
        ),
        (
            json!({"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}], "type": "integer"}),
            vec!["2", "3", "4", "9"],
            vec!["6", "12", "5"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                   "dependentRequired": {"a": ["b"]}, "additionalProperties": false}),
            vec!["{}", "{\"b\": 1}", "{\"a\": 1, \"b\": 2}", "{\"b\": 1, \"a\": 2}"],
            vec!["{\"a\": 1}"],
        ),
        (
            json!({"type": "object", "properties": {"kind": {"enum": ["x", "y"]}, "n": {"type": "integer"}},
                   "required": ["kind"],
                   "if": {"properties": {"kind": {"const": "x"}}}, "then": {"required": ["n"]}}),
            vec!["{\"kind\": \"y\"}", "{\"kind\": \"x\", \"n\": 1}", "{\"n\": 1, \"kind\": \"x\"}"],
            vec!["{\"kind\": \"x\"}"],
        ),
        (
            json!({"oneOf": [{"pattern": "^[a-z]*$"}, {"if": {"pattern": "^[a-z]*$"}}, {"maxLength": 3}]}),
            vec!["\"abc1\""],
            vec!["\"a\"", "\"1\"", "1"],
        ),
        (
            conditions_together(),
            vec!["{\"list\":[{\"kind\":\"still\",\"at\":1}]}", "{\"list\":[{\"kind\":\"go\"}]}"],
            vec!["{\"list\":[{\"kind\":\"still\"}]}", "{\"list\":[{\"kind\":\"go\",\"at\":1}]}"],
        ),
    ];
    for (schema, good, bad) in rows {
        let compiled = json(schema);
        assert!(compiled.is_guarded());
        check_all(&compiled, &good, &bad);
    }
}

/// Two conditions deep inside that a text begun makes hold.
fn conditions_together() -> Value {
    let is = |kinds: Value| json!({"properties": {"kind": {"enum": kinds}}, "required": ["kind"]});
    let item = json!({
        "type": "object",
        "properties": {"kind": {"enum": ["still", "stop", "go"]}, "at": {}, "on": {}},
        "required": ["kind"],
        "additionalProperties": false,
        "allOf": [
            {"if": is(json!(["still"])), "then": {"required": ["at"]}},
            {"if": is(json!(["still", "stop"])), "then": {"not": {"required": ["on"]}},
             "else": {"not": {"required": ["at"]}}},
        ],
    });
    json!({"type": "object", "properties": {"list": {"type": "array", "items": item}}})
}

#[test]
fn what_fails_a_schema_is_found() {
    let rows: Vec<(Value, &[&str], &[&str])> = vec![
        (json!({"maxLength": 5}), &["\"abcdef\""], &["\"abcde\"", "1", "null"]),
        (json!({"maximum": 5}), &["6", "5.5"], &["5", "\"a\""]),
        (json!({"minLength": 2}), &["\"a\""], &["\"ab\"", "1"]),
        (json!({"multipleOf": 3}), &["100000000000000001", "1"], &["100000000000000002", "[]"]),
        (json!({"pattern": "^[a-z]*$"}), &["\"A\""], &["\"a\"", "1"]),
        (json!({"maxItems": 2}), &["[1,2,3]"], &["[1,2]", "{}"]),
        (json!({"uniqueItems": true}), &["[1,2,1]"], &["[1,2]", "{}"]),
        (json!({"items": {"type": "string"}}), &["[\"a\",1]"], &["[\"a\"]", "[]"]),
        (json!({"prefixItems": [true, {"const": 1}]}), &["[1,2]"], &["[2]", "[2,1]"]),
        (json!({"contains": {"const": 1}}), &["[2]", "[]"], &["[2,1]", "2"]),
        (
            json!({"contains": {"const": 1}, "minContains": 0, "maxContains": 1}),
            &["[1,1]"],
            &["[1]"],
        ),
        (json!({"properties": {"ab": {"type": "object"}}}), &["{\"a\":{},\"ab\":1}"], &["{}"]),
        (json!({"patternProperties": {"^x[0-9]": {"type": "null"}}}), &["{\"x1\":1}"], &["{}"]),
        (json!({"additionalProperties": false}), &["{\"a\":1}"], &["{}", "1"]),
        (
            json!({"additionalProperties": {"type": "null"}, "properties": {"a": true}}),
            &["{\"b\":1}"],
            &["{\"a\":1}", "{\"b\":null}"],
        ),
        (json!({"propertyNames": {"maxLength": 2}}), &["{\"abc\":1}"], &["{\"ab\":1}", "{}"]),
        (
            json!({"anyOf": [{"propertyNames": {"not": {"enum": ["1", "3"]}}},
                             {"propertyNames": {"not": {"enum": ["2", "4"]}}}]}),
            &["{\"3\":1,\"4\":1}"],
            &["{\"3\":1}", "{\"2\":1}", "1"],
        ),
        (json!({"required": ["a"]}), &["{\"b\":1}"], &["{\"a\":1}", "1"]),
        (json!({"maxProperties": 1}), &["{\"a\":1,\"b\":1}"], &["{\"a\":1}", "1"]),
        (json!({"dependentRequired": {"a": ["b"]}}), &["{\"a\":1}"], &["{\"a\":1,\"b\":1}", "{}"]),
        (
            json!({"dependentSchemas": {"a": {"maxProperties": 1}}}),
            &["{\"a\":1,\"b\":1}"],
            &["{\"a\":1}", "{}"],
        ),
        (
            json!({"allOf": [{"maxLength": 2}, {"maximum": 5}]}),
            &["\"abc\"", "6"],
            &["\"ab\"", "[]"],
        ),
        (json!({"anyOf": [{"maxLength": 2}, {"minLength": 5}]}), &["\"abc\""], &["\"ab\"", "1"]),
        (json!({"oneOf": [{"maxLength": 4}, {"minLength": 3}]}), &["\"abc\"", "1"], &["\"ab\""]),
        (json!({"not": {"maximum": 5}}), &["5", "\"a\""], &["6"]),
        (json!({"$ref": "#/$defs/short"}), &["\"ab\""], &["1"]),
        (json!({"if": {"type": "string"}, "then": {"maxLength": 1}}), &["\"ab\""], &["\"a\"", "1"]),
        (
            json!({"type": ["string", "null"], "maxLength": 2}),
            &["1", "\"abc\""],
            &["null", "\"ab\""],
        ),
    ];
    for (schema, good, bad) in rows {
        let in_place = [
            json!({"not": schema}),
            json!({"if": schema, "then": false}),
            json!({"oneOf": [true, schema]}),
        ];
        for mut whole in in_place {
            whole["$defs"] = json!({"short": {"maxLength": 1}});
            let compiled = COMPILER.compile(&Spec::json(whole.clone()));
            let compiled = compiled.unwrap_or_else(|error| panic!("{whole}: {error}"));
            check_all(&compiled, good, bad);
        }
    }
}
