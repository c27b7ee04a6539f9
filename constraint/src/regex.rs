//! Checks regular expressions before the engine sees them.

use std::fmt::Write;

use llguidance::derivre::RegexBuilder;
use llguidance::regex_to_lark;
use regex_syntax::hir::HirKind;

use crate::error::{SpecError, engine_message};
use crate::limits::{Limits, check_limit};

/// Whether a regex must match the whole text or, as in JSON Schema, any part of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Whole,
    Search,
}

/// Unicode classes in one specification. Each new combination costs the engine milliseconds.
pub(crate) const MAX_UNICODE_CLASSES: usize = 500;

/// Checks the size and syntax of a regex, with error messages of this crate. Returns how many
/// Unicode classes it has.
pub(crate) fn check_regex(pattern: &str, limits: &Limits, mode: Use) -> Result<usize, SpecError> {
    check_limit("bytes of a regex", pattern.len(), limits.max_regex_bytes)?;
    let trailing = pattern.bytes().rev().take_while(|&byte| byte == b'\\').count();
    if trailing % 2 == 1 {
        // The engine's rewriting would drop the backslash.
        return Err(SpecError::Regex { message: "it ends in a lone backslash".to_string() });
    }
    if pattern.contains("P<stop>") || pattern.contains("?<stop>") {
        let message = "the engine reads a group named `stop` as a look-ahead";
        return Err(SpecError::unsupported("(?P<stop>…)", None, message));
    }
    check_repeats(pattern)?;
    // In a schema `\d` and `\w` are ASCII.
    let pattern = regex_to_lark(pattern, if mode == Use::Search { "dw" } else { "" });
    let num_classes = num_unicode_classes(&pattern);
    check_limit("Unicode classes of a regex", num_classes, MAX_UNICODE_CLASSES)?;
    let mut builder = RegexBuilder::new();
    let parsed = match mode {
        Use::Whole => builder.mk_regex(&pattern),
        Use::Search => builder.mk_regex_for_serach(&pattern),
    };
    parsed
        .map(|_| num_classes)
        .map_err(|error| SpecError::Regex { message: engine_message(&error.to_string()) })
}

/// How often nested counted repetitions may repeat one part of a regex. The engine's expressions
/// for them are quadratic in this number.
const MAX_NESTED_REPEATS: u64 = 10_000;

/// Returns how often two or more nested counted repetitions repeat a part of the regex, at most.
pub(crate) fn nested_repeats(pattern: &str) -> u64 {
    let Ok(parsed) = regex_syntax::Parser::new().parse(pattern) else { return 0 };
    let mut most = 0;
    let mut todo = vec![(&parsed, 1_u64, 0)];
    while let Some((hir, times, depth)) = todo.pop() {
        let (inner, times, depth) = match hir.kind() {
            HirKind::Repetition(repetition) => {
                let max = repetition.max.unwrap_or(0);
                let is_counted = max > 1;
                let times = if is_counted { times.saturating_mul(max.into()) } else { times };
                (vec![&*repetition.sub], times, depth + usize::from(is_counted))
            }
            HirKind::Capture(capture) => (vec![&*capture.sub], times, depth),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => {
                (parts.iter().collect(), times, depth)
            }
            _ => continue,
        };
        if depth > 1 {
            most = most.max(times);
        }
        todo.extend(inner.into_iter().map(|inner| (inner, times, depth)));
    }
    most
}

/// Refuses nested counted repetitions that are too large for the engine.
pub(crate) fn check_repeats(pattern: &str) -> Result<(), SpecError> {
    let limit = "times that repetitions around each other repeat a part of a regex";
    let found = nested_repeats(pattern);
    if found <= MAX_NESTED_REPEATS {
        return Ok(());
    }
    Err(SpecError::TooLarge { limit, found, max: MAX_NESTED_REPEATS })
}

/// Counts the escapes that stand for large character classes.
fn num_unicode_classes(pattern: &str) -> usize {
    let mut escaped = false;
    let is_class = |byte: &u8| {
        let found = escaped && b"wWdDpP".contains(byte);
        escaped = *byte == b'\\' && !escaped;
        found
    };
    pattern.as_bytes().iter().copied().filter(is_class).count()
}

/// Appends a regex that matches exactly `text`.
pub(crate) fn push_literal(pattern: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == ' ' || c == '_' || (!c.is_ascii() && !c.is_control()) {
            pattern.push(c);
        } else {
            // A hexadecimal escape is also right for every ASCII character with a meaning in a
            // regex.
            write!(pattern, "\\x{{{:x}}}", u32::from(c)).expect("a string takes all writes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_inside_each_other_are_counted() {
        for (pattern, want) in [
            ("(x{0,1000}){0,1000}", 1_000_000),
            ("(?:a(b{3}|c{0,7}d)){2,5}", 35),
            ("(x{0,1000})*", 0),
            ("(x*){0,1000}", 0),
            ("x{0,1000}y{9}", 0),
        ] {
            assert_eq!(nested_repeats(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn unicode_classes_are_counted_where_they_are_escapes() {
        for (pattern, want) in [("w", 0), (r"\w", 1), (r"\\w", 0), (r"\\\w\pL[^\D]", 3), ("\\", 0)]
        {
            assert_eq!(num_unicode_classes(pattern), want, "{pattern}");
        }
    }
}
