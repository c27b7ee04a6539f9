//! Structural tags.

#![expect(clippy::needless_pass_by_value, reason = "a row of a test is written as a value")]

use serde_json::{Value, json};
use sluicegate_constraint::{Compiled, Spec, SpecError, TokenId};

use crate::support::{self, COMPILER, bytewise, check};

#[track_caller]
fn tag(format: Value) -> Compiled {
    let tag = json!({"type": "structural_tag", "format": format});
    COMPILER.compile(&Spec::StructuralTag(tag)).unwrap_or_else(|error| panic!("{format}: {error}"))
}

#[track_caller]
fn check_all(format: Value, good: &[&str], bad: &[&str]) {
    let compiled = tag(format);
    assert_eq!(compiled.warnings(), &[] as &[String]);
    support::check_all(&compiled, good, bad);
}

fn text(value: &str) -> Value {
    json!({"type": "const_string", "value": value})
}

fn point() -> Value {
    let schema = json!({
        "type": "object", "properties": {"x": {"type": "integer"}},
        "required": ["x"], "additionalProperties": false,
    });
    json!({"type": "json_schema", "json_schema": schema})
}

fn function(name: &str, content: &Value) -> Value {
    let begin = format!("<function={name}>");
    json!({"type": "tag", "begin": begin, "content": content, "end": "</function>"})
}

fn calls(more: Value) -> Value {
    let tags = [function("f", &point()), function("g", &text("now"))];
    let mut format = json!({"type": "triggered_tags", "triggers": ["<function="], "tags": tags});
    format.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    format
}

#[test]
fn simple_formats() {
    check_all(text("a\"é"), &["a\"é"], &["a", ""]);
    check_all(point(), &["{\"x\": 1}", "{\"x\":-20}"], &["{}", "{\"x\": 1} ", " {\"x\":1}"]);
    let regex = |pattern: &str| json!({"type": "regex", "pattern": pattern});
    check_all(regex("^[A-Z]{3}-[0-9]+$"), &["ABC-1"], &["AB-1", "ABC-"]);
    check_all(
        json!({"type": "grammar", "grammar": "root ::= \"(\" root \")\" | \"x\""}),
        &["((x))"],
        &["((x)"],
    );
    check_all(json!({"type": "any_text"}), &["", "a{}\n終"], &[]);
    check_all(
        json!({"type": "any_text", "excludes": ["<f", "終"], "max_chars": 5}),
        &["", "a<é<", "12345"],
        &["<f", "a<f>", "終", "123456"],
    );
    check_all(
        json!({"type": "sequence", "elements": [text("a"), regex("[a-z]*"), text("b")]}),
        &["ab", "abbb", "axyzb"],
        &["a", "b", "axa"],
    );
    check_all(
        json!({"type": "or", "elements": [text("yes"), point(), regex("[a-z]{2}")]}),
        &["yes", "{\"x\":1}", "ab", "ye"],
        &["yesno", "y", "{}"],
    );
    let item = json!({"type": "tag", "begin": "[", "content": point(), "end": "]"});
    for (format, counts) in [
        (json!({"type": "optional", "content": item}), &[0, 1][..]),
        (json!({"type": "star", "content": item}), &[0, 1, 2, 3, 4, 5]),
        (json!({"type": "plus", "content": item}), &[1, 2, 3, 4, 5]),
        (json!({"type": "repeat", "content": item, "min": 2, "max": 4}), &[2, 3, 4]),
        (json!({"type": "repeat", "content": item, "min": 1, "max": -1}), &[1, 2, 3, 4, 5]),
    ] {
        let compiled = tag(format);
        for count in 0..6 {
            check(&compiled, &"[{\"x\":1}]".repeat(count), counts.contains(&count));
        }
    }
}

#[test]
fn wide_schemas_inside_other_text_are_whole() {
    let schema = |schema: Value| json!({"type": "json_schema", "json_schema": schema});
    let properties: serde_json::Map<String, Value> =
        (0..2_001).map(|idx| (format!("p{idx}"), json!({"type": "integer"}))).collect();
    check_all(
        schema(json!({"type": "object", "properties": properties,
            "additionalProperties": false})),
        &["{}", "{\"p0\": 1,\"p2000\": 2}"],
        &["{\"p2001\": 1}", "{\"p0\": true}", "{\"p1\": 1,\"p0\": 2}"],
    );
    let option = |idx| {
        json!({"type": "object", "properties": {"k": {"const": idx}}, "required": ["k"],
            "additionalProperties": false})
    };
    check_all(
        schema(json!({"anyOf": (0..1_001).map(option).collect::<Vec<_>>()})),
        &["{\"k\": 0}", "{\"k\": 1000}"],
        &["{\"k\": 1001}", "{}"],
    );
}

