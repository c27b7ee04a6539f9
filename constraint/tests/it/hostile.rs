//! Input made to hurt: an answer for bounded work, no panic, no stack overflow.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sluicegate_constraint::{Compiled, Spec, SpecError};

use crate::bounds::{Work, drop_deep, within};
use crate::support::CANONICAL;

/// Twice what the dearest answer here takes.
const MAX_WORK: Work = Work { allocations: 18_000_000, bytes: 1_500_000_000 };

#[track_caller]
fn within_bounds(name: &str, spec: &Spec) -> Result<Compiled, SpecError> {
    within(MAX_WORK, name, spec)
}

fn nested(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(json!({"type": "null"}), |inner, _| wrap(inner))
}

/// Unlike `json!`, does not copy `value`, which would recurse over it.
fn object(key: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(key.to_string(), value)]))
}

#[test]
fn deep_nesting_is_refused_or_compiled() {
    type Wrap = fn(Value) -> Value;
    let wraps: [(&str, Wrap); 5] = [
        ("items", |inner| object("items", inner)),
        ("properties", |inner| object("properties", object("a", inner))),
        ("anyOf", |inner| object("anyOf", Value::Array(vec![json!({"type": "integer"}), inner]))),
        ("allOf", |inner| object("allOf", Value::Array(vec![inner, json!({"title": "x"})]))),
        ("const", |inner| Value::Array(vec![inner])),
    ];
    for (name, wrap) in wraps {
        for depth in [10, 40, 60, 120, 5_000] {
            let value = nested(depth, wrap);
            let schema = if name == "const" { object("const", value) } else { value };
            let spec = Spec::json(schema);
            let result = within_bounds(&format!("{depth} nested {name}"), &spec);
            assert!(depth > 40 || result.is_ok(), "{depth} {name}: {result:?}");
            if depth == 5_000 {
                assert!(matches!(result, Err(SpecError::TooLarge { .. })), "{name}: {result:?}");
            }
            drop_deep(spec);
        }
    }
}

#[test]
fn chains_of_references_do_not_overflow_the_stack() {
    for length in [5, 60, 100, 200, 4_000] {
        let mut defs = Map::new();
        for idx in 0..length {
            let next = json!({"properties": {"x": {"$ref": format!("#/$defs/d{}", idx + 1)}}});
            defs.insert(format!("d{idx}"), next);
        }
        defs.insert(format!("d{length}"), json!({"type": "null"}));
        let spec = Spec::json(json!({"$ref": "#/$defs/d0", "$defs": defs}));
        let result = within_bounds(&format!("{length} references"), &spec);
        assert_eq!(result.is_ok(), length <= 100, "{length}: {result:?}");
    }
}

#[test]
fn references_that_are_also_dynamic_do_not_overflow_the_stack() {
    let mut options = vec![json!({"$ref": "#/$defs/a"}); 1_001];
    options.push(json!({"type": "object"}));
    let both = json!({"$ref": "#/$defs/a", "$dynamicRef": "#/$defs/a"});
    let spec = Spec::json(json!({"anyOf": options, "$defs": {"a": both}}));
    let result = within_bounds("a reference to itself", &spec);
    assert!(matches!(result, Err(SpecError::Schema { .. })), "{result:?}");
    let mut defs = Map::new();
    for idx in 0..4_000 {
        let next = json!({"$ref": format!("#/$defs/a{}", idx + 1)});
        let here = format!("#/$defs/a{idx}/allOf/0");
        defs.insert(format!("a{idx}"), json!({"allOf": [next], "$dynamicRef": here}));
    }
    defs.insert("a4000".to_string(), json!({"type": "null"}));
    let spec = Spec::json(json!({"$ref": "#/$defs/a0", "$defs": defs}));
    let result = within_bounds("a chain of allOf", &spec);
    assert!(matches!(result, Err(SpecError::TooLarge { .. })), "{result:?}");
}

#[test]
fn chains_of_dynamic_references_do_not_overflow_the_stack() {
    type Wrap = fn(Value) -> Value;
    let wraps: [(&str, Wrap); 3] = [
        ("in place", |next| next),
        ("properties", |next| json!({"properties": {"x": next}})),
        ("required", |next| json!({"properties": {"x": next}, "required": ["x"]})),
    ];
    for (name, wrap) in wraps {
        let mut defs = Map::new();
        for idx in 0..4_000 {
            let next = json!({"$dynamicRef": format!("#/$defs/d{}", idx + 1)});
            defs.insert(format!("d{idx}"), wrap(next));
        }
        defs.insert("d4000".to_string(), json!({"type": "null"}));
        let spec = Spec::json(json!({"$dynamicRef": "#/$defs/d0", "$defs": defs}));
        drop(within_bounds(name, &spec));
    }
}

