//! Grammars in the notation of llama.cpp.

use sluicegate_constraint::{Compiled, Spec, SpecError};

use crate::support::{self, COMPILER, check};

#[track_caller]
fn gbnf(source: &str) -> Compiled {
    COMPILER.compile(&Spec::Gbnf(source.to_string())).unwrap()
}

#[track_caller]
fn check_all(source: &str, good: &[&str], bad: &[&str]) {
    let compiled = gbnf(source);
    assert_eq!(compiled.warnings(), &[] as &[String]);
    support::check_all(&compiled, good, bad);
}

/// Rows of a grammar, a text that it allows, and one that it does not.
#[track_caller]
fn check_rows(rows: &[(&str, &str, &str)]) {
    for (source, good, bad) in rows {
        support::check_all(&gbnf(source), &[good], &[bad]);
    }
}

const ARITHMETIC: &str = r#"
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"#;

const JSON: &str = r#"
# Any JSON object.
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws (
             string ":" ws value
             ("," ws string ":" ws value)*
           )? "}" ws
array  ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\"" (
             [^"\\\x7F\x00-\x1F] |
             "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
           )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"#;

const CHESS: &str = r#"
root ::= ("1. " move " " move "\n" ([1-9] [0-9]? ". " move " " move "\n")+)
move ::= (pawn | non-pawn | castle) [+#]?
non-pawn ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle ::= "O-O" "-O"?
"#;

#[test]
fn grammars_of_the_usual_kinds() {
    check_all(
        ARITHMETIC,
        &["1+2=x\n", "(a +b_1) *3 =y\n", "1=2\n3=4\n", "x= 1 \n", "((7))-x=0\n\n"],
        &["1+=x\n", "1+2=3", "(1=2\n", "=\n", "", "1 2=3\n", "A=1\n"],
    );
    check_all(
        JSON,
        &[
            "{}",
            r#"{"a": [1, -2.5e+3, {"é\n": null}], "b":"\u00e9"}"#,
            "{ }\n\t",
            "{\"a\":\n  true}",
        ],
        &["[]", "{", "{\"a\"}", "{\"a\": 01}", "{\"a\":  1}", "{\"a\": tru}", "{\"a\n\": 1}"],
    );
    check_all(
        CHESS,
        &["1. e4 e5\n2. Nf3 Nc6\n", "1. d4 d5\n2. c4 dxc4\n3. Qa4+ O-O-O#\n"],
        &["1. e4 e5\n", "1. e4\n", "1. e9 e5\n2. a1 a2\n", "2. e4 e5\n3. a1 a2\n"],
    );
    check_all(
        "root ::= (\"- \" item)+\nitem ::= [^\\n\\u000b]+ \"\\n\"",
        &["- a\n", "- one - two\n- 終\n"],
        &["- \n", "-a\n", "- a", ""],
    );
}

#[test]
fn notation() {
    check_rows(&[
        (r#"root ::= "\x41\u00e9\U0001F600\"\\""#, "Aé😀\"\\", "A"),
        (r"root ::= [\]\-^a] [a\-z] [+--] [^\]]", "]-,x", "b-,x"),
        ("root ::= .", "\n", "ab"),
        ("root ::= \"a\"{2} [b]{1,} \"c\"{,2} \"d\"{0,1} \"e\"{0}", "aabbccd", "aabe"),
        (
            "root ::= a | \"(\" root \")\"\na ::= UPPER-case_1 |\n  \"x\"\nUPPER-case_1 ::= \"y\"",
            "((y))",
            "(y",
        ),
        ("root::=a-b a_b\na-b::=\"1\"\na_b::=\"2\"", "12", "11"),
        ("root ::=\n  \"a\"\n  | \"b\" # or\n\n  | # nothing\nx ::= root", "", "ab"),
        ("root ::= (\"a\")*+? \"b\"", "b", "a"),
        ("r ::= root\nroot ::= start T0\nstart ::= \"s\"\nT0 ::= \"t\"", "st", "s"),
        ("root ::= \"/\" [/] \"#\" \"<|end|>\"", "//#<|end|>", "//#"),
    ]);
}

#[test]
fn recursion_of_every_kind() {
    check_rows(&[
        ("root ::= \"a\" root | \"b\"", "aaab", "aaa"),
        ("root ::= root \"a\" | \"b\"", "baaa", "aaa"),
        ("root ::= (\"a\" root)?", "aaaa", "b"),
        ("root ::= root | \"x\"", "x", "xx"),
        ("root ::= \"(\" root \")\" root | \"\"", "(()())()", "(()"),
        ("root ::= a \"!\"\na ::= b \"x\" | \"y\"\nb ::= a \"z\" | \"w\"", "wxzx!", "wz!"),
        ("root ::= (x*)*\nx ::= y?\ny ::= \"a\" | \"(\" x \")\"", "a((a))()a", "(a"),
        ("root ::= e\ne ::= e \"+\" e | [0-9]+ | \"(\" e \")\"", "1+(22+3)+4", "1+"),
        ("root ::= \"a\" root \"b\" | \"ab\"", "aaabbb", "aaabb"),
    ]);
    let long = gbnf("root ::= item root | item\nitem ::= \"(\" root \")\" | [a-z]");
    check(&long, &"a(b)".repeat(500), true);
}

#[test]
fn no_part_swallows_the_next() {
    check_rows(&[
        // As long as can be, the word would take the `b` that must follow it.
        (
            "root ::= \"(\" root \")\" | w t\nw ::= [a-z]+\nt ::= \"b\" u?\nu ::= \"[\" root \"]\"",
            "(xb[abb])",
            "(xb[ab)",
        ),
        ("root ::= w n\nw ::= [a-z]*\nn ::= \"a\" n \"c\" | \"b\"", "xyaabcc", "aac"),
        ("root ::= k p\nk ::= \"if\" | \"i\"\np ::= \"f\" p \"!\" | \"x\"", "iffx!!", "iffx"),
        ("root ::= k p\nk ::= \"if\" | \"i\"\np ::= \"f\" p \"!\" | \"x\"", "iffx!", "if!"),
        ("root ::= s s\ns ::= [ ]* (\"(\" s \")\")? [ ]*", "  (  ) ( )", "( "),
        ("root ::= p p\np ::= [ab]+ (\"(\" p \")\")?", "abba", "a"),
        ("root ::= q*\nq ::= \"a\" | \"ab\" | \"(\" q \")\" | \"bc\"", "abc(ab)a", "ac"),
        ("root ::= d \"終\" x\nd ::= [^x]+\nx ::= \"(\" x \")\" | \"x\"", "終é終(x)", "終(x)"),
    ]);
}

#[test]
fn special_tokens() {
    let compiled = gbnf("root ::= \"a\" <|im_start|> \"b\"");
    let mut matcher = compiled.matcher();
    for token in [97, 287, 98] {
        assert!(matcher.mask().unwrap().allows(token));
        matcher.advance(token).unwrap();
    }
    assert!(matcher.is_finished());
    let compiled = gbnf("root ::= !<[97]> <[98]>");
    let mut matcher = compiled.matcher();
    let mask = matcher.mask().unwrap();
    assert!(!mask.allows(97) && mask.allows(99) && !mask.allows(286) && !mask.allows(288));
    matcher.advance(260).unwrap();
    assert_eq!(matcher.mask().unwrap().iter().collect::<Vec<_>>(), [98]);
    matcher.rollback(1).unwrap();
    assert_eq!(matcher.mask().unwrap(), mask);
}

#[test]
fn errors_say_where() {
    #[track_caller]
    fn at(source: &str, wanted: (usize, usize), part: &str) {
        match COMPILER.compile(&Spec::Gbnf(source.to_string())).unwrap_err() {
            SpecError::Syntax { line, column, message } => {
                assert_eq!((line, column), wanted, "{source:?}: {message}");
                assert!(message.contains(part), "{message}");
            }
            other => panic!("{source:?}: {other}"),
        }
    }
    at("", (1, 1), "rule `root` is not defined");
    at("root ::= a\n  b c\nc ::= \"x\"", (1, 10), "rule `a` is not defined");
    at("root ::= \"a\"\n\nroot ::= \"b\"", (3, 1), "defined already at line 1");
    at("root ::= root \"a\"", (1, 1), "never ends");
    at("root ::= \"a\"\nx ::= \"é\" y\ny ::= x | y", (2, 1), "rule `x` never ends");
    at("root ::= \"a", (1, 10), "not closed");
    at("root ::= (\"a\"\n", (1, 10), "never closed");
    at("root ::= \"a\")", (1, 13), "`)` has no opening bracket");
    at("root ::= * \"a\"", (1, 10), "nothing before it");
    at("root ::= []", (1, 10), "no characters");
    at("root ::= [b-a]", (1, 11), "range 'b' to 'a' is empty");
    at("root ::= \"\\q\"", (1, 12), "is not an escape");
    at("root ::= \"\\ud800\"", (1, 12), "is not a character");
    at("root ::= \"a\"{3,2}", (1, 13), "the maximum, 2, is less");
    at("root ::= \"a\"{x}", (1, 13), "wanted `{m}`");
    at("root \"a\"", (1, 1), "wanted a rule");
    at("root = \"a\"", (1, 6), "'=' is unexpected");
    at("root ::= \"é\" ;", (1, 14), "';' is unexpected");
    at("root ::= <|end|>", (1, 10), "ends the output");
    let error = COMPILER.compile(&Spec::Gbnf("root ::= <nope>".into())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the vocabulary has no special token \"<nope>\", named at line 1, column 10"
    );
}
