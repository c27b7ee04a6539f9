//! Random outputs: whatever the masks let through satisfies the schema.

use serde_json::{Value, json};
use sluicegate_constraint::{Compiler, Spec};

use crate::support::{CANONICAL, COMPILER, NUM_TOKENS, Rng, walk};

fn schemas() -> Vec<Value> {
    let tree = json!({
        "$ref": "#/$defs/node",
        "$defs": {"node": {
            "type": "object",
            "properties": {
                "v": {"type": "integer"},
                "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            },
            "required": ["v", "next"], "additionalProperties": false,
        }},
    });
    let person = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 2, "maxLength": 9},
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "mail": {"type": "string", "format": "email"},
            "tags": {"type": "array", "items": {"enum": ["a", "b\n", "é", 3, null]}, "maxItems": 3},
        },
        "required": ["age", "name"],
        "additionalProperties": false,
    });
    vec![
        person,
        tree,
        json!(true),
        json!({"type": "object"}),
        json!({"type": "object", "properties": {"age": {"type": "integer"}}}),
        json!({"properties": {"a": {"const": 1}}, "additionalProperties": {"type": "boolean"}}),
        json!({"patternProperties": {"^x[0-9]": {"type": "null"}, "^y": {"type": "boolean"}},
               "additionalProperties": false, "type": "object"}),
        json!({"type": "string", "pattern": "^[a-z]{2,4}-\\d+$"}),
        json!({"type": "string", "pattern": "终|é", "maxLength": 6}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "string", "format": "uuid"}),
        json!({"type": "number", "minimum": -1.5, "exclusiveMaximum": 7.25}),
        json!({"type": "integer", "minimum": -1_000_000, "maximum": 9_007_199_254_740_991_i64}),
        json!({"type": "integer", "multipleOf": 7, "minimum": -100, "maximum": 100_000}),
        json!({"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 1000}),
        json!({"enum": [0.1, -0.0, 1e-7, 12.5, 1e15, "x\"y\\", [1, {"a": null}], {}]}),
        json!({"type": ["string", "null", "array"], "maxLength": 3, "items": {"type": "null"}}),
        json!({"oneOf": [{"type": "string", "maxLength": 4}, {"type": "integer"}]}),
        json!({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5000}]}),
        json!({"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "null"}],
               "items": {"const": 7}, "minItems": 1, "maxItems": 4}),
        json!({"type": "array", "items": {"type": "array", "items": {"type": "boolean"}},
               "minItems": 2}),
        json!({"type": "object", "additionalProperties": {"type": "integer"},
               "minProperties": 1, "maxProperties": 2}),
        json!({"type": "object", "properties": {"p/q~r": {"type": "null"}, "": {"type": "null"},
               "é\"": {"type": "null"}}, "required": ["é\""], "additionalProperties": false}),
    ]
}

#[test]
fn every_finished_json_validates() {
    let mut rng = Rng(0x1234_5678_9abc);
    for schema in schemas() {
        let validator = jsonschema::validator_for(&schema).unwrap();
        for compiler in [&*COMPILER, &*CANONICAL] {
            let num_finished =
                (0..15).filter(|_| is_valid(compiler, &schema, &validator, &mut rng));
            assert!(num_finished.count() >= 5, "hardly a walk ended: {schema}");
        }
    }
}

/// Walks once. False if the walk did not end.
fn is_valid(
    compiler: &Compiler,
    schema: &Value,
    validator: &jsonschema::Validator,
    rng: &mut Rng,
) -> bool {
    let mut matcher = compiler.compile(&Spec::json(schema.clone())).unwrap().matcher();
    let Some((text, _)) = walk(&mut matcher, rng) else { return false };
    let text = String::from_utf8(text).unwrap();
    match serde_json::from_str::<Value>(&text) {
        Ok(value) => assert!(validator.is_valid(&value), "{text} is not valid for {schema}"),
        Err(error) => panic!("{text} is not JSON: {error}"),
    }
    true
}

#[test]
fn masks_hold_exactly_the_tokens_that_advance() {
    let mut rng = Rng(77);
    for schema in schemas() {
        let compiled = COMPILER.compile(&Spec::json(schema.clone())).unwrap();
        let mut matcher = compiled.matcher();
        for _ in 0..6 {
            let mask = matcher.mask().unwrap();
            for token in 0..u32::try_from(NUM_TOKENS).unwrap() + 40 {
                let advanced = matcher.fork().advance(token).is_ok();
                assert_eq!(mask.allows(token), advanced, "token {token} under {schema}");
            }
            let allowed: Vec<u32> = mask.iter().collect();
            if matcher.advance(rng.pick(&allowed)).is_err() || matcher.is_finished() {
                break;
            }
        }
    }
}
