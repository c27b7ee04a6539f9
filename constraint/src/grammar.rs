//! Regexes and choices as grammars of the engine. Each is one terminal: thousands of options are
//! one automaton, where as many rules would exceed the engine's limit on a row.

use std::collections::HashMap;
use std::fmt::Write;

use llguidance::api::TopLevelGrammar;
use llguidance::derivre::RegexBuilder;
use llguidance::regex_to_lark;

use crate::error::{SpecError, engine_message};
use crate::limits::Limits;

/// Makes the grammar of a regular expression, anchored at both ends.
pub(crate) fn regex(pattern: &str, limits: &Limits) -> Result<TopLevelGrammar, SpecError> {
    check_regex(pattern, limits, Use::Whole)?;
    // Between slashes an empty regex would be a comment.
    Ok(if pattern.is_empty() { empty_text() } else { TopLevelGrammar::from_regex(pattern) })
}

/// Makes the grammar of a choice.
pub(crate) fn choice(options: &[String], limits: &Limits) -> Result<TopLevelGrammar, SpecError> {
    let num_bytes: usize = options.iter().map(String::len).sum();
    for (limit, found, max) in [
        ("options of a choice", options.len(), limits.max_choices),
        ("bytes of a choice", num_bytes, limits.max_choice_bytes),
    ] {
        check_limit(limit, found, max)?;
    }
    let mut seen = HashMap::with_capacity(options.len());
    for (second, text) in options.iter().enumerate() {
        if let Some(first) = seen.insert(text, second) {
            return Err(SpecError::DuplicateChoice { text: text.clone(), first, second });
        }
    }
    match options {
        [] => Err(SpecError::NoChoices),
        [only] if only.is_empty() => Ok(empty_text()),
        _ => {
            let mut pattern = String::with_capacity(num_bytes + options.len());
            for (idx, option) in options.iter().enumerate() {
                if idx > 0 {
                    pattern.push('|');
                }
                push_literal(&mut pattern, option);
            }
            Ok(TopLevelGrammar::from_regex(&pattern))
        }
    }
}

/// Whether a regex must match the whole text, or may match anywhere in it (as in JSON Schema).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Whole,
    Search,
}

/// Unicode classes in one specification: each new combination costs the engine milliseconds.
pub(crate) const MAX_UNICODE_CLASSES: usize = 500;

/// Checks size and syntax of a regex, with its own message, before the engine sees it. Returns how
/// many Unicode classes it holds.
pub(crate) fn check_regex(pattern: &str, limits: &Limits, mode: Use) -> Result<usize, SpecError> {
    check_limit("bytes of a regex", pattern.len(), limits.max_regex_bytes)?;
    let trailing = pattern.bytes().rev().take_while(|&byte| byte == b'\\').count();
    if trailing % 2 == 1 {
        // The engine's rewriting would drop it.
        return Err(SpecError::Regex { message: "it ends in a lone backslash".to_string() });
    }
    if pattern.contains("P<stop>") || pattern.contains("?<stop>") {
        let message = "the engine reads a group named `stop` as a look-ahead";
        return Err(SpecError::unsupported("(?P<stop>…)", None, message));
    }
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

/// Refuses a count beyond its limit.
pub(crate) fn check_limit(limit: &'static str, found: usize, max: usize) -> Result<(), SpecError> {
    if found <= max {
        return Ok(());
    }
    Err(SpecError::TooLarge { limit, found: found as u64, max: max as u64 })
}

/// Counts escapes for large sets of characters.
fn num_unicode_classes(pattern: &str) -> usize {
    let mut escaped = false;
    let is_class = |byte: &u8| {
        let found = escaped && b"wWdDpP".contains(byte);
        escaped = *byte == b'\\' && !escaped;
        found
    };
    pattern.as_bytes().iter().copied().filter(is_class).count()
}

fn empty_text() -> TopLevelGrammar {
    TopLevelGrammar::from_lark("start: \"\"".to_string())
}

/// Appends a regex that matches exactly `text`.
pub(crate) fn push_literal(pattern: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || c == ' ' || c == '_' || (!c.is_ascii() && !c.is_control()) {
            pattern.push(c);
        } else {
            // Also right for every ASCII character that means something in a regex.
            write!(pattern, "\\x{{{:x}}}", u32::from(c)).expect("a string takes all writes");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_classes_are_counted_where_they_are_escapes() {
        for (pattern, want) in [("w", 0), (r"\w", 1), (r"\\w", 0), (r"\\\w\pL[^\D]", 3), ("\\", 0)]
        {
            assert_eq!(num_unicode_classes(pattern), want, "{pattern}");
        }
    }
}
