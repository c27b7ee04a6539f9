//! Source text without comments and without what strings say.

/// Blanks comments and the insides of string and character literals. Lines stay where they are.
pub(super) fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after_name = out.ends_with(is_name);
        let blanked = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => string(rest),
            'r' | 'b' if !after_name => prefixed_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let (skipped, kept) = if blanked == 0 { (0, first.len_utf8()) } else { (blanked, 0) };
        out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        out.push_str(&rest[..kept]);
        // What is left of a literal keeps its neighbours apart.
        if skipped > 0 {
            out.push(' ');
        }
        rest = &rest[skipped + kept..];
    }
    out
}

/// The part of a source file before its tests: a file's tests are its last module.
pub(super) fn before_tests(code: &str) -> &str {
    match code.find("#[cfg(test)]\nmod tests {") {
        Some(end) => &code[..end],
        None => code,
    }
}

/// Whether `word` stands in `line` and is not the end of a longer name or path.
pub(super) fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word)
        .any(|(start, _)| !word.starts_with(is_path) || !line[..start].ends_with(is_path))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What makes a word the middle of a longer name, path or address.
fn is_path(c: char) -> bool {
    is_name(c) || matches!(c, '/' | '~' | '-' | '$' | '}')
}

/// Length of the (nested) block comment at the start.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let step = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Length of the string literal at the start.
fn string(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Length of the raw, byte or C string at the start; zero if there is none.
fn prefixed_string(text: &str) -> usize {
    let prefix = text.len() - text.trim_start_matches(['b', 'r', 'c']).len();
    let behind = &text[prefix..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    if prefix > 2 || !behind[hashes..].starts_with('"') {
        return 0;
    }
    if !text[..prefix].contains('r') {
        return if hashes == 0 { prefix + string(behind) } else { 0 };
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let inside = prefix + hashes + 1;
    text[inside..].find(&end).map_or(text.len(), |at| inside + at + end.len())
}

/// Length of the character literal at the start; zero for a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text.char_indices().skip(1);
    match inside.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(text.len(), |at| 3 + at + 1),
        Some(_) => match inside.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

#[test]
fn comments_and_strings_are_blanked() {
    #[track_caller]
    fn check(text: &str, want: &str) {
        assert_eq!(code(text).split_whitespace().collect::<Vec<_>>().join(" "), want, "{text}");
    }
    check("a // b\nc", "a c");
    check("a /* b /* c */ d */ e", "a e");
    check(r#"a("b \" // c") + d"#, "a( ) + d");
    check("a(r\"b\\\") + c", "a( ) + c");
    check("a(r#\"b \" c\"#) + d", "a( ) + d");
    check("a(b\"c\") + for + br\"d\"", "a( ) + for +");
    check("'\"' + a", "+ a");
    check(r"'\'' + a + '\u{1F600}'", "+ a +");
    check("fn f<'a>(x: &'a str) -> &'a str", "fn f<'a>(x: &'a str) -> &'a str");
    check("bar(\"x\") + r", "bar( ) + r");
}

#[test]
fn lines_keep_their_numbers() {
    let text = "a\n/* b\nc */\nlet s = \"d\ne\";\nlast";
    assert_eq!(code(text).lines().count(), text.lines().count());
    assert_eq!(code(text).lines().last(), Some("last"));
}

#[test]
fn tests_end_the_code() {
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\nb}"), "a\n");
    assert_eq!(
        before_tests("a\n#[cfg(test)]\nmod fixtures;\nb"),
        "a\n#[cfg(test)]\nmod fixtures;\nb"
    );
}

#[test]
fn words_are_whole_at_their_start() {
    assert!(contains_word("use std::time::Instant;", "time::"));
    assert!(!contains_word("use crate::runtime::x;", "time::"));
    assert!(contains_word("x.to_device(y)", ".to_device"));
    assert!(contains_word("#[ignore]", "#[ignore"));
}
