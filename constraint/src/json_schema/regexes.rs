//! Regular expressions of schemas (ECMA-262, matching anywhere) in the engine's words.

use jsonschema_regex::to_rust_regex;
use llguidance::derivre::{RegexAst, RegexBuilder};
use llguidance::regex_to_lark;

use super::ecma;

/// Restates a pattern so that the engine takes it; none if it cannot, as with look-behind.
fn for_engine(pattern: &str) -> Option<String> {
    if pattern.contains("<stop>") {
        // The engine reads a group of this name as a look-ahead.
        return None;
    }
    let pattern = to_rust_regex(pattern).ok()?.into_owned();
    is_known(&pattern).then_some(pattern)
}

/// A pattern as the engine takes it, if it does.
pub(super) fn restated(pattern: &str) -> String {
    for_engine(pattern).unwrap_or_else(|| pattern.to_owned())
}

/// What a text must and must not match so that a pattern matches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) must: Vec<String>,
    pub(crate) must_not: Vec<String>,
    /// Whether the pattern may say more: it looks around somewhere inside.
    pub(crate) is_relaxed: bool,
}

/// Parts of a pattern that a grammar takes: the states of their intersection multiply.
const MAX_PARTS: usize = 2;

impl Parts {
    /// The part that says most, for a grammar, if not all do.
    pub(super) fn for_grammar(mut self) -> Self {
        if self.must.len() + self.must_not.len() > MAX_PARTS {
            self.must.drain(..self.must.len() - 1);
            self.must_not.clear();
            self.is_relaxed = true;
        }
        self
    }

    /// The texts that match.
    pub(super) fn ast(&self) -> RegexAst {
        let search = |pattern: &String| RegexAst::SearchRegex(regex_to_lark(pattern, "dw"));
        let not = |pattern| RegexAst::Not(Box::new(search(pattern)));
        RegexAst::And(self.must.iter().map(search).chain(self.must_not.iter().map(not)).collect())
    }
}

/// Takes a pattern apart: look-aheads at its start hold where it starts; what looks around elsewhere
/// is left out. None if the engine cannot take a part.
pub(crate) fn parts(pattern: &str) -> Option<Parts> {
    if let Some(pattern) = for_engine(pattern) {
        return Some(Parts { must: vec![pattern], ..Parts::default() });
    }
    led(pattern).or_else(|| {
        let must = vec![for_engine(&ecma::relaxed(pattern)?)?];
        Some(Parts { must, is_relaxed: true, ..Parts::default() })
    })
}

/// Takes a pattern apart that looks ahead at its start only.
fn led(pattern: &str) -> Option<Parts> {
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
        "iri" => format_regex("uri"),
        "uri-reference" | "iri-reference" => Some("[a-zA-Z0-9_./?=&%-]*"),
        "regex" => Some("[a-zA-Z0-9_]*"),
        "json-pointer" => Some("(/([^~/]|~[01])*)*"),
        "relative-json-pointer" => Some("(0|[1-9][0-9]*)(#|(/([^~/]|~[01])*)*)"),
        _ => None,
    }
}

/// Looks a format up.
pub(super) fn format(name: &str) -> Format {
    const JUDGED: [&str; 6] =
        ["uri-reference", "iri", "iri-reference", "json-pointer", "relative-json-pointer", "regex"];
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
