//! Grammars in the engine's dialect of Lark.

use sluicegate_constraint::{Compiled, Spec, SpecError};

use crate::support::{COMPILER, SPECIAL, accepts, check, check_all};

#[track_caller]
fn lark(source: &str) -> Compiled {
    let spec = Spec::Lark(source.to_string());
    COMPILER.compile(&spec).unwrap_or_else(|error| panic!("{source}\n{error}"))
}

const ARITHMETIC: &str = r#"
// Sums of products.
start: expr
?expr: term (("+" | "-") term)*
term: factor -> one
    | term "*" factor  # left recursion
factor: NUMBER | "(" expr ")"
NUMBER: /[0-9]+/ ("." DIGITS)?
DIGITS: /[0-9]/{1,3}
%ignore /[ \t]+/
"#;

#[test]
fn grammars_accept_their_texts() {
    for (source, good, bad) in [
        (ARITHMETIC, &["1", "1 + 2*(3.25 -4)", "((7))"][..], &["1 +", "1.2345", "(1", ""][..]),
        ("start: \"a\"i /[b\\/]+/ \"\\x41\\u00e9\\n\"", &["AbA\u{e9}\n", "a//bA\u{e9}\n"], &["ab"]),
        ("start: A~2..3 [B]\nA: \"a\"..\"c\"\nB: /x/i", &["ab", "abcX"], &["a", "abca"]),
        ("%import common.INT\nstart: INT (\",\" INT)*", &["1,22"], &["1,"]),
        ("%import common (INT, WS)\n%ignore WS\nstart: INT+ \"!\"", &["1 2\n!"], &["!"]),
        ("start: WORD & ~/x.*/\nWORD: /[a-z]+/", &[], &[]),
        ("start: W\nW: /[a-z]+/ & ~/x[a-z]*/", &["abc"], &["xab"]),
        (
            "start: perm::0x0\nperm::_:  \"\"                         %if is_ones([0:2])\n  | \"a\" perm::set_bit(0)  %if bit_clear(0)\n  | \"b\" perm::set_bit(1)  %if bit_clear(1)",
            &["ab", "ba"],
            &["a", "aa", "aba"],
        ),
        (
            "start: head \"=\" %json {\n \"type\": \"integer\"\n}\nhead[lazy]: /.*<f/",
            &["x<f=12"],
            &["x<f=1.5", "x=1"],
        ),
        (
            "start: %regex {\"substring_words\": \"one two three\"} \"!\"",
            &["two three!", "!"],
            &["one three!"],
        ),
        ("%llguidance {}\nstart: \"x\" rest?\nrest: \"y\" start", &["xyx"], &["xy"]),
    ] {
        if good.is_empty() {
            assert!(COMPILER.compile(&Spec::Lark(source.to_string())).is_err(), "{source}");
            continue;
        }
        let compiled = lark(source);
        check_all(&compiled, good, bad);
    }
}

#[test]
fn tokens_are_those_of_the_vocabulary() {
    let compiled = lark("start: <|im_start|> \"a\" <[97-99]> <[^97]> <[*]>");
    assert!(accepts(&compiled, &[287, 97, 98, 260, 287]));
    assert!(!accepts(&compiled, &[287, 97, 98, 97, 97]));
    let mut matcher = compiled.matcher();
    for token in [287, 97, 98] {
        matcher.advance(token).unwrap();
    }
    // Neither end tokens nor holes, whatever the numbers say.
    let mask = matcher.mask().unwrap();
    assert!(!mask.allows(286) && !mask.allows(289) && !mask.allows(288) && mask.allows(287));
    matcher.advance(287).unwrap();
    assert!(!matcher.mask().unwrap().allows(286));
    matcher.rollback(2).unwrap();
    assert!(matcher.mask().unwrap().allows(97) && !matcher.mask().unwrap().allows(100));
}

#[test]
fn whitespace_in_json_is_that_of_formatters_and_outside_it_the_grammars() {
    check_all(
        &lark("start: \"{\" %json {\"type\": \"array\"} \"}\" \",\""),
        &["{[1, 2]},", "{[\n  1,\n  2\n]},"],
        &["{[1 ,2]},", "{[1\n,2]},", "{ [1]},", "{[1] },", "{[1]} ,", "{[1]}, "],
    );
}

#[test]
fn a_thinking_section_by_hand() {
    let compiled =
        lark("start: /(?s:.)*/ <|im_start|> answer\nanswer: %json {\"type\": \"object\"}");
    let mut tokens = crate::support::bytewise("some é thoughts {".as_bytes());
    tokens.push(287);
    tokens.extend(crate::support::greedy(b"{\"name\": 10}"));
    assert!(accepts(&compiled, &tokens));
    assert!(!accepts(&compiled, &tokens[..18]));
}