#[test]
fn tags_end_at_their_first_end() {
    let think = json!({"type": "tag", "begin": "<think>", "content": {"type": "any_text"},
        "end": "</think>"});
    check_all(
        think.clone(),
        &["<think></think>", "<think>a < b </thin\n終</think>"],
        &["<think>", "</think>", "<think>a</think>b", "<think></think></think>"],
    );
    check_all(
        json!({"type": "sequence", "elements": [think, text("\n"), point()]}),
        &["<think>x</think>\n{\"x\": 3}"],
        &["<think>x</think>{\"x\": 3}", "<think>x</think>\n{}", "<think>x</think>\n\n{\"x\": 3}"],
    );
    check_all(
        json!({"type": "tag", "begin": "<a>", "content": {"type": "any_text"},
            "end": ["</a>", "</b>"]}),
        &["<a>x</a>", "<a></b>"],
        &["<a>x</a></b>", "<a>"],
    );
    // The whitespace that JSON allows inside is not allowed at the border.
    check_all(
        json!({"type": "tag", "begin": "<tool>\n", "content": point(), "end": "\n</tool>"}),
        &["<tool>\n{\"x\": 1}\n</tool>", "<tool>\n{\"x\":\n  1}\n</tool>"],
        &[
            "<tool>\n{\"x\": 1}</tool>",
            "<tool>\n{\"x\": 1} \n</tool>",
            "<tool>\n\n{\"x\": 1}\n</tool>",
            "<tool>\n{\"x\": 1}\n\n</tool>",
            "<tool>\n{\"x\": 1}\n </tool>",
        ],
    );
}

#[test]
fn a_section_in_front_may_have_a_bound_on_its_tokens() {
    let think = json!({"type": "tag", "begin": "<t>", "end": "</t>",
        "content": {"type": "any_text", "max_tokens": 3, "excludes": ["</t>"]}});
    let compiled = tag(json!({"type": "sequence", "elements": [think, text("\n"), point()]}));
    for (text, accepted) in [
        ("<t></t>\n{\"x\": 1}", true),
        ("<t>xyz</t>\n{\"x\": 1}", true),
        ("<t>xyzx</t>\n{\"x\": 1}", false),
        ("<t>xyz</t>{\"x\": 1}", false),
        ("\n{\"x\": 1}", false),
    ] {
        check(&compiled, text, accepted);
    }
    let mut matcher = tag(think).matcher();
    for token in bytewise(b"<t>x</t>") {
        matcher.advance(token).unwrap();
    }
    assert!(matcher.is_accepting());
    assert!(matcher.mask().unwrap().iter().all(|token| crate::support::EOS.contains(&token)));
}

#[test]
fn tags_amid_free_text() {
    let f = "<function=f>{\"x\": 1}</function>";
    let g = "<function=g>now</function>";
    let both = format!("I call <f {f} and {g}{f} done < function");
    check_all(
        calls(json!({})),
        &["", "no call <functio", f, &both, &format!("{g}{g}")],
        &[
            "<function=",
            "<function=h>",
            "a <function=f>{}</function>",
            "<function=f>{\"x\": 1}",
            "x<function=g>now</function",
            "<function=g>later</function>",
        ],
    );
    check_all(
        calls(json!({"stop_after_first": true})),
        &["", "text", f, &format!("text {g}")],
        &[&format!("{f} "), &format!("{f}{g}"), "<function="],
    );
    check_all(
        calls(json!({"at_least_one": true})),
        &[f, &both["I call <f ".len()..]],
        &["", "text", &both, &format!(" {f}")],
    );
    check_all(
        calls(json!({"at_least_one": true, "stop_after_first": true})),
        &[f, g],
        &["", &format!("{f} "), &format!("{f}{g}"), &format!(" {f}")],
    );
    check_all(
        calls(json!({"excludes": ["</end>"]})),
        &["a </en", &format!("a {g}")],
        &["a</end>", &format!("{g}</end>"), &format!("</end>{g}")],
    );
    for more in [json!({}), json!({"stop_after_first": true})] {
        let inside = json!({"type": "tag", "begin": "<r>", "content": calls(more), "end": "</r>"});
        check_all(
            json!({"type": "sequence", "elements": [inside, text("!")]}),
            &["<r></r>!", "<r>a < b</r>!", &format!("<r>a{f}</r>!")],
            &["<r></r>", "<r></r></r>!", &format!("<r>{f}"), "<r><function=</r>!"],
        );
    }
}

