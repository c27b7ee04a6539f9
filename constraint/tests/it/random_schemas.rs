//! Random schemas: the validator accepts every finished output, and valid values are reached.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use sluicegate_constraint::{
    Compiled, Compiler, Event, JsonOptions, Matcher, PropertyOrder, Spec, SpecError,
};
use sluicegate_slow::Slow;

use crate::support::{CANONICAL, COMPILER, Rng, bytewise};

const NUM_SCHEMAS: usize = 500;
/// Walks of each schema, and values.
const NUM_WALKS: usize = 20;
const NUM_VALUES: usize = 40;

/// Schemas that are walked: all if that is wanted, else an eighth.
fn num_walked() -> usize {
    let is_wanted = Slow::Walks.is_wanted("seven of eight schemas: six minutes");
    if is_wanted { NUM_SCHEMAS } else { NUM_SCHEMAS / 8 }
}

const NAMES: [&str; 4] = ["a", "b", "name", "x y"];

/// A schema of some depth.
pub(crate) fn schema(rng: &mut Rng, depth: usize) -> Value {
    if depth == 0 || rng.below(5) == 0 {
        return scalar(rng);
    }
    let inner = |rng: &mut Rng| schema(rng, depth - 1);
    match rng.below(12) {
        0 => json!({"anyOf": [inner(rng), inner(rng)]}),
        1 => json!({"oneOf": [inner(rng), inner(rng)]}),
        2 => json!({"allOf": [inner(rng), {"not": scalar(rng)}]}),
        3 => json!({"if": scalar(rng), "then": inner(rng), "else": inner(rng)}),
        4..=6 => {
            let mut array = json!({"type": "array", "maxItems": 1 + rng.below(4)});
            array["items"] = inner(rng);
            match rng.below(4) {
                0 => array["uniqueItems"] = true.into(),
                1 => array["contains"] = inner(rng),
                2 => array["prefixItems"] = json!([inner(rng)]),
                _ => array["minItems"] = 1.into(),
            }
            array
        }
        _ => object(rng, depth),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Value {
    let mut properties = Map::new();
    for name in NAMES {
        if rng.below(2) == 0 {
            properties.insert(name.to_owned(), schema(rng, depth - 1));
        }
    }
    let mut object = json!({"type": "object"});
    let required: Vec<&str> = NAMES.into_iter().filter(|_| rng.below(4) == 0).collect();
    if rng.below(2) == 0 {
        object["additionalProperties"] = schema(rng, 0);
    } else if required.iter().all(|name| properties.contains_key(*name)) {
        object["additionalProperties"] = false.into();
    }
    match rng.below(6) {
        0 => object["maxProperties"] = (2 + rng.below(2)).into(),
        1 => object["dependentRequired"] = json!({"a": ["b"]}),
        2 => object["propertyNames"] = json!({"maxLength": 3 + rng.below(3)}),
        3 => object["dependentSchemas"] = json!({"b": {"required": ["a"]}}),
        _ => {}
    }
    object["properties"] = Value::Object(properties);
    object["required"] = json!(required);
    object
}

fn scalar(rng: &mut Rng) -> Value {
    match rng.below(9) {
        0 => json!({"type": "integer", "minimum": rng.below(5), "maximum": 5 + rng.below(20)}),
        1 => json!({"type": "integer", "multipleOf": 2 + rng.below(3)}),
        2 => json!({"type": "string", "maxLength": 1 + rng.below(4)}),
        3 => json!({"type": "string", "pattern": (["^a", "b$", "^[ab]{1,3}$"][rng.below(3)])}),
        4 => json!({"enum": [1, "a", null, true]}),
        5 => json!({"type": ["null", "boolean"]}),
        6 => json!({"const": (["a", "b", "1"][rng.below(3)])}),
        7 => json!({"type": "number", "exclusiveMinimum": 0, "maximum": 9.5}),
        _ => json!({"type": "string", "format": "date"}),
    }
}

/// Some value, mostly small.
fn value(rng: &mut Rng, depth: usize) -> Value {
    let texts = ["a", "b", "ab", "", "2024-02-29", "1"];
    match rng.below(if depth == 0 { 6 } else { 10 }) {
        0 | 1 => json!(rng.below(12)),
        2 | 3 => json!(texts[rng.below(texts.len())]),
        4 => [json!(null), json!(true), json!(1.5)][rng.below(3)].clone(),
        5 => json!(8 + rng.below(20)),
        6 | 7 => (0..rng.below(4)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            let mut members = Map::new();
            for _ in 0..rng.below(4) {
                members.insert(NAMES[rng.below(NAMES.len())].to_owned(), value(rng, depth - 1));
            }
            Value::Object(members)
        }
    }
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

fn compile(
    compiler: &Compiler,
    schema: &Value,
    order: PropertyOrder,
) -> Result<Compiled, SpecError> {
    let options = JsonOptions { order, ..JsonOptions::default() };
    compiler.compile(&Spec::Json { schema: schema.clone(), options })
}

/// Walks at random within a budget; returns the text.
pub(crate) fn walk(mut matcher: Matcher, max_tokens: usize, rng: &mut Rng) -> Vec<u8> {
    let mut text = Vec::new();
    for _ in 0..max_tokens {
        let mask = matcher.mask().unwrap();
        let allowed: Vec<u32> = mask.iter().collect();
        let token = rng.pick(&allowed);
        let (taken, is_finished) = match matcher.advance(token).unwrap() {
            Event::Running => (token, false),
            Event::Finished => (token, true),
            Event::Vetoed { instead, finished } => (instead, finished),
            other => panic!("{other:?}"),
        };
        text.extend_from_slice(matcher.vocab().token_bytes(taken));
        if is_finished {
            break;
        }
    }
    text
}

#[test]
fn what_random_walks_write_is_valid_within_any_budget() {
    let mut rng = Rng(0x0a11_5eed_0001);
    let (mut num_compiled, mut num_guarded, mut num_unproven) = (0, 0, 0);
    let num_schemas = num_walked();
    for _ in 0..num_schemas {
        let schema = schema(&mut rng, 3);
        let compiler = if rng.below(2) == 0 { &*COMPILER } else { &*CANONICAL };
        let validator = validator(&schema);
        let compiled = match compile(compiler, &schema, PropertyOrder::Auto) {
            Ok(compiled) => compiled,
            Err(SpecError::Unsatisfiable { .. }) => {
                let found = (0..200).map(|_| value(&mut rng, 3)).find(|it| validator.is_valid(it));
                assert_eq!(found, None, "{schema} has a value");
                continue;
            }
            Err(SpecError::NoWitness { .. }) => {
                num_unproven += 1;
                continue;
            }
            Err(error) => panic!("{schema}: {error}"),
        };
        num_compiled += 1;
        num_guarded += usize::from(compiled.is_guarded());
        let needed = compiled.first_witness().unwrap().len();
        for walk_idx in 0..NUM_WALKS {
            let max_tokens = needed + [0, 1, 3, 10, 60][walk_idx % 5];
            let matcher = compiled.matcher_within(max_tokens).unwrap();
            let text = walk(matcher, max_tokens, &mut rng);
            let text = String::from_utf8(text).unwrap();
            match serde_json::from_str::<Value>(&text) {
                // The validator compares larger numbers as their nearest float.
                Ok(value) if has_large_number(&value) => {}
                Ok(value) => assert!(validator.is_valid(&value), "{text} is no {schema}"),
                Err(error) => panic!("{text} for {schema} in {max_tokens}: {error}"),
            }
        }
    }
    assert!(num_compiled > num_schemas * 7 / 10, "{num_compiled}");
    assert!(num_guarded > num_schemas / 4, "{num_guarded}");
    // Some have no value, which is not always shown.
    assert!(num_unproven < num_schemas / 8, "{num_unproven}");
}

fn has_large_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_none_or(|float| float.abs() > 9e15),
        Value::Array(items) => items.iter().any(has_large_number),
        Value::Object(members) => members.values().any(has_large_number),
        _ => false,
    }
}

#[test]
fn valid_values_are_reached_and_others_are_not() {
    let mut rng = Rng(0x0a11_5eed_0002);
    let (mut num_reached, mut num_vetoed) = (0, 0);
    for _ in 0..NUM_SCHEMAS {
        let schema = schema(&mut rng, 2);
        let validator = validator(&schema);
        let Ok(compiled) = compile(&COMPILER, &schema, PropertyOrder::Any) else { continue };
        let compiled = Arc::new(compiled);
        for _ in 0..NUM_VALUES {
            let value = value(&mut rng, 2);
            let is_valid = validator.is_valid(&value);
            let text = value.to_string();
            match accepts(&compiled, &text) {
                Some(accepted) if accepted != is_valid => {
                    panic!("{text} is {is_valid}, but accepted: {accepted}, for {schema}")
                }
                Some(_) => num_reached += usize::from(is_valid),
                None => num_vetoed += usize::from(is_valid),
            }
        }
    }
    assert!(num_reached > 100, "{num_reached}");
    // The search for a finish has a bound: what it misses is counted, and not much.
    assert!(num_vetoed * 50 < num_reached, "{num_vetoed} of {num_reached}");
}

/// Whether a text is a whole output; none if a token was vetoed.
fn accepts(compiled: &Compiled, text: &str) -> Option<bool> {
    let mut matcher = compiled.matcher();
    for token in bytewise(text.as_bytes()) {
        if matcher.is_finished() || !matcher.mask().unwrap().allows(token) {
            return Some(false);
        }
        if let Event::Vetoed { .. } = matcher.advance(token).unwrap() {
            return None;
        }
    }
    Some(matcher.is_accepting())
}
