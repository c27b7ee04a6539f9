//! The scanner of the engine's Lark dialect. It splits the text as the engine's own lexer does.

use serde_json::Value;

use crate::error::SpecError;
use crate::notations::line_column::LineColumn;

/// A symbol and its position.
#[derive(Debug)]
pub(super) struct Symbol<'a> {
    pub(super) kind: SymbolKind,
    pub(super) text: &'a str,
    /// The byte range is `start..end`.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) position: LineColumn,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum SymbolKind {
    /// The name of a rule or terminal.
    Name,
    String,
    Regex,
    /// `<name>` or `<[numbers]>`.
    Token,
    /// `@name`.
    GrammarRef,
    /// `%name`, with its value if it has one.
    Directive(Option<Value>),
    Number,
    Open(char),
    Close(char),
    Newline,
    /// Any other single character, two dots, two colons, or an arrow.
    Mark,
}

/// Splits the source into symbols, without white space and comments.
pub(super) fn scan(source: &str) -> Result<Vec<Symbol<'_>>, SpecError> {
    let mut symbols = Vec::new();
    let mut position = LineColumn::START;
    let mut start = 0;
    while start < source.len() {
        let rest = &source[start..];
        let (kind, len) = match gap(rest) {
            0 => symbol(rest, position)?,
            len => {
                rest[..len].chars().for_each(|c| position.pass(c));
                start += len;
                continue;
            }
        };
        let end = start + len;
        symbols.push(Symbol { kind, text: &source[start..end], start, end, position });
        source[start..end].chars().for_each(|c| position.pass(c));
        start = end;
    }
    Ok(symbols)
}

/// Returns the length of blanks or of a comment.
fn gap(rest: &str) -> usize {
    if rest.starts_with('#') || rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    rest.len() - rest.trim_start_matches([' ', '\t']).len()
}

fn symbol(rest: &str, position: LineColumn) -> Result<(SymbolKind, usize), SpecError> {
    let first = rest.chars().next().expect("the source goes on");
    let found = match first {
        '\n' | '\r' => {
            (SymbolKind::Newline, rest.len() - rest.trim_start_matches(['\n', '\r']).len())
        }
        '"' => {
            let body = quoted(rest, '"', position)?;
            (SymbolKind::String, body + usize::from(rest[body..].starts_with('i')))
        }
        '/' => {
            let body = quoted(rest, '/', position)?;
            (SymbolKind::Regex, body + prefix(&rest[body..], |c| "imslux".contains(c)))
        }
        '<' => {
            let len = rest.find(['>', '\n', ' ', '\t']).unwrap_or(rest.len());
            if !rest[len..].starts_with('>') {
                return Err(position.error("the token's name is not closed by `>`"));
            }
            (SymbolKind::Token, len + 1)
        }
        '@' => (SymbolKind::GrammarRef, 1 + prefix(&rest[1..], is_word)),
        '%' => directive(rest, position)?,
        '(' | '[' | '{' => (SymbolKind::Open(first), 1),
        ')' | ']' | '}' => (SymbolKind::Close(first), 1),
        '.' | ':' if rest[1..].starts_with(first) => (SymbolKind::Mark, 2),
        '-' if rest.starts_with("->") => (SymbolKind::Mark, 2),
        '0'..='9' => (SymbolKind::Number, prefix(rest, |c| c.is_ascii_alphanumeric())),
        'a'..='z' | 'A'..='Z' | '_' | '!' | '?' => {
            let marks = prefix(rest, |c| "!?".contains(c));
            match prefix(&rest[marks..], is_word) {
                0 => (SymbolKind::Mark, 1),
                len => (SymbolKind::Name, marks + len),
            }
        }
        c if c.is_ascii() => (SymbolKind::Mark, 1),
        c => return Err(position.error(&format!("{c:?} is unexpected"))),
    };
    Ok(found)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

fn prefix(text: &str, part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !part(c)).unwrap_or(text.len())
}

/// Returns the length up to the closing mark; a backslash escapes it.
fn quoted(rest: &str, mark: char, position: LineColumn) -> Result<usize, SpecError> {
    let mut hidden = false;
    for (idx, c) in rest.char_indices().skip(1) {
        match c {
            _ if hidden => hidden = false,
            '\\' => hidden = true,
            c if c == mark => return Ok(idx + 1),
            '\n' if mark == '"' => break,
            _ => {}
        }
    }
    Err(position.error(&format!("it is not closed by `{mark}`")))
}

/// Reads `%name` and, where the directive has one, its value.
fn directive(rest: &str, position: LineColumn) -> Result<(SymbolKind, usize), SpecError> {
    let name = 1 + prefix(&rest[1..], |c| c.is_ascii_alphabetic());
    if !["%json", "%regex", "%llguidance"].contains(&&rest[..name]) {
        return Ok((SymbolKind::Directive(None), name));
    }
    let mut values = serde_json::Deserializer::from_str(&rest[name..]).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok((SymbolKind::Directive(Some(value)), name + values.byte_offset())),
        Some(Err(error)) => Err(position.error(&format!("{}: {error}", &rest[..name]))),
        None => Err(position.error(&format!("{} needs a value", &rest[..name]))),
    }
}