#[test]
fn dispatch_and_separators() {
    let rules = json!([["<f>", point()], ["<g>", text("now")]]);
    check_all(
        json!({"type": "dispatch", "rules": rules}),
        &["", "a<f>{\"x\": 1} b<g>now<g>now!"],
        &["<f>", "<g>nov", "<f>{}"],
    );
    check_all(
        json!({"type": "dispatch", "rules": rules, "loop": false, "excludes": ["!"]}),
        &["", "a<g>now"],
        &["<g>nowx", "!<g>now", "<g>now<g>now"],
    );
    let tags = [function("f", &point()), function("g", &text("now"))];
    let (f, g) = ("<function=f>{\"x\": 1}</function>", "<function=g>now</function>");
    check_all(
        json!({"type": "tags_with_separator", "tags": tags, "separator": ", "}),
        &["", f, &format!("{f}, {g}, {f}")],
        &["a", &format!("{f}{g}"), &format!("{f}, "), &format!(" {f}")],
    );
    check_all(
        json!({"type": "tags_with_separator", "tags": tags, "separator": "", "at_least_one": true}),
        &[f, &format!("{f}{g}{f}")],
        &["", &format!("{f},{g}")],
    );
    check_all(
        json!({"type": "tags_with_separator", "tags": tags, "separator": ",",
            "at_least_one": true, "stop_after_first": true}),
        &[f, g],
        &["", &format!("{f},{g}")],
    );
}

#[test]
fn the_older_form() {
    let tag = json!({
        "type": "structural_tag",
        "structures": [
            {"begin": "<function=f>", "schema": point()["json_schema"], "end": "</function>"},
            {"begin": "<function=g>", "schema": {"const": 1}, "end": "</function>"},
        ],
        "triggers": ["<function="],
    });
    let compiled = COMPILER.compile(&Spec::StructuralTag(tag)).unwrap();
    for (text, accepted) in [
        ("", true),
        ("a <function=f>{\"x\": 1}</function><function=g>1</function> b", true),
        ("<function=g>2</function>", false),
        ("<function=g>1</function", false),
    ] {
        check(&compiled, text, accepted);
    }
}

/// The special token, and the two bytes beside it in the tests.
const SPECIAL: TokenId = 287;

#[track_caller]
fn check_tokens(format: Value, tokens: &[TokenId], accepted: bool) {
    let compiled = tag(format);
    assert_eq!(crate::support::accepts(&compiled, tokens), accepted, "{tokens:?}");
}

#[test]
fn whole_tokens() {
    let token = json!({"type": "token", "token": "<|im_start|>"});
    check_tokens(token.clone(), &[SPECIAL], true);
    check_tokens(token.clone(), &bytewise(b"<|im_start|>"), false);
    check_tokens(json!({"type": "token", "token": 97}), &[97], true);
    check_tokens(json!({"type": "token", "token": "abc"}), &[277], true);
    let other = json!({"type": "exclude_token", "exclude_tokens": [97, "<|end|>"]});
    check_tokens(other.clone(), &[98], true);
    check_tokens(other.clone(), &[SPECIAL], true);
    check_tokens(other, &[97], false);
    let any = json!({"type": "any_tokens", "exclude_tokens": ["abc"], "max_tokens": 2});
    for (tokens, accepted) in
        [(&[][..], true), (&[97, 287], true), (&[97, 97, 97], false), (&[277], false)]
    {
        check_tokens(any.clone(), tokens, accepted);
    }
    let inside =
        json!({"type": "tag", "begin": token, "content": {"type": "any_tokens"}, "end": token});
    check_tokens(inside.clone(), &[SPECIAL, 97, 260, SPECIAL], true);
    check_tokens(inside.clone(), &[SPECIAL, 97], false);
    check_tokens(inside, &[SPECIAL, SPECIAL, 97], false);
    let call = json!({"type": "tag", "begin": token, "content": point(), "end": token});
    let mut tokens = vec![97, SPECIAL];
    tokens.extend(bytewise(b"{\"x\":1}"));
    tokens.extend([SPECIAL, 98]);
    let calls = |more: Value| {
        let mut format =
            json!({"type": "token_triggered_tags", "trigger_tokens": [287], "tags": [call]});
        format.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        format
    };
    check_tokens(calls(json!({})), &tokens, true);
    check_tokens(calls(json!({})), &[], true);
    check_tokens(calls(json!({})), &tokens[..5], false);
    check_tokens(calls(json!({"at_least_one": true})), &tokens, false);
    check_tokens(calls(json!({"at_least_one": true})), &tokens[1..], true);
    check_tokens(calls(json!({"stop_after_first": true})), &tokens, false);
    check_tokens(calls(json!({"stop_after_first": true})), &tokens[..tokens.len() - 1], true);
    let dispatch = json!({"type": "token_dispatch", "rules": [[287, text("x")], [98, token]]});
    check_tokens(dispatch.clone(), &[97, 287, 120, 97, 98, 287], true);
    check_tokens(dispatch, &[97, 287, 97], false);
}

