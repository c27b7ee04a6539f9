//! Builds strings that continue a partial one.

use serde_json::Value;

use super::facts::Facts;
use super::finish::rest_of_spelling;
use super::partial::{Partial, PartialText};
use super::solver::Solver;
use crate::json_schema::document::{Body, NodeId, StringRules};
use crate::json_schema::{Ask, escape, format_hint, format_regex};

impl<'a> Solver<'a, '_> {
    /// Builds a string and writes the rest of it, with its closing quote.
    pub(super) fn text(
        &mut self,
        facts: &Facts<'a>,
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        let fresh = PartialText::default();
        let open = if let Partial::Text(open) = partial {
            open
        } else {
            self.out.push(b'"');
            &fresh
        };
        let variant = salt + self.choices.pick(4, &self.pointer);
        let ask = self.ask(facts);
        for attempt in 0..8 {
            let (begun, spelled) = self.without_pending(&ask, open)?;
            let rest = self.rest(&ask, &begun, variant + attempt)?;
            let value = Value::String(begun + &rest);
            if self.is_excluded(facts, &value) {
                continue;
            }
            self.out.extend_from_slice(&spelled);
            escape(&rest, &mut self.out);
            self.out.push(b'"');
            return Some(value);
        }
        None
    }

    /// Collects the requirements on a string.
    fn ask(&self, facts: &Facts<'a>) -> Ask {
        let mut ask = Ask::default();
        for keywords in &facts.own {
            let StringRules { min_length, max_length, pattern, format } = &keywords.string;
            ask.min_length = ask.min_length.max(*min_length);
            ask.max_length = match (ask.max_length, *max_length) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let is_known = |it: &&String| format_regex(it).or(format_hint(it)).is_some();
            let format = format.iter().filter(is_known);
            ask.patterns.extend(pattern.clone());
            ask.formats.extend(format.cloned());
        }
        ask.not_patterns = facts.excluded.iter().filter_map(|id| self.only_pattern(*id)).collect();
        ask
    }

    /// Returns a schema's pattern if it has no other rule about strings.
    fn only_pattern(&self, id: NodeId) -> Option<String> {
        let Body::Keywords(keywords) = &self.document.node(id).body else { return None };
        let has_others = keywords.in_place().next().is_some()
            || keywords.literals.is_some()
            || keywords.string.min_length > 0
            || keywords.string.max_length.is_some()
            || keywords.string.format.is_some();
        keywords.string.pattern.clone().filter(|_| !has_others)
    }

    /// Completes a partially written escape or character. Returns the decoded text and the missing
    /// bytes.
    fn without_pending(&mut self, ask: &Ask, open: &PartialText) -> Option<(String, Vec<u8>)> {
        if open.pending.is_empty() {
            return Some((open.text.clone(), Vec::new()));
        }
        let candidates = if open.pending[0] == b'\\' {
            escaped(&open.pending)
        } else {
            characters(&open.pending)
        };
        for c in candidates {
            let Some(missing) = rest_of_spelling(&open.pending, c) else { continue };
            let mut text = open.text.clone();
            text.push(c);
            if self.patterns.may_begin(ask.clone(), &text) {
                return Some((text, missing));
            }
        }
        None
    }

    /// Returns a continuation of the string `begun`; each variant gives another one.
    fn rest(&mut self, ask: &Ask, begun: &str, variant: usize) -> Option<String> {
        let is_free =
            ask.patterns.is_empty() && ask.formats.is_empty() && ask.not_patterns.is_empty();
        if !is_free {
            let known = self.patterns.continuation(ask, begun, variant, &mut self.fuel);
            if known.is_some() || ask.formats.is_empty() {
                return known;
            }
            // The text does not follow the format's hint.
            return self.rest(&Ask { formats: Vec::new(), ..ask.clone() }, begun, variant);
        }
        let length = begun.chars().count();
        let mut rest = letters(variant);
        let missing = ask.min_length.saturating_sub(length + rest.len());
        rest.push_str(&"a".repeat(missing.min(100_000)));
        let fits = ask.max_length.is_none_or(|max| length + rest.len() <= max);
        fits.then_some(rest)
    }
}

/// Returns the `n`-th word over the alphabet: the empty one, a, b, …, z, aa, …
fn letters(mut n: usize) -> String {
    let mut word = String::new();
    while n > 0 {
        n -= 1;
        word.push(char::from(b'a' + u8::try_from(n % 26).expect("below 26")));
        n /= 26;
    }
    word
}

/// Returns characters whose escape begins with these bytes.
fn escaped(begun: &[u8]) -> Vec<char> {
    const NAMED: [char; 8] = ['\n', '"', '\\', '/', '\t', '\r', '\u{c}', '\u{8}'];
    // Missing digits are filled with zeros, except for the last one.
    let text = String::from_utf8_lossy(begun);
    let digit = |text: &str, last: usize| {
        let missing = 6_usize.saturating_sub(text.len());
        let start = format!("{text}{}", &"\\u0000"[6 - missing..]);
        let last = if missing > 0 && missing < 5 { last } else { 0 };
        let number = u32::from_str_radix(start.get(2..6)?, 16).ok()?;
        Some(number + u32::try_from(last).ok()?)
    };
    let numbered = |last: usize| {
        let (high, low) = text.split_at(text.len().min(6));
        let high = digit(high, if low.is_empty() { last } else { 0 })?;
        if !(0xD800..0xDC00).contains(&high) {
            return char::from_u32(high);
        }
        let low = if low.len() < 3 { "\\udc" } else { low };
        let low = digit(low, 0)?.max(0xDC00);
        char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    };
    // Characters with an escape of one letter come last: nobody spells them by number.
    let order = [1, 2, 3, 4, 5, 6, 7, 0xB, 0xE, 0xF, 0, 8, 9, 0xA, 0xC, 0xD];
    let numbered = order.into_iter().filter_map(numbered);
    let is_numbered = begun.len() > 1;
    NAMED.into_iter().filter(|_| !is_numbered).chain(numbered).collect()
}

/// Returns characters whose UTF-8 encoding begins with these bytes.
fn characters(begun: &[u8]) -> Vec<char> {
    let missing = match begun[0] {
        0xF0.. => 4,
        0xE0.. => 3,
        _ => 2_usize,
    }
    .saturating_sub(begun.len());
    let mut found = Vec::new();
    for first in 0x80..=0xBF_u8 {
        let mut bytes = begun.to_vec();
        bytes.push(first);
        bytes.extend(std::iter::repeat_n(0xA1, missing.saturating_sub(1)));
        bytes.truncate(begun.len() + missing);
        found.extend(std::str::from_utf8(&bytes).ok().and_then(|it| it.chars().next()));
    }
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_an_escape_can_be_completed() {
        for whole in
            [r"\u00e9", r"\u00E9", r"\ud83d\ude00", r"\n", r"\/", r"\u001f", r"\uDBFF\uDFFF"]
        {
            for len in 1..whole.len() {
                let begun = &whole.as_bytes()[..len];
                let found = escaped(begun).into_iter().find_map(|c| rest_of_spelling(begun, c));
                assert!(found.is_some(), "{}", &whole[..len]);
            }
        }
    }
}
