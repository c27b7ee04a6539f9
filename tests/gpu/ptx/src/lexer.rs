//! Text split into words and signs.

/// A word or a sign, and its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: u32,
}

/// Letters of names: registers, labels, directives and instructions with their modifiers, numbers.
fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '$' | '%' | '.')
}

/// Splits text; comments and pragmas say nothing.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(comment) = rest.strip_prefix("/*") {
            // The sign that ends it begins behind the one that opens it.
            comment.find("*/").map_or(rest.len(), |end| end + 4)
        } else if first == '"' {
            rest[1..].find('"').map_or(rest.len(), |end| end + 2)
        } else if is_word(first) {
            rest.find(|letter| !is_word(letter)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (text, behind) = rest.split_at(length);
        let says_nothing =
            first.is_whitespace() || text.starts_with("//") || text.starts_with("/*");
        if !says_nothing {
            tokens.push(Token { text, line });
        }
        line += u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX);
        rest = behind;
    }
    tokens
}

#[test]
fn a_comment_does_not_end_with_the_slash_that_opens_it() {
    let found = tokens("/*/ a */ b");
    assert_eq!(found.iter().map(|token| token.text).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn words_and_signs_are_split() {
    let found = tokens("// a\n@!%p1 bra $L_1; /* b\nc */ ld.f32 %f1, [%rd2+4];\n.pragma \"x y\";");
    let text: Vec<&str> = found.iter().map(|token| token.text).collect();
    let want = [
        "@", "!", "%p1", "bra", "$L_1", ";", "ld.f32", "%f1", ",", "[", "%rd2", "+", "4", "]", ";",
        ".pragma", "\"x y\"", ";",
    ];
    assert_eq!(text, want);
    assert_eq!((found[0].line, found[6].line, found[15].line), (2, 3, 4));
}