#[track_caller]
fn error(source: &str) -> SpecError {
    COMPILER.compile(&Spec::Lark(source.to_string())).unwrap_err()
}

#[test]
fn errors_say_where() {
    for (source, wanted, part) in [
        ("", (1, 1), "rule `start` is not defined"),
        ("start: a\n  | \"b\" c\nc: \"x\"", (1, 8), "`a` is not defined"),
        ("start: \"a\"\n\nstart: \"b\"", (3, 1), "defined already at line 1"),
        ("start: \"a\" x\nx: \"é\" x | y\ny: \"z\" x", (1, 1), "`start` never ends"),
        ("start: x*\n\nx: \"a\" x", (3, 1), "`x` never ends"),
        ("start: \"a", (1, 8), "not closed"),
        ("start: /a", (1, 8), "not closed"),
        ("start: /a(/", (1, 8), "regex"),
        ("start: \"é\" /\\1/", (1, 12), "backreference"),
        ("start: \"a\" ;", (1, 12), ""),
        ("start: (\"a\"\n", (1, 12), ""),
        ("start: \"a\"{3,2}", (1, 8), ""),
        ("start: <|end|>", (1, 8), "ends the output"),
        ("start: <[5-3]>", (1, 8), "not a list of tokens"),
        ("start: <[286]>", (1, 8), "only tokens that end"),
        ("start: \"a\" %json {\"type\": }", (1, 12), "%json"),
        ("start \"a\"", (1, 1), "wanted a rule"),
        ("start: A\nA: B\nB: A", (1, 1), "never ends"),
        ("start: A\nA: \"x\" | B \"b\"\nB: A", (0, 0), "circular"),
        ("start: 終", (1, 8), "is unexpected"),
    ] {
        match error(source) {
            SpecError::Syntax { line, column, message } => {
                let found = (line, column);
                assert!(wanted == (0, 0) || found == wanted, "{source:?}: {found:?} {message}");
                assert!(message.contains(part), "{source:?}: {message}");
            }
            other => panic!("{source:?}: {other}"),
        }
    }
    assert_eq!(
        error("start: \"a\"\n  <nope>").to_string(),
        "the vocabulary has no special token \"<nope>\", named at line 2, column 3"
    );
    assert!(matches!(error("start: <[5000]>"), SpecError::UnknownToken { .. }));
}

#[test]
fn what_could_not_be_rolled_back_is_refused() {
    for (source, wanted) in [
        ("start: a \"b\"\na[max_tokens=5]: /.*/", "max_tokens"),
        ("start: a \"b\"\na[lazy, temperature=0.5]: /.*/", "temperature"),
        ("start: a \"b\"\na[stop=\"x\"]: /.*/", "stop"),
        ("start: @other", "@other"),
        ("start: %lark { start: \"a\" }", "%lark"),
        ("%llguidance {\"allow_invalid_utf8\": true}\nstart: \"a\"", "allow_invalid_utf8"),
        ("start: %json {\"uniqueItems\": true}", "uniqueItems"),
    ] {
        match error(source) {
            SpecError::Unsupported { keyword, .. } => assert_eq!(keyword, wanted, "{source}"),
            other => panic!("{source:?}: {other}"),
        }
    }
    let compiled =
        lark("start: a \"b\"\na[capture, suffix=END, stop_capture=\"c\"]: /[a-z]*/\nEND: \"!\"");
    check(&compiled, "xyz!b", true);
    check(&compiled, "xyzb", false);
}

#[test]
fn complements_hold_text_and_no_special_token() {
    for source in [
        "start: ~\"x\" \"y\"?",
        "start: A \"y\"\nA: ~(\"x\" | B)\nB: ~\"a\"..\"c\"",
        "start: A\nA: /a+/ & ~/aaa/",
        "start: A A\nA: \"a\"~2..3 | ~B\nB: /[a-y]/+",
    ] {
        let compiled = lark(source);
        let mut matcher = compiled.matcher();
        for _ in 0..3 {
            let Ok(mask) = matcher.mask() else { break };
            assert!(!mask.allows(SPECIAL) && !mask.allows(0xFE), "{source}");
            for token in mask.iter() {
                assert!(matcher.fork().advance(token).is_ok(), "{token} of {source}");
            }
            let token = mask.iter().next().unwrap();
            matcher.advance(token).unwrap();
        }
    }
    check(&lark("start: ~\"x\"{2}"), "ab", true);
    check(&lark("start: A\nA: /a+/ & ~/aaa/"), "aa", true);
    check(&lark("start: A\nA: /a+/ & ~/aaa/"), "aaa", false);
}
