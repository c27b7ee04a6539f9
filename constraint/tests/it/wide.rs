//! Wide schemas, of which the grammar says less: what it leaves out the guard still sees to.

use serde_json::{Map, Value, json};
use sluicegate_constraint::{Compiled, Compiler, Event, Limits, Spec};

use crate::random_schemas::walk;
use crate::support::{self, Rng, bytewise, check_all, greedy, json};

/// One more property than may all come next, and one that is required.
fn many_properties() -> Value {
    let mut properties: Map<String, Value> =
        (0..2_001).map(|idx| (format!("p{idx}"), json!({"type": "integer"}))).collect();
    properties.insert("name".to_owned(), json!({"type": "string", "maxLength": 3}));
    json!({"type": "object", "properties": properties, "required": ["name"],
        "additionalProperties": false})
}

/// One more option than is told apart.
fn many_options() -> Value {
    let option = |idx| {
        json!({"type": "object", "properties": {"k": {"const": idx}, "v": {"type": "boolean"}},
            "required": ["k", "v"], "additionalProperties": false})
    };
    json!({"anyOf": (0..1_001).map(option).collect::<Vec<_>>()})
}

/// Whether the mask allows `next` behind `text`, whatever the guard would say of it.
#[track_caller]
fn allows(compiled: &Compiled, text: &str, next: u8) -> bool {
    let mut matcher = compiled.matcher();
    for token in bytewise(text.as_bytes()) {
        assert_eq!(matcher.advance(token).unwrap(), Event::Running, "{text}");
    }
    matcher.mask().unwrap().allows(u32::from(next))
}

#[track_caller]
fn keywords(compiled: &Compiled) -> Vec<&str> {
    compiled.guarded().map(|(_, keyword)| keyword).collect()
}

#[test]
fn more_properties_than_a_row_holds_come_in_any_order() {
    let compiled = json(many_properties());
    assert_eq!(keywords(&compiled), ["required"]);
    check_all(
        &compiled,
        &[
            "{\"name\":\"abc\"}",
            "{\"p2000\":1,\"p7\":-2,\"name\":\"a\"}",
            "{\"name\": \"\", \"p0\": 10}",
        ],
        &["{}", "{\"p0\":1}", "{\"name\":1}", "{\"name\":\"a\",\"p0\":true}", "{\"p2001\":1}"],
    );
}

#[test]
fn a_further_property_may_follow_however_many_there_are() {
    for count in [2_001, 12_000] {
        let properties: Map<String, Value> =
            (0..count).map(|idx| (format!("p{idx}"), json!({"type": "integer"}))).collect();
        let compiled = json(json!({"properties": properties, "additionalProperties": false}));
        check_all(&compiled, &["{\"p3\":1,\"p10\":2,\"p1\":3}"], &["{\"p3\":1,\"p10\":true}"]);
    }
}

#[test]
fn more_objects_than_are_told_apart_are_judged_whole() {
    let compiled = json(many_options());
    assert_eq!(keywords(&compiled), ["anyOf"]);
    check_all(
        &compiled,
        &["{\"k\":0,\"v\":true}", "{\"k\":1000,\"v\":false}", "{\"v\":true,\"k\":500}"],
        &["{}", "{\"k\":1}", "{\"k\":1001,\"v\":true}", "{\"k\":1,\"v\":1}", "[]", "1"],
    );
}

#[test]
fn outputs_of_wide_schemas_close_within_their_budget() {
    let mut rng = Rng(0x0a11_5eed_0077);
    for schema in [many_properties(), many_options()] {
        let validator = jsonschema::validator_for(&schema).unwrap();
        let compiled = json(schema);
        let needed = compiled.first_witness().unwrap().len();
        for more in [0, 1, 5, 20, 60] {
            let max_tokens = needed + more;
            let matcher = compiled.matcher_within(max_tokens).unwrap();
            let text = String::from_utf8(walk(matcher, max_tokens, &mut rng)).unwrap();
            let value: Value = serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{text} in {max_tokens}: {error}"));
            assert!(validator.is_valid(&value), "{text}");
        }
    }
}

#[test]
fn names_without_a_value_are_no_properties_however_many_others_there_are() {
    let mut properties: Map<String, Value> =
        (1..3_000).map(|idx| (format!("p{idx}"), json!({"const": idx}))).collect();
    properties.insert("p0".to_owned(), json!(false));
    let compiled = json(json!({"type": "object", "properties": properties,
        "propertyNames": {"pattern": "^p[0-9]*[0-8]$"}}));
    assert!(allows(&compiled, "{\"p1", b'"'));
    assert!(!allows(&compiled, "{\"p0", b'"'));
    assert!(!allows(&compiled, "{\"p19", b'"'));
    check_all(&compiled, &["{\"p2\":2,\"p1\":1}"], &["{\"p0\":0}", "{\"p9\":9}", "{\"p2\":1}"]);
}

#[test]
fn a_condition_that_is_too_large_takes_nothing_else_with_it() {
    let branch = |kind: &str| {
        let properties: Map<String, Value> =
            (0..300).map(|idx| (format!("{kind}{idx}"), json!({"const": idx}))).collect();
        json!({"properties": properties})
    };
    let schema = json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "if": {"properties": {"a": {"const": 1}}}, "then": branch("x"), "else": branch("y"),
    });
    let limits = Limits { max_grammar_symbols: 500, ..Limits::default() };
    let compiler = Compiler::with_limits(support::vocab(320, false), limits).unwrap();
    let compiled = compiler.compile(&Spec::json(schema)).unwrap();
    assert_eq!(keywords(&compiled), ["if", "required"]);
    // The branches are not in the grammar.
    assert!(allows(&compiled, "{\"y1\":", b'"'));
    assert!(allows(&compiled, "{\"a\":", b'1'));
    assert!(!allows(&compiled, "{\"a\":", b'"'));
    check_all(
        &compiled,
        &["{\"a\":1,\"x7\":7}", "{\"x7\":0,\"a\":2,\"y1\":1}"],
        &["{}", "{\"a\":1,\"x7\":8}", "{\"a\":2,\"y1\":0}"],
    );
}

#[test]
fn what_is_left_out_is_told_of_each_of_equal_schemas() {
    let unique = || json!({"type": "array", "uniqueItems": true});
    let compiled = json(json!({"properties": {"a": unique(), "b": unique()}}));
    let places: Vec<&str> = compiled.guarded().map(|(at, _)| at).collect();
    assert_eq!(places, ["/properties/a", "/properties/b"]);
}

#[test]
fn listed_objects_that_are_equal_keep_their_orders() {
    let compiled = json(json!({
        "properties": {"a": {"const": {"x": 1, "y": 2}}, "b": {"const": {"y": 2, "x": 1}}},
    }));
    for text in ["{\"a\":{\"x\":1,\"y\":2}}", "{\"b\":{\"y\":2,\"x\":1}}"] {
        assert!(support::accepts(&compiled, &greedy(text.as_bytes())), "{text}");
    }
}
