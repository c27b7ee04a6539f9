#![no_main]

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use sluicegate_constraint::{JsonOptions, PropertyOrder, Spec, Whitespace};
use sluicegate_constraint_fuzz::{Rng, compile_and_walk, on_small_stack};
use sluicegate_fuzz_harness::fuzz_target;

fuzz_target!(|data: &[u8]| {
    on_small_stack(|| {
        if let Ok(schema) = serde_json::from_slice(data) {
            check(&schema, &mut Rng::of(data));
        }
    });
});

/// A finished text must be valid JSON that the schema allows.
fn check(schema: &Value, rng: &mut Rng) {
    let whitespaces = [Whitespace::Bounded, Whitespace::Compact, Whitespace::Flexible];
    let orders = [PropertyOrder::Auto, PropertyOrder::Schema, PropertyOrder::Any];
    let options = JsonOptions {
        whitespace: whitespaces[rng.below(3)],
        order: orders[rng.below(3)],
        ..JsonOptions::default()
    };
    let spec = Spec::Json { schema: schema.clone(), options };
    let Some(walk) = compile_and_walk(&spec, rng) else { return };
    if !walk.is_finished {
        return;
    }
    let text = String::from_utf8(walk.text).expect("JSON is UTF-8");
    let value: Value = match serde_json::from_str(&text) {
        Ok(value) => value,
        Err(error) => panic!("{text} is not JSON: {error}"),
    };
    if let Some(validator) = validator(schema)
        && !has_large_number(&value)
    {
        assert!(validator.is_valid(&value), "{text} is not valid");
    }
}

fn validator(schema: &Value) -> Option<Validator> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(20_000).size_limit(4 << 20);
    jsonschema::options()
        .with_pattern_options(patterns)
        .should_validate_formats(true)
        .build(schema)
        .ok()
}

/// The validator compares large numbers as their nearest float.
fn has_large_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|float| float.abs() > 9e15),
        Value::Array(items) => items.iter().any(has_large_number),
        Value::Object(members) => members.values().any(has_large_number),
        _ => false,
    }
}
