//! What is admitted goes on to its end: nothing that was compiled fails at some later token.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sluicegate_constraint::{Compiled, Spec};

use crate::support::{self, COMPILER, greedy, json};

#[track_caller]
fn accepts(compiled: &Compiled, text: &str) -> bool {
    support::accepts(compiled, &greedy(text.as_bytes()))
}

#[track_caller]
fn check(spec: &Spec, texts: &[String]) {
    let compiled = COMPILER.compile(spec).unwrap_or_else(|error| panic!("{error}"));
    for text in texts {
        assert!(accepts(&compiled, text), "{}", &text[..text.len().min(80)]);
    }
}

/// Text of so many characters, not all of one byte.
fn prose(num_chars: usize) -> String {
    "Ein Satz über Wörter, \"quoted\", with 数字 12. ".chars().cycle().take(num_chars).collect()
}

#[test]
fn long_strings_are_written_to_their_end() {
    let schema = json!({"type": "object", "properties": {
        "summary": {"type": "string", "maxLength": 2_000},
        "text": {"type": "string", "maxLength": 10_000, "minLength": 3}}, "required": ["text"]});
    let text = |num_chars| json!({"summary": prose(2_000), "text": prose(num_chars)}).to_string();
    check(&Spec::json(schema.clone()), &[text(10_000)]);
    assert!(!accepts(&json(schema), &text(10_001)));
}

#[test]
fn patterns_of_several_look_aheads_are_followed() {
    let pattern = r"^(?=.*[A-Z])(?=.*[a-z])(?=.*\d)(?=.*[^\w\s]).{8,16}$";
    let compiled = json(json!({"type": "string", "pattern": pattern}));
    for (text, want) in [
        ("\"Abcdef1!\"", true),
        ("\"1!aB5678\"", true),
        ("\"abcdef1!\"", false),
        ("\"Abcdefg1\"", false),
        ("\"Abc1!\"", false),
    ] {
        assert_eq!(accepts(&compiled, text), want, "{text}");
    }
}

#[test]
fn patterns_whose_states_double_are_followed() {
    let text = "0b0d1b1d0b10d0bd1b0d01bd0".repeat(4) + "000000" + &"d".repeat(25) + "a";
    for pattern in ["([0-9].{30}a|b.{40}c|d.{35}e)", "^x?[0-9b].*[0-9].{25}a$"] {
        let name = json!({"type": "object", "patternProperties": {pattern: {"type": "null"}}});
        check(&Spec::json(name), &[json!({ text.as_str(): null }).to_string()]);
        let string = json!({"type": "string", "pattern": pattern});
        check(&Spec::json(string), &[json!(text).to_string()]);
    }
}

#[test]
fn multiples_that_take_long_to_find_are_followed() {
    let number = json!({"type": "number", "exclusiveMinimum": -100_000, "exclusiveMaximum": -10_000,
        "allOf": [{"multipleOf": 6.75}, {"multipleOf": 19}, {"multipleOf": 9.5}, {"multipleOf": 2.125}]});
    let schema = json!({"type": "object", "properties": {"a": number}});
    check(&Spec::json(schema), &["{\"a\":-17442}".to_owned(), "{}".to_owned()]);
}

#[test]
fn wide_objects_are_written_to_their_end() {
    let names: Vec<String> = (0..600).map(|idx| format!("p{idx}")).collect();
    let properties: Map<String, Value> =
        names.iter().map(|name| (name.clone(), json!({"type": "string"}))).collect();
    let all: Map<String, Value> = names.iter().map(|name| (name.clone(), json!("x"))).collect();
    let texts = [
        Value::Object(all).to_string(),
        "{\"p599\":\"x\"}".to_owned(),
        "{\"p0\":\"x\",\"p599\":\"x\",\"other\":1}".to_owned(),
    ];
    check(&Spec::json(json!({"type": "object", "properties": properties})), &texts);
}

#[test]
fn rules_of_many_alternatives_are_followed() {
    let mut source = String::from("start: a0");
    (1..2_001).for_each(|idx| write!(source, " | a{idx}").unwrap());
    (0..2_001).for_each(|idx| write!(source, "\na{idx}: \"x{idx}\" \"y\"").unwrap());
    check(&Spec::Lark(source), &["x0y".to_owned(), "x2000y".to_owned()]);
}

#[test]
fn repeated_repetitions_are_followed_or_refused() {
    let spec = Spec::Regex("(x{0,1000}){0,1000}".to_owned());
    let Ok(compiled) = COMPILER.compile(&spec) else { return };
    assert!(accepts(&compiled, &"x".repeat(5_000)));
}

#[test]
fn many_choices_inside_each_other_take_no_time() {
    let options = |count: usize| -> Vec<Value> {
        (0..count).map(|idx| json!({"type": "string", "minLength": idx})).collect()
    };
    let mut defs = Map::from_iter([("l0".to_owned(), json!({"anyOf": options(200)}))]);
    for level in 1..6 {
        let same = json!({"$ref": format!("#/$defs/l{}", level - 1)});
        defs.insert(format!("l{level}"), json!({"anyOf": vec![same; 200]}));
    }
    let nested = json!({"properties": {"a": {"$ref": "#/$defs/l5"}}, "$defs": defs});
    let wide: Vec<Value> = (0..50)
        .map(|part| {
            let names = (0..40).map(|idx| (format!("p{part}_{idx}"), json!({"type": "string"})));
            json!({"properties": names.collect::<Map<_, _>>()})
        })
        .collect();
    let joined = json!({"allOf": wide, "anyOf": options(100)});
    for schema in [nested, joined] {
        assert!(COMPILER.compile_grammar(&Spec::json(schema)).is_ok());
    }
}

#[test]
fn brackets_without_end_are_dropped_one_after_the_other() {
    let compiled = json(json!({}));
    let mut matcher = compiled.matcher();
    for _ in 0..100_000 {
        matcher.advance(u32::from(b'[')).unwrap();
    }
    drop(matcher);
}

#[test]
fn what_is_within_the_limits_has_a_first_value() {
    let nested = |depth: usize| {
        let inner = json!({"type": "array", "uniqueItems": true, "items": {"type": "integer"}});
        (0..depth).fold(
            inner,
            |inner, _| json!({"type": "object", "properties": {"a": inner}, "required": ["a"]}),
        )
    };
    let required: Vec<String> = (0..1_300).map(|idx| format!("name{idx}")).collect();
    let properties: Map<String, Value> =
        required.iter().map(|name| (name.clone(), json!({"type": "integer"}))).collect();
    for (name, schema) in [
        ("objects in objects", nested(60)),
        ("many items", json!({"type": "array", "minItems": 5_000, "items": {"type": "null"}})),
        (
            "many items that are guarded",
            json!({"type": "array", "minItems": 5_000, "contains": {"const": 1}}),
        ),
        (
            "many required",
            json!({"type": "object", "properties": properties, "required": required}),
        ),
        (
            "many required that are guarded",
            json!({"type": "object", "properties": properties, "required": required,
                   "dependentRequired": {"name0": ["name1"]}}),
        ),
    ] {
        let compiled = COMPILER.compile(&Spec::json(schema));
        let compiled = compiled.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(compiled.first_witness().is_ok(), "{name}");
    }
}
