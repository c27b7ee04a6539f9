//! Translates the regular expressions of schemas (ECMA-262, unanchored) for the engine.

use jsonschema_regex::to_rust_regex;
use llguidance::derivre::{RegexAst, RegexBuilder};
use llguidance::regex_to_lark;
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition};

use super::{ecma, width};
use crate::regex::check_repeats;

/// Rewrites a pattern for the engine; none if the engine lacks a feature, such as look-behind.
fn for_engine(pattern: &str) -> Option<String> {
    if pattern.contains("<stop>") {
        // The engine reads a group with this name as a look-ahead.
        return None;
    }
    let pattern = without_nul(to_rust_regex(pattern).ok()?.into_owned());
    (check_repeats(&pattern).is_ok() && is_known(&pattern)).then_some(pattern)
}

/// Removes the NUL character from a pattern with a class of all control characters that lacks the
/// quote or the backslash. The engine would treat those two as members of the class.
fn without_nul(pattern: String) -> String {
    let Ok(parsed) = regex_syntax::Parser::new().parse(&pattern) else { return pattern };
    let (kept, is_misread) = stripped(&parsed);
    if is_misread { kept.to_string() } else { pattern }
}

/// Returns an expression without NUL, and whether the engine would misread one of its classes.
fn stripped(hir: &Hir) -> (Hir, bool) {
    let all = |parts: &[Hir]| -> (Vec<Hir>, bool) {
        let parts: Vec<(Hir, bool)> = parts.iter().map(stripped).collect();
        let is_misread = parts.iter().any(|(_, is)| *is);
        (parts.into_iter().map(|(part, _)| part).collect(), is_misread)
    };
    match hir.kind() {
        HirKind::Class(Class::Unicode(class)) => {
            let holds = |c: char| class.iter().any(|it| (it.start()..=it.end()).contains(&c));
            let is_full = ('\0'..' ').all(|c| c == '\n' || holds(c));
            let mut kept = class.clone();
            kept.difference(&ClassUnicode::new([ClassUnicodeRange::new('\0', '\0')]));
            let is_misread = is_full && !(holds('"') && holds('\\'));
            (Hir::class(Class::Unicode(kept)), is_misread)
        }
        HirKind::Literal(text) if text.0.contains(&0) => (Hir::fail(), false),
        HirKind::Repetition(repetition) => {
            let (sub, is_misread) = stripped(&repetition.sub);
            (Hir::repetition(Repetition { sub: Box::new(sub), ..repetition.clone() }), is_misread)
        }
        HirKind::Capture(capture) => stripped(&capture.sub),
        HirKind::Concat(parts) => {
            let (parts, is_misread) = all(parts);
            (Hir::concat(parts), is_misread)
        }
        HirKind::Alternation(parts) => {
            let (parts, is_misread) = all(parts);
            (Hir::alternation(parts), is_misread)
        }
        _ => (hir.clone(), false),
    }
}

/// Returns whether a pattern matches only texts of bounded length.
pub(super) fn is_bounded(pattern: &str) -> bool {
    let rust = to_rust_regex(pattern).ok();
    let parsed = rust.and_then(|rust| regex_syntax::Parser::new().parse(&rust).ok());
    parsed.is_some_and(|parsed| {
        let properties = parsed.properties();
        properties.maximum_len().is_some()
            && properties.look_set_prefix().contains(Look::Start)
            && properties.look_set_suffix().contains(Look::End)
    })
}

/// Returns a pattern as the engine accepts it, or unchanged if it does not.
pub(super) fn restated(pattern: &str) -> String {
    for_engine(pattern).unwrap_or_else(|| pattern.to_owned())
}

/// A pattern as a conjunction: the expressions that a text must match, and must not match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) must: Vec<String>,
    pub(crate) must_not: Vec<String>,
    /// Whether the pattern requires more: a look-around inside it was left out.
    pub(crate) is_relaxed: bool,
}

/// The most parts of a pattern in a grammar; the states of their intersection multiply.
const MAX_PARTS: usize = 2;

impl Parts {
    /// Returns the parts for a grammar: all, or only the most specific one. None if the engine
    /// could not handle them.
    pub(super) fn for_grammar(mut self) -> Option<Self> {
        if self.must.len() + self.must_not.len() > MAX_PARTS {
            self.must.drain(..self.must.len() - 1);
            self.must_not.clear();
            self.is_relaxed = true;
        }
        let mut all = self.must.iter().chain(&self.must_not);
        let is_wide = all.any(|it| width::may_be_wide(it) && width::is_wide(it));
        (!is_wide).then_some(self)
    }

    /// Returns the texts that satisfy the parts.
    pub(super) fn ast(&self) -> RegexAst {
        let search = |pattern: &String| RegexAst::SearchRegex(regex_to_lark(pattern, "dw"));
        let not = |pattern| RegexAst::Not(Box::new(search(pattern)));
        let mut all: Vec<RegexAst> = self.must.iter().map(search).collect();
        if !self.must_not.is_empty() {
            all.extend(self.must_not.iter().map(not));
            // Negated expressions would also match NUL, which patterns here never match.
            all.push(RegexAst::Regex(r"[\x01-\x{10FFFF}]*".to_owned()));
        }
        RegexAst::And(all)
    }
}

/// Splits a pattern into parts. Look-aheads at its start become parts of their own; other
/// look-arounds are left out. None if the engine cannot handle a part.
pub(crate) fn parts(pattern: &str) -> Option<Parts> {
    if let Some(pattern) = for_engine(pattern) {
        return Some(Parts { must: vec![pattern], ..Parts::default() });
    }
    led(pattern).or_else(|| {
        let must = vec![for_engine(&ecma::relaxed(pattern)?)?];
        Some(Parts { must, is_relaxed: true, ..Parts::default() })
    })
}

/// Splits a pattern whose only look-arounds are look-aheads at its start.
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

/// Splits at a character outside groups, classes and escapes; none if groups are unbalanced.
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

/// Returns the expression of a format, if there is one. It matches whole texts.
pub(crate) fn format_regex(name: &str) -> Option<&'static str> {
    crate::formats::json_format(name)
}

/// How a `format` is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// By this expression for whole texts.
    Regex(&'static str),
    /// By the validator, which knows the format.
    Validated,
    Unknown,
}

/// Returns an expression for some texts of a format that has no exact expression.
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

/// Looks up a format.
pub(super) fn format(name: &str) -> Format {
    const VALIDATED: [&str; 6] =
        ["uri-reference", "iri", "iri-reference", "json-pointer", "relative-json-pointer", "regex"];
    match format_regex(name) {
        Some(regex) => Format::Regex(regex),
        None if VALIDATED.contains(&name) => Format::Validated,
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
