//! Regexes and choices.

use sluicegate_constraint::{Event, Spec, SpecError};

use crate::{
    bounds::Work,
    support::{CANONICAL, COMPILER, accepts, bytewise, check_all, greedy},
};

#[test]
fn regex_table() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("[0-9]{3}-[0-9]{4}", &["555-1042"], &["555-104", "5551042", ""]),
        ("^a+$", &["a", "aaa"], &["", "b", "a\n"]),
        ("a|bc|", &["", "a", "bc"], &["b", "abc"]),
        ("", &[""], &["a"]),
        (r"https?://\w+/", &["http://x/", "https://é/"], &["http:/x/"]),
        (r"\\n\/", &["\\n/"], &["\n/"]),
        ("(?i)yes|no", &["YES", "nO"], &["y"]),
        ("a\nb\t/", &["a\nb\t/"], &["anb"]),
        (r"[^\x00-\x7f]", &["é", "終"], &["e", "éé"]),
        ("(?s).{2}", &["終\n"], &["終", "abc"]),
        (r"\d{1,3}(\.\d+)?%", &["42%", "9.5%"], &["1000%", "9.%"]),
        ("\"<|end|>\"", &["\"<", "end"], &["\"<|end|>\""]),
        (r"<\|end\|>", &["<|end|>"], &[""]),
    ];
    for (pattern, good, bad) in rows {
        let compiled = COMPILER.compile(&Spec::Regex((*pattern).to_string())).unwrap();
        check_all(&compiled, good, bad);
    }
}

#[test]
fn bad_regexes_say_what_is_wrong() {
    let error = |pattern: &str| COMPILER.compile(&Spec::Regex(pattern.into())).unwrap_err();
    for (pattern, part) in [
        ("(a", "unclosed group"),
        ("a{2,1}", "invalid repetition"),
        ("[z-a]", "invalid character class range"),
        ("a(?=b)", "look-around"),
        (r"(a)\1", "backreferences"),
        (r"\bword", "lookarounds not supported"),
        ("a\\", "lone backslash"),
        (r"(?-u)\xff", "UTF-8"),
    ] {
        let SpecError::Regex { message } = error(pattern) else { panic!("{:?}", error(pattern)) };
        assert!(message.contains(part), "{pattern:?}: {message}");
    }
    assert!(matches!(error("x(?P<stop>y)"), SpecError::Unsupported { .. }));
    assert!(matches!(error("[a&&b]"), SpecError::Unsatisfiable { .. }), "{:?}", error("[a&&b]"));
    assert!(matches!(error(&"a".repeat(1 << 20)), SpecError::TooLarge { .. }));
}

#[test]
fn choice_table() {
    let rows: &[(&[&str], &[&str], &[&str])] = &[
        (&["yes", "no"], &["yes", "no"], &["y", "yesno", "", "maybe"]),
        (&["a", "ab", "abc"], &["a", "ab", "abc"], &["b", "abcd"]),
        (&["", "x"], &["", "x"], &["xx"]),
        (&[""], &[""], &["x"]),
        (&["a.c", "[x]", "a|b", "\\", "/", "^$", "#"], &["a.c", "\\", "/", "a|b"], &["abc", "x"]),
        (&["é終", "a\nb\0", "\u{7f}", "-&~ "], &["é終", "a\nb\0", "-&~ "], &["é", "a"]),
        (&["Yes", "yes"], &["Yes", "yes"], &["YES"]),
    ];
    for (options, good, bad) in rows {
        let spec = Spec::Choice(options.iter().map(ToString::to_string).collect());
        let compiled = COMPILER.compile(&spec).unwrap();
        check_all(&compiled, good, bad);
    }
}

#[test]
fn bad_choices_are_errors() {
    let error = |options: &[&str]| {
        let options = options.iter().map(ToString::to_string).collect();
        COMPILER.compile(&Spec::Choice(options)).unwrap_err()
    };
    assert_eq!(error(&[]), SpecError::NoChoices);
    assert_eq!(
        error(&["a", "b", "a"]),
        SpecError::DuplicateChoice { text: "a".into(), first: 0, second: 2 }
    );
    assert!(matches!(error(&[&"x".repeat(1 << 20)]), SpecError::TooLarge { .. }));
}

#[test]
fn ten_thousand_choices_compile_in_ten_times_the_work_of_one_thousand() {
    let options: Vec<String> = (0..10_000).map(|n| format!("option {} / {n}", n * 7919)).collect();
    let compile = |options: &[String]| {
        let (compiled, work) = Work::of(&Spec::Choice(options.to_vec()));
        (compiled.unwrap(), work)
    };
    let (_, few) = compile(&options[..1_000]);
    let (compiled, many) = compile(&options);
    assert!(many.allocations < 12 * few.allocations, "{few:?} {many:?}");
    assert!(many.bytes < 12 * few.bytes, "{few:?} {many:?}");
    for option in options.iter().step_by(501) {
        assert!(accepts(&compiled, &greedy(option.as_bytes())), "{option}");
    }
    assert!(!accepts(&compiled, &bytewise(b"option 1 / 1")));
}

#[test]
fn a_complete_choice_needs_no_end_token() {
    let compiled = CANONICAL.compile(&Spec::Choice(vec!["yes".into(), "no".into()])).unwrap();
    let mut matcher = compiled.matcher();
    assert_eq!(matcher.advance(u32::from(b'n')).unwrap(), Event::Running);
    assert!(!matcher.is_accepting() && !matcher.is_finished());
    assert_eq!(matcher.advance(u32::from(b'o')).unwrap(), Event::Finished);
    assert!(matcher.is_accepting() && matcher.is_finished());
}
