//! Grammars and tags made to hurt: an answer for bounded work, no panic, no stack overflow.

use std::fmt::Write;

use serde_json::{Value, json};
use sluicegate_constraint::Spec;

use crate::bounds::{Work, drop_deep, within};

/// Twice what the dearest answer here takes.
const MAX_WORK: Work = Work { allocations: 1_100_000, bytes: 250_000_000 };

fn chain(num: usize, line: impl Fn(usize) -> String) -> String {
    (0..num).map(line).collect()
}

#[test]
fn gbnf() {
    let nested = |num: usize| format!("root ::= {}\"a\"{}", "(".repeat(num), ")".repeat(num));
    let levels = |num: usize| {
        let rules = chain(num, |idx| format!("r{idx} ::= \"(\" r{} \")\"\n", idx + 1));
        format!("root ::= r0\n{rules}r{num} ::= \"x\"")
    };
    let doubling = |num: usize, last: &str| {
        let rules = chain(num, |idx| format!("r{idx} ::= r{n} r{n}\n", n = idx + 1));
        format!("root ::= r0\n{rules}r{num} ::= {last}")
    };
    let mut words = "root ::= w root | w\nw ::= ".to_string();
    for idx in 0..4_000 {
        write!(words, "\"word{idx}\" | [a-z] x{} | ", idx % 7).unwrap();
    }
    words.push_str("\"z\"\n");
    words.push_str(&chain(7, |idx| format!("x{idx} ::= \"(\" root \")\" | [a-z]+ \"{idx}\"\n")));
    let rows: Vec<(&str, String, bool)> = vec![
        ("nested 50", nested(50), true),
        ("nested 100k", nested(50_000), false),
        ("levels 190", levels(190), true),
        ("levels 2k", levels(2_000), false),
        ("levels 5k", levels(5_000), false),
        ("doubling", doubling(60, "\"a\""), false),
        ("doubling nothing", doubling(60, "\"\""), true),
        ("doubling recursive", doubling(60, "\"a\" r0 | \"b\""), true),
        ("megabyte", "root ::= \"a\" # ".repeat(70_000), false),
        ("megabyte of names", "a ".repeat(500_000), false),
        ("bound", "root ::= \"a\"{0,1000000}".to_string(), false),
        ("bound of 100k", "root ::= \"a\"{0,100000}".to_string(), true),
        ("bound of rules", "root ::= r{99999}\nr ::= \"(\" root \")\" | \"x\"".to_string(), true),
        ("bounds in bounds", "root ::= (((\"ab\"{1000}){1000}){1000}){1000}".to_string(), true),
        (
            "exponential",
            "root ::= ([ab]* \"a\" [ab]{60} r)+\nr ::= \"(\" r \")\" | \"\"".into(),
            true,
        ),
        (
            "alternatives",
            format!("root ::= {}", vec!["[a-z]* \"x\" root | [a-z]+"; 300].join(" | ")),
            true,
        ),
        ("left recursion", "root ::= root root | root \"a\" | \"\"".to_string(), true),
        ("nothing in nothing", "root ::= (((\"\"*)*)*)* root | \"\"*".to_string(), true),
        ("words", words, false),
        (
            "all names",
            format!(
                "root ::= r0\n{}",
                chain(4_000, |idx| format!(
                    "r{idx} ::= r{} | root | \"{idx}\"\n",
                    (idx * 7 + 1) % 4_000
                ))
            ),
            true,
        ),
        (
            "all clash",
            format!(
                "root ::= (a | \"(\" root \")\")* \na ::= {}\"a\"",
                chain(300, |idx| format!("\"{}\" root | ", "a".repeat(idx + 1)))
            ),
            false,
        ),
    ];
    for (name, source, compiles) in rows {
        let result = within(MAX_WORK, name, &Spec::Gbnf(source));
        if !compiles {
            assert!(result.is_err(), "{name}");
        }
    }
}

fn tag(format: Value) -> Spec {
    Spec::StructuralTag(Value::Object(
        [("type".to_string(), json!("structural_tag")), ("format".to_string(), format)]
            .into_iter()
            .collect(),
    ))
}

/// Unlike `json!`, does not copy `inner`, which would recurse over it.
fn wrapped(kind: &str, field: &str, inner: Value) -> Value {
    let inner = if field == "elements" { Value::Array(vec![inner]) } else { inner };
    let fields = [("type".to_string(), json!(kind)), (field.to_string(), inner)];
    Value::Object(fields.into_iter().collect())
}

