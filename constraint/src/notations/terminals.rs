//! Regexes, choices and formats. Each becomes a single terminal: one automaton holds thousands of
//! options, where as many rules would exceed the engine's limit per row.

use std::collections::HashMap;

use llguidance::api::TopLevelGrammar;

use super::Source;
use crate::error::SpecError;
use crate::formats::{self, Format};
use crate::limits::{Limits, check_limit};
use crate::regex::{Use, check_regex, push_literal};

/// Reads a regular expression, anchored at both ends.
///
/// # Errors
/// The regex is too large, malformed, or uses a feature that the engine lacks.
pub(crate) fn regex(pattern: &str, limits: &Limits) -> Result<Source, SpecError> {
    check_regex(pattern, limits, Use::Whole)?;
    // Between slashes an empty regex would be a comment.
    Ok(if pattern.is_empty() { empty_text() } else { of_regex(pattern) })
}

/// Reads a choice.
///
/// # Errors
/// There are no options, too many, or two that are equal.
pub(crate) fn choice(options: &[String], limits: &Limits) -> Result<Source, SpecError> {
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
    let source = match options {
        [] => return Err(SpecError::NoChoices),
        [only] if only.is_empty() => empty_text(),
        _ => {
            let mut pattern = String::with_capacity(num_bytes + options.len());
            for (idx, option) in options.iter().enumerate() {
                if idx > 0 {
                    pattern.push('|');
                }
                push_literal(&mut pattern, option);
            }
            of_regex(&pattern)
        }
    };
    Ok(Source { max_bytes: options.iter().map(String::len).max(), ..source })
}

/// Returns the grammar of a format.
pub(crate) fn format(format: Format) -> Source {
    Source { max_bytes: Some(formats::FINISH_BYTES), ..of_regex(formats::regex(format)) }
}

fn of_regex(pattern: &str) -> Source {
    Source::new(TopLevelGrammar::from_regex(pattern))
}

fn empty_text() -> Source {
    Source::new(TopLevelGrammar::from_lark("start: \"\"".to_string()))
}