#[test]
fn schemas_that_refer_to_each_other_compile() {
    // Fifteen kinds of component, each of which holds any of the others.
    let any: Vec<Value> = (0..15).map(|kind| json!({"$ref": format!("#/$defs/c{kind}")})).collect();
    let component = |kind: usize| {
        let children = json!({"type": "array", "items": {"anyOf": any}});
        let schema = json!({
            "type": "object",
            "properties": {"kind": {"const": format!("c{kind}")}, "children": children},
            "required": ["kind"], "additionalProperties": false,
        });
        (format!("c{kind}"), schema)
    };
    let defs: Map<String, Value> = (0..15).map(component).collect();
    let spec = Spec::json(json!({"$ref": "#/$defs/c0", "$defs": defs}));
    within_bounds("components", &spec).unwrap();
}

#[test]
fn schemas_that_never_end_are_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}),
        json!({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}),
        json!({"type": "array", "items": {"$ref": "#"}, "minItems": 1}),
    ] {
        let spec = Spec::json(schema.clone());
        let result = within_bounds(&schema.to_string(), &spec);
        assert!(result.is_err(), "{schema}: {result:?}");
        let result = CANONICAL.compile(&spec);
        assert!(result.is_err(), "{schema}, canonical: {result:?}");
    }
}

#[test]
fn huge_bounds_take_bounded_work() {
    for schema in [
        json!({"type": "string", "minLength": 1_000_000_000}),
        json!({"type": "string", "maxLength": 4_000_000_000_u32}),
        json!({"type": "string", "maxLength": u64::MAX}),
        json!({"type": "string", "pattern": "^(a|b){5000}$", "minLength": 4000}),
        json!({"type": "array", "minItems": 1_000_000_000, "items": {"type": "null"}}),
        json!({"type": "array", "maxItems": 4_000_000_000_u32}),
        json!({"type": "array", "maxItems": 1_000_000_000, "items": {"type": "integer"}}),
        json!({"type": "array", "maxItems": 1_000_000_000, "uniqueItems": true}),
        json!({"type": "array", "contains": {"const": 1}, "minContains": 1_000_000_000}),
        json!({"minProperties": 1_000_000_000}),
        json!({"type": "object", "minProperties": 1_000_000, "maxProperties": 2_000_000}),
        json!({"type": "integer", "multipleOf": 4_000_000_007_u32}),
        json!({"type": "number", "multipleOf": 1e-300}),
        json!({"type": "integer", "minimum": -9e15, "maximum": 9e15}),
        json!({"allOf": [{"multipleOf": 65_537}, {"multipleOf": 65_539}]}),
        json!({"type": "number", "minimum": 1e-300, "maximum": 2e-300}),
    ] {
        drop(within_bounds(&schema.to_string(), &Spec::json(schema.clone())));
    }
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|idx| format!("property_{idx}"))
}

fn many(count: usize, schema: &Value) -> Map<String, Value> {
    names(count).map(|name| (name, schema.clone())).collect()
}

/// Forty schemas, each of which leads to the next in two ways.
fn doubled(keywords: &[&str]) -> Value {
    let mut defs = Map::new();
    for idx in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", idx + 1)});
        let both = match keywords {
            ["$ref"] => json!({"anyOf": [{"properties": {"a": next}}, {"items": next}]}),
            ["if", _] => json!({"if": {"items": next}, "then": {"properties": {"a": next}}}),
            _ => json!({"not": {"anyOf": [{"items": next}, {"properties": {"a": next}}]}}),
        };
        defs.insert(format!("d{idx}"), both);
    }
    defs.insert("d40".to_string(), json!({"minLength": 2}));
    json!({"$ref": "#/$defs/d0", "$defs": defs})
}

#[test]
fn wide_schemas_take_bounded_work() {
    let options = |count: usize| -> Vec<Value> {
        names(count).map(|name| json!({"required": [name], "properties": {"a": {}}})).collect()
    };
    for (name, schema) in [
        ("properties", json!({"properties": many(10_000, &json!({"type": "string"}))})),
        ("patterns", json!({"patternProperties": many(10_000, &json!({}))})),
        ("pattern each", json!({"properties": many(3_000, &json!({"pattern": "(a|b)*abb.{9}"}))})),
        ("enum", json!({"enum": names(20_000).collect::<Vec<_>>()})),
        ("oneOf", json!({"oneOf": options(900)})),
        (
            "bounded properties",
            json!({"properties": many(500, &json!({})), "minProperties": 1,
                                      "additionalProperties": false}),
        ),
        (
            "bounded in pieces",
            json!({"allOf": [{"minProperties": 1}, {"properties":
                                     many(500, &json!({})), "additionalProperties": false}]}),
        ),
        (
            "merged properties",
            json!({"allOf": (0..12).map(|part| json!({"properties":
            (0..1_000).map(|idx| (format!("p{part}_{idx}"), json!({}))).collect::<Map<_, _>>()
        })).collect::<Vec<_>>()}),
        ),
        ("wide literal", json!({"const": many(9_000, &json!(1))})),
        ("most properties", json!({"properties": many(2_000, &json!({}))})),
        ("prefix", json!({"prefixItems": vec![json!({"type": "null"}); 9_000]})),
        ("variants", json!({"anyOf": options(3_000)})),
        ("too many oneOf", json!({"oneOf": options(9_000)})),
        ("products", json!({"allOf": vec![json!({"anyOf": options(60)}); 4]})),
        ("long name", json!({"properties": {"x".repeat(100_000): {}}})),
        ("too many bytes", json!({"description": "x".repeat(2 << 20)})),
    ] {
        drop(within_bounds(name, &Spec::json(schema)));
    }
}