#[test]
fn structural_tags() {
    let nested = |num: usize, kind: &str, field: &str| {
        let leaf = json!({"type": "const_string", "value": "x"});
        tag((0..num).fold(leaf, |inner, _| wrapped(kind, field, inner)))
    };
    let schema = |idx: usize| {
        json!({"type": "object", "properties": {
            format!("a{idx}"): {"type": "string"}, "b": {"type": "array", "items": {"type": "integer"}},
        }, "required": ["b"], "additionalProperties": false})
    };
    let tools = |num: usize, own_triggers: bool| {
        let begin = |idx: usize| format!("<function=tool_{idx}>");
        let tags: Vec<Value> = (0..num)
            .map(|idx| {
                let content = json!({"type": "json_schema", "json_schema": schema(idx)});
                json!({"type": "tag", "begin": begin(idx), "content": content, "end": "</function>"})
            })
            .collect();
        let triggers: Vec<String> =
            if own_triggers { (0..num).map(begin).collect() } else { vec!["<function=".into()] };
        tag(json!({"type": "triggered_tags", "triggers": triggers, "tags": tags}))
    };
    let many =
        |num: usize, format: Value| tag(json!({"type": "sequence", "elements": vec![format; num]}));
    let any = json!({"type": "any_text", "excludes": vec!["abcabcabd"; 200]});
    let regex = json!({"type": "regex", "pattern": "(a|b)*a(a|b){60}"});
    let rows: Vec<(&str, Spec, bool)> = vec![
        ("stars", nested(55, "star", "content"), true),
        ("sequences", nested(60, "sequence", "elements"), true),
        ("deep stars", nested(50_000, "star", "content"), false),
        ("deep sequences", nested(50_000, "sequence", "elements"), false),
        ("128 tools", tools(128, false), true),
        ("128 tools with a trigger each", tools(128, true), true),
        ("1,000 tools", tools(1_000, false), true),
        ("many texts", many(50, any.clone()), true),
        ("many regexes", many(200, regex.clone()), true),
        ("one regex", many(1, regex), true),
        ("a megabyte", tag(json!({"type": "const_string", "value": "x".repeat(2 << 20)})), false),
        ("half a megabyte", tag(json!({"type": "const_string", "value": "x".repeat(500 << 10)})), false),
        ("bounds", tag(json!({"type": "repeat", "min": 0, "max": 1_000_000, "content": any})), false),
        (
            "bounds in bounds",
            tag((0..5).fold(json!({"type": "json_schema", "json_schema": {"type": "object"}}), |inner, _| {
                json!({"type": "repeat", "min": 90_000, "max": 100_000, "content": inner})
            })),
            true,
        ),
        ("characters", tag(json!({"type": "any_text", "max_chars": 100_000, "excludes": ["ab"]})), true),
        ("grammars", many(300, json!({"type": "grammar", "grammar": "root ::= \"(\" root \")\" | \"x\""})), true),
    ];
    for (name, spec, compiles) in rows {
        let result = within(MAX_WORK, name, &spec);
        if !compiles {
            assert!(result.is_err(), "{name}");
        }
        drop_deep(spec);
    }
}

#[test]
fn lark() {
    let nested = |num: usize| format!("start: {}\"a\"{}", "(".repeat(num), ")".repeat(num));
    let levels = |num: usize, name: &str, body: &str| {
        let each = |idx: usize| {
            let next = format!("{name}{}", idx + 1);
            format!("{name}{idx}: {}\n", body.replace('N', &next))
        };
        format!("start: {name}0\n{}{name}{num}: \"x\"", chain(num, each))
    };
    let twice = |num: usize, name: &str| levels(num, name, "N N");
    let rows: Vec<(&str, String, bool)> = vec![
        ("nested 20", nested(20), true),
        ("nested 50k", nested(50_000), false),
        (
            "conditions",
            format!(
                "start: a::0\na::_: \"a\" %if {}true(){}",
                "not(".repeat(30_000),
                ")".repeat(30_000)
            ),
            false,
        ),
        ("templates", format!("start: {}\"x\"{}", "a{".repeat(30_000), "}".repeat(30_000)), false),
        ("levels 190", levels(190, "r", "\"(\" N \")\""), true),
        ("levels 2k", levels(2_000, "r", "\"(\" N \")\""), false),
        ("hidden levels", levels(3_000, "r", "\"a\" p::_ N -> b | \"c\""), false),
        ("terminals 190", levels(190, "T", "\"(\" N \")\""), true),
        ("terminals 2k", levels(2_000, "T", "\"(\" N \")\""), false),
        ("doubling rules", twice(60, "r"), true),
        ("doubling terminals", twice(60, "T"), false),
        ("doubling with a choice", levels(60, "T", "N (\"a\" | N)"), true),
        ("complements", levels(40, "T", "~(N \"a\" | \"b\" N)"), true),
        ("intersections", levels(30, "T", "N & ~(/(?s:.)*/ N)"), true),
        ("megabyte", "start: \"a\" ".repeat(90_000), false),
        ("names", format!("start: {}\"a\"\nx: \"x\"", "x ".repeat(60_000)), false),
        ("bound", "start: A\nA: \"ab\"{0,1000000}".to_string(), true),
        ("bound of rules", "start: (\"a\" b){1000000}\nb: \"b\" start?".to_string(), true),
        ("left recursion", "start: start start | start \"a\" | \"\"".to_string(), true),
        (
            "counted terminals",
            "start: A{1000}\nA: B{1000}\nB: C{1000}\nC: /a+b?/".to_string(),
            true,
        ),
        ("exponential", "start: /(a|b)*a(a|b){80}/ x\nx: \"(\" x \")\" | \"\"".to_string(), true),
        ("sets", format!("start: /{}/", r"[\w--[a]]".repeat(2_000)), false),
        (
            "substrings",
            format!("start: %regex {{\"substring_chars\": {:?}}}", "ab".repeat(8_000)),
            true,
        ),
        (
            "many substrings",
            format!("start: %regex {{\"substring_chars\": {:?}}}", "ab".repeat(12_000)),
            false,
        ),
        ("schema", format!("start: %json {}1{}", "[".repeat(100_000), "]".repeat(100_000)), false),
        ("tokens", format!("start: {}", "<[0-200,203]> ".repeat(9_000)), true),
    ];
    for (name, source, compiles) in rows {
        let result = within(MAX_WORK, name, &Spec::Lark(source));
        if !compiles {
            assert!(result.is_err(), "{name}");
        }
    }
}
