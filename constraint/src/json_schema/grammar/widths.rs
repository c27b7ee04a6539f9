//! How large the grammars of wide schemas are, and what they leave to the guard for that.

use serde_json::{Map, Value, json};

use super::Coarse;
use super::build::MAX_SYMBOLS;
use super::plan::Plan;
use crate::json_schema::Schema;
use crate::limits::Limits;
use crate::spec::JsonOptions;

/// Symbols of a schema's grammar, and the keywords that it leaves out.
fn size(schema: &Value) -> (usize, Vec<&'static str>) {
    let options = JsonOptions::default();
    let read = Schema::read(schema, &options, &Limits::default()).unwrap();
    let made = read.grammar(&options, Coarse::default());
    let mut left: Vec<&str> = made.left.iter().map(|left| left.keyword).collect();
    left.dedup();
    (Plan::new(&made.grammar.unwrap()).num_symbols(), left)
}

#[track_caller]
fn check(schema: &Value, most: usize, want: &[&str]) {
    let (num_symbols, left) = size(schema);
    assert_eq!(left, want, "{num_symbols} symbols");
    assert!(num_symbols <= most, "{num_symbols} symbols");
}

fn each(count: usize, schema: impl Fn(usize) -> Value) -> Map<String, Value> {
    (0..count).map(|idx| (format!("p{idx}"), schema(idx))).collect()
}

fn options(count: usize) -> Vec<Value> {
    let option =
        |idx| json!({"type": "object", "properties": {"k": {"const": idx}}, "required": ["k"]});
    (0..count).map(option).collect()
}

#[test]
fn properties_take_three_symbols_each_until_they_are_too_many_for_an_order() {
    let integers = |count| each(count, |_| json!({"type": "integer"}));
    check(&json!({"properties": integers(2_000)}), 6_050, &[]);
    check(&json!({"properties": integers(2_001)}), 50, &["properties"]);
    check(&json!({"properties": integers(10_000), "required": ["p1"]}), 50, &["required"]);
    // What is required is a row without choices.
    let names = |count| (0..count).map(|idx| format!("p{idx}")).collect::<Vec<_>>();
    check(&json!({"properties": integers(10_000), "required": names(10_000)}), 10_050, &[]);
    check(&json!({"properties": integers(11_000), "required": names(11_000)}), 50, &["required"]);
}

#[test]
fn properties_in_any_order_are_one_kind_for_each_value() {
    let of_kinds = |count: usize| {
        let value =
            move |idx| json!({"type": "string", "pattern": format!("^[a-z]{{{}}}$", idx % count)});
        json!({"type": "object", "properties": each(3_000, value)})
    };
    let (one, _) = size(&of_kinds(1));
    // A name, its value, and the row of both.
    check(&of_kinds(8), one + 3 * 7, &["properties"]);
    let all_differ =
        json!({"type": "object", "properties": each(3_000, |idx| json!({"const": idx}))});
    check(&all_differ, one, &["properties"]);
}

#[test]
fn choices_among_too_many_objects_are_left_out() {
    check(&json!({"anyOf": options(1_000)}), 7_000, &[]);
    check(&json!({"anyOf": options(1_001)}), 50, &["anyOf"]);
    check(&json!({"oneOf": options(9_000)}), 50, &["oneOf"]);
    // Scalars are one lexeme, however many.
    let scalars: Vec<Value> = (0..9_000).map(|idx| json!({"const": idx})).collect();
    check(&json!({"anyOf": scalars}), 10, &[]);
    // Of what is left out the types stay.
    let (objects, _) = size(&json!({"anyOf": options(1_001)}));
    check(&json!({"type": "object"}), objects, &[]);
}

#[test]
fn what_is_deep_inside_a_schema_that_is_too_large_may_be_anything() {
    let inner = |outer: usize| {
        let value = move |idx| json!({"enum": [format!("{outer}"), format!("{idx}")]});
        json!({"type": "object", "properties": each(200, value)})
    };
    check(&json!({"properties": each(60, inner)}), MAX_SYMBOLS, &["type"]);
    let (num_symbols, _) = size(&json!({"properties": each(60, inner)}));
    assert!(num_symbols > MAX_SYMBOLS / 4, "{num_symbols} symbols");
}

#[test]
fn very_many_patterns_of_names_are_not_read() {
    let patterns = each(10_000, |_| json!({"type": "integer"}));
    check(&json!({"patternProperties": patterns}), 50, &["patternProperties"]);
}