#[test]
fn schemas_that_cost_more_than_they_seem_take_bounded_work() {
    for (name, schema) in [
        ("a megabyte", json!({"description": "x".repeat(1_000_000)})),
        ("a megabyte of properties", json!({"properties": many(30_000, &json!({"minLength": 3}))})),
        ("required", json!({"required": names(20_000).collect::<Vec<_>>()})),
        ("100,000 values", json!({"enum": (0..100_000).collect::<Vec<u32>>()})),
        (
            "oneOf of values",
            json!({"oneOf": [{"enum": (0..20_000).collect::<Vec<u32>>()},
            {"enum": (20_000..40_000).collect::<Vec<u32>>()}]}),
        ),
        ("30,000 texts", json!({"enum": names(30_000).collect::<Vec<_>>()})),
        (
            "10,000 oneOf",
            json!({"oneOf": names(10_000).map(|name| json!({"properties":
            {(name): {"type": "integer"}}})).collect::<Vec<_>>()}),
        ),
        ("doubled references", doubled(&["$ref"])),
        ("doubled conditions", doubled(&["if", "then"])),
        ("doubled complements", doubled(&["not", "anyOf"])),
        ("nested complements", nested(100, |inner| object("not", inner))),
        (
            "nested conditions",
            nested(40, |inner| {
                json!({"if": inner, "then": {"minLength": 2},
            "else": {"maxLength": 9}})
            }),
        ),
        (
            "unique",
            json!({"type": "array", "minItems": 2_000, "uniqueItems": true,
            "items": {"type": "integer"}}),
        ),
        (
            "puzzle",
            json!({"type": "array", "minItems": 9, "uniqueItems": true,
            "items": {"enum": [1, 2, 3, 4, 5, 6, 7, 8]}}),
        ),
        (
            "remainders",
            json!({"type": "integer", "allOf": (2..40).map(|it|
            json!({"not": {"multipleOf": it}})).collect::<Vec<_>>(), "minimum": 2, "maximum": 1500}),
        ),
        (
            "conflict",
            json!({"allOf": (0..40).map(|idx| json!({"pattern":
            format!("^(a|b)*a(a|b){{9}}{idx}$")})).collect::<Vec<_>>()}),
        ),
        (
            "conflict of many",
            json!({"enum": names(5_000).collect::<Vec<_>>(), "allOf": (0..25)
            .map(|idx| json!({"minLength": idx, "type": "integer"})).collect::<Vec<_>>()}),
        ),
        (
            "conflict of properties",
            json!({"properties": {"a": {"properties": many(2_000, &json!({}))},
            "b": {"allOf": [{"type": "integer"}, {"enum": ["x"]}]}}, "required": ["a", "b"]}),
        ),
        (
            "patterns in a guard",
            json!({"type": "object", "propertyNames": {"not": {"pattern":
            "(a+)+$"}}, "additionalProperties": {"not": {"pattern": "(x+x+)+y"}}}),
        ),
    ] {
        drop(within_bounds(name, &Spec::json(schema)));
    }
}

#[test]
fn hostile_regexes_take_bounded_work() {
    let mut nested = "a".to_string();
    for _ in 0..400 {
        nested = format!("({nested})");
    }
    let mut sets = String::new();
    for idx in 0..2_000u32 {
        write!(sets, "[\\w--[{}]]", char::from_u32(0x4e00 + idx).unwrap()).unwrap();
    }
    let fewer_sets = sets[..sets.len() / 5].to_string();
    for (name, pattern) in [
        ("fewer sets", fewer_sets),
        ("repeats", "((a{1000}){1000}){1000}".to_string()),
        ("exponential", "(x+x+)+y".to_string()),
        ("counter", "(a|b)*a(a|b){60}".to_string()),
        ("nested", nested),
        ("sets", sets),
        ("long", "[a-z]".repeat(12_000)),
        ("too long", "(".repeat(1 << 20)),
        ("alternation", vec![r"[a-zé]+x"; 6_000].join("|")),
        ("optional repeats", "(((a?){1000}){1000}){1000}".to_string()),
        ("open repeats", "(((a{2,}){2,}){2,}b){500,}".to_string()),
        ("counters", "(a|ab|abc|abcd){1,3000}".to_string()),
        ("dots", ".*a.{500}b.{500}".to_string()),
        ("unicode", r"\p{L}{1,500}\p{N}{1,500}".to_string()),
        ("classes", r"[\p{L}--\p{Lu}]{100}".repeat(40)),
    ] {
        drop(within_bounds(name, &Spec::Regex(pattern)));
    }
}
