//! Sources that are nearly grammars: an answer, no panic, and masks for what compiles.

use proptest::prelude::*;
use serde_json::{Value, json};
use sluicegate_constraint::{MatchError, Spec};

use crate::support::{COMPILER, EOS};

/// Compiles and, where that works, takes some allowed tokens.
fn try_out(spec: &Spec, picks: &[usize]) {
    let Ok(compiled) = COMPILER.compile(spec) else { return };
    let mut matcher = compiled.matcher();
    for pick in picks {
        let mask = match matcher.mask() {
            Ok(mask) => mask,
            // The engine cuts a Lark grammar's text as it likes; ours never leads nowhere.
            Err(MatchError::DeadEnd { .. }) if !matches!(spec, Spec::Lark(_)) => {
                panic!("a dead end of {spec:?}")
            }
            Err(_) => return,
        };
        let allowed: Vec<_> = mask.iter().collect();
        let token = allowed[pick % allowed.len()];
        assert!(!EOS.contains(&token) || matcher.is_accepting(), "an end token that is none");
        // What the mask allows is taken, whatever the grammar.
        matcher.advance(token).unwrap();
        if matcher.is_finished() {
            return;
        }
    }
}

fn source(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    let part = proptest::sample::select(parts);
    proptest::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

const GBNF: &[&str] = &[
    "root ::= ",
    "\nx ::= ",
    "x ",
    "root ",
    "\"a\" ",
    "\"\" ",
    "[a-c] ",
    "[^x] ",
    "( ",
    ") ",
    "| ",
    "* ",
    "+ ",
    "? ",
    "{2} ",
    "{0,3} ",
    ". ",
    "<[97]> ",
    "!<[98]> ",
    "# c\n",
    "\"\\x41\" ",
    "é ",
];

const LARK: &[&str] = &[
    "start: ",
    "\nx: ",
    "\nT: ",
    "x ",
    "T ",
    "start ",
    "\"a\" ",
    "\"\" ",
    "/[a-c]+/ ",
    "/a|b/i ",
    "( ",
    ") ",
    "[ ",
    "] ",
    "| ",
    "\n | ",
    "* ",
    "+ ",
    "? ",
    "{2} ",
    "~0..3 ",
    "~",
    "& ",
    "-> y ",
    "<[97]> ",
    "<[^98]> ",
    "<[*]> ",
    "%json {\"type\": \"null\"} ",
    "\n%ignore / / ",
    "// c\n",
    "::_ ",
    "[lazy]",
    "%if true() ",
    "%import common.INT ",
    ", ",
    ". ",
    "é",
];

fn format() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[a<]{0,3}".prop_map(|text| json!({"type": "const_string", "value": text})),
        "[a-c]\\+?|\\(a\\|b\\)\\*".prop_map(|text| json!({"type": "regex", "pattern": text})),
        Just(json!({"type": "any_text"})),
        Just(json!({"type": "any_text", "excludes": ["<a"]})),
        Just(json!({"type": "json_schema", "json_schema": {"type": "integer"}})),
        Just(json!({"type": "token", "token": 287})),
        Just(json!({"type": "any_tokens", "exclude_tokens": [97]})),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let many = proptest::collection::vec(inner.clone(), 1..4);
        let tag = |begin: &'static str, end: &'static str| {
            inner.clone().prop_map(move |content| {
                json!({"type": "tag", "begin": begin, "content": content, "end": end})
            })
        };
        prop_oneof![
            many.clone().prop_map(|all| json!({"type": "sequence", "elements": all})),
            many.prop_map(|all| json!({"type": "or", "elements": all})),
            inner.clone().prop_map(|content| json!({"type": "star", "content": content})),
            inner.clone().prop_map(|content| json!({"type": "optional", "content": content})),
            tag("<a>", "</a>"),
            (tag("<a>", "</a>"), tag("<ab>", ""), any::<(bool, bool)>()).prop_map(
                |(one, other, (first, last))| json!({
                    "type": "triggered_tags", "triggers": ["<a"], "tags": [one, other],
                    "at_least_one": first, "stop_after_first": last,
                })
            ),
            inner.prop_map(|content| json!({"type": "dispatch", "rules": [["<a", content]]})),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gbnf(source in source(GBNF), picks in proptest::collection::vec(any::<usize>(), 12)) {
        try_out(&Spec::Gbnf(source.clone()), &picks);
        try_out(&Spec::Gbnf(format!("root ::= {source}\nx ::= \"x\" root?")), &picks);
    }

    #[test]
    fn lark(source in source(LARK), picks in proptest::collection::vec(any::<usize>(), 12)) {
        try_out(&Spec::Lark(source.clone()), &picks);
        try_out(&Spec::Lark(format!("start: {source}\nx: \"x\" start?\nT: /t+/")), &picks);
    }

    #[test]
    fn structural_tags(format in format(), picks in proptest::collection::vec(any::<usize>(), 12)) {
        let tag = json!({"type": "structural_tag", "format": format});
        try_out(&Spec::StructuralTag(tag), &picks);
    }
}