#[track_caller]
fn error(format: Value) -> SpecError {
    let tag = json!({"type": "structural_tag", "format": format});
    COMPILER.compile(&Spec::StructuralTag(tag)).unwrap_err()
}
#[track_caller]
fn unsupported(format: Value, keyword: &str, place: &str) {
    match error(format) {
        SpecError::Unsupported { keyword: found, at, .. } => {
            assert_eq!((found.as_str(), at.as_deref()), (keyword, Some(place)));
        }
        other => panic!("{other}"),
    }
}
#[track_caller]
fn invalid(format: Value, place: &str) {
    match error(format) {
        SpecError::Schema { at, message } => {
            assert_eq!(at.as_deref(), Some(place), "{message}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn errors_say_where() {
    let any = json!({"type": "any_text"});
    let seq = |elements: Value| json!({"type": "sequence", "elements": elements});
    invalid(json!(7), "/format");
    invalid(json!({"type": "const_string"}), "/format");
    invalid(seq(json!([any, {"type": "or", "elements": []}])), "/format/elements/1/elements");
    invalid(json!({"type": "tag", "begin": "a", "content": any, "end": 3}), "/format/end");
    invalid(calls(json!({"triggers": ["<tool"]})), "/format/tags/0/begin");
    invalid(json!({"type": "repeat", "min": 3, "max": 2, "content": any}), "/format/max");
    unsupported(json!({"type": "telepathy"}), "telepathy", "/format");
    unsupported(json!({"type": "any_text", "mood": 1}), "mood", "/format");
    unsupported(json!({"type": "any_text", "max_tokens": 5}), "max_tokens", "/format");
    unsupported(seq(json!([any, point()])), "any_text", "/format/elements/0");
    unsupported(
        json!({"type": "or", "elements": [any, point()]}),
        "json_schema",
        "/format/elements/1/json_schema",
    );
    let word = json!({"type": "regex", "pattern": "[a-z]+"});
    let deep = json!({"type": "star", "content": seq(json!([word, point()]))});
    assert!(
        COMPILER
            .compile(&Spec::StructuralTag(json!({"type": "structural_tag", "format": deep})))
            .is_ok()
    );
    let grammar = json!({"type": "grammar", "grammar": "root ::= \"a\" root \"b\" | \"\""});
    unsupported(seq(json!([word, grammar])), "regex", "/format/elements/0");
    unsupported(
        calls(json!({"triggers": ["<function=", "<func"]})),
        "triggers",
        "/format/triggers",
    );
    unsupported(
        json!({"type": "json_schema", "json_schema": {}, "style": "qwen_xml"}),
        "style",
        "/format",
    );
    unsupported(json!({"type": "token", "token": "<|end|>"}), "token 286", "/format/token");
    let bad =
        json!({"type": "json_schema", "json_schema": {"properties": {"a": {"uniqueItems": true}}}});
    let SpecError::Unsupported { at, .. } = error(seq(json!([text("a"), bad]))) else { panic!() };
    assert_eq!(at.as_deref(), Some("/format/elements/1/json_schema/properties/a"));
    let SpecError::UnknownToken { name, at } = error(json!({"type": "token", "token": "<x>"}))
    else {
        panic!()
    };
    assert_eq!((name.as_str(), at.as_str()), ("<x>", "/format/token"));
    let grammar = error(json!({"type": "grammar", "grammar": "root ::= a"})).to_string();
    assert_eq!(
        grammar,
        "grammar is not valid at line 1, column 10: rule `a` is not defined (in /format/grammar)"
    );
}
