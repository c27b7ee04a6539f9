//! Regular expressions of schemas (ECMA-262, matching anywhere) in the engine's words.

use std::fmt::Write;

use jsonschema_regex::to_rust_regex;
use llguidance::derivre::RegexBuilder;
use llguidance::regex_to_lark;
use serde_json::Value;

use super::document::{Keywords, StringRules, Types};

/// Restates a pattern so that the engine takes it; none if it cannot, as with look-behind.
pub(super) fn for_engine(pattern: &str) -> Option<String> {
    if pattern.contains("<stop>") {
        // The engine reads a group of this name as a look-ahead.
        return None;
    }
    let pattern = to_rust_regex(pattern).ok()?.into_owned();
    is_known(&pattern).then_some(pattern)
}

/// What a text must and must not match so that a pattern matches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) must: Vec<String>,
    pub(crate) must_not: Vec<String>,
}

/// Takes a pattern apart: look-aheads at its start hold where it starts. None if the engine cannot
/// take a part.
pub(crate) fn parts(pattern: &str) -> Option<Parts> {
    if let Some(pattern) = for_engine(pattern) {
        return Some(Parts { must: vec![pattern], must_not: Vec::new() });
    }
    let mut rest = pattern.strip_prefix('^')?;
    if split(rest, '|')?.len() > 1 {
        return None;
    }
    let mut parts = Parts::default();
    while let Some((is_positive, inside)) = rest
        .strip_prefix("(?=")
        .map(|inside| (true, inside))
        .or_else(|| rest.strip_prefix("(?!").map(|inside| (false, inside)))
    {
        let end = split(inside, ')')?.first()?.len();
        let list = if is_positive { &mut parts.must } else { &mut parts.must_not };
        list.push(for_engine(&format!("^(?:{})", &inside[..end]))?);
        rest = &inside[end + 1..];
        if rest.starts_with(['*', '+', '?', '{']) {
            return None;
        }
    }
    parts.must.push(for_engine(&format!("^(?:{rest})"))?);
    Some(parts)
}

fn is_known(pattern: &str) -> bool {
    RegexBuilder::new().mk_regex_for_serach(&regex_to_lark(pattern, "dw")).is_ok()
}

/// Splits at a character that is in no group, class or escape; none if groups do not match.
fn split(pattern: &str, at: char) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut depth, mut in_class, mut start) = (0_usize, false, 0);
    let mut chars = pattern.char_indices();
    while let Some((idx, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '[' => in_class = true,
            ']' => in_class = false,
            _ if in_class => {}
            c if c == at && depth == 0 => {
                parts.push(&pattern[start..idx]);
                start = idx + c.len_utf8();
                if at == ')' {
                    return Some(parts);
                }
            }
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    parts.push(&pattern[start..]);
    Some(parts)
}

/// A pattern that matches these texts only; there is at least one.
pub(super) fn literals<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut pattern = String::from("^(?:");
    for (idx, text) in texts.enumerate() {
        if idx > 0 {
            pattern.push('|');
        }
        push_literal(&mut pattern, text);
    }
    pattern + ")$"
}

fn push_literal(pattern: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii() {
            pattern.push(c);
        } else {
            write!(pattern, "\\x{{{:x}}}", u32::from(c)).expect("a string takes all writes");
        }
    }
}

/// The pattern that names must match, where a schema of names says that much and no more.
pub(super) fn of_names(names: &Keywords) -> Option<String> {
    if !names.types.unwrap_or(Types::ALL).has(Types::STRING) {
        return None;
    }
    let StringRules { min_length, max_length, pattern, format } = &names.string;
    let has_length = *min_length > 0 || max_length.is_some();
    let has_others = names.in_place().next().is_some() || format.is_some();
    match (&names.literals, pattern, has_length) {
        _ if has_others => None,
        (Some(literals), None, false) => {
            let mut texts = literals.iter().filter_map(Value::as_str).peekable();
            texts.peek().is_some().then(|| self::literals(texts))
        }
        (None, Some(pattern), false) => for_engine(pattern),
        (None, None, true) => {
            let most = max_length.map_or(String::new(), |max| max.to_string());
            Some(format!("^(?s:.{{{min_length},{most}}})$"))
        }
        _ => None,
    }
}

/// The expression of a format, if there is one; it matches whole texts.
pub(crate) fn format_regex(name: &str) -> Option<&'static str> {
    crate::formats::json_format(name)
}

/// How a `format` is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// By this expression of whole texts.
    Regex(&'static str),
    /// By the guard's validator, which knows it.
    Judged,
    Unknown,
}

/// An expression for some texts of a format that has no exact one.
pub(crate) fn format_hint(name: &str) -> Option<&'static str> {
    match name {
        "idn-email" => format_regex("email"),
        "idn-hostname" => format_regex("hostname"),
        "iri" => format_regex("uri"),
        "uri-reference" | "iri-reference" | "uri-template" => Some("[a-zA-Z0-9_./?=&%-]*"),
        "regex" => Some("[a-zA-Z0-9_]*"),
        "json-pointer" => Some("(/([^~/]|~[01])*)*"),
        "relative-json-pointer" => Some("(0|[1-9][0-9]*)(#|(/([^~/]|~[01])*)*)"),
        _ => None,
    }
}

/// Looks a format up.
pub(super) fn format(name: &str) -> Format {
    const JUDGED: [&str; 9] = [
        "idn-email",
        "idn-hostname",
        "uri-reference",
        "iri",
        "iri-reference",
        "uri-template",
        "json-pointer",
        "relative-json-pointer",
        "regex",
    ];
    match format_regex(name) {
        Some(regex) => Format::Regex(regex),
        None if JUDGED.contains(&name) => Format::Judged,
        None => Format::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_table() {
        for (pattern, want) in
            [("^a$", Some("^a$")), (r"^\/x", Some(r"^\/x")), ("(?<!a)b", None), ("(", None)]
        {
            assert_eq!(for_engine(pattern).as_deref(), want, "{pattern}");
        }
        let parts = parts("^(?=.*a)(?!b)[(]c$").unwrap();
        assert_eq!((parts.must.len(), parts.must_not), (2, vec!["^(?:b)".to_owned()]));
    }
}
