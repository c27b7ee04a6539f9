//! Matches regular expressions against decoded strings, and continues strings to a match.

use std::collections::{HashMap, HashSet, VecDeque};

use fancy_regex::RegexBuilder;
use jsonschema_regex::to_rust_regex;
use llguidance::derivre::{self, Regex, RegexAst, StateID};

use super::ecma;
use super::regexes::{format_hint, format_regex, parts};

/// Fuel for building one expression.
const FUEL: u64 = 50_000;
/// The most expressions to intersect, which takes time that the fuel does not cover.
const MAX_JOINED: usize = 8;
/// Fuel per state visited by a search; one unit is one schema visited.
const STATE_FUEL: usize = 4;
/// The most texts queued when searching for more than the shortest one.
const MAX_WAITING: usize = 64;
/// After this many states a search narrows, and its queue is this short.
const MAX_SEARCHED: usize = 512;
const MAX_NARROW: usize = 16;
/// Wrong candidates after which a search with look-around stops.
const MAX_WRONG: usize = 3;
/// Infixes tried before the rest of such a text.
const BETWEEN: [&str; 5] = ["", " ", "a", "-", "0"];
/// The longest text found by a search, in bytes.
const MAX_BYTES: usize = 2_000;
/// The most backtracking steps of a pattern on one text.
const BACKTRACKING: usize = 20_000;

/// Compiled expressions, keyed by their requirements.
#[derive(Default)]
pub(crate) struct Patterns {
    known: HashMap<Ask, Option<Regex>>,
    /// Patterns with look-around, which need a backtracking engine.
    looking: HashMap<String, Option<fancy_regex::Regex>>,
}

/// Requirements on a string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ask {
    pub(crate) patterns: Vec<String>,
    pub(crate) formats: Vec<String>,
    /// Patterns that it must not match.
    pub(crate) not_patterns: Vec<String>,
    pub(crate) min_length: usize,
    pub(crate) max_length: Option<usize>,
}

impl Patterns {
    /// Returns whether a pattern matches somewhere in a text; none if unknown.
    pub(crate) fn matches(&mut self, pattern: &str, text: &str) -> Option<bool> {
        let ask = Ask { patterns: vec![pattern.to_owned()], ..Ask::default() };
        let matches = self.regex(ask)?.is_match(text);
        if matches { self.looks_right(pattern, text) } else { Some(false) }
    }

    /// Returns whether the look-around of a pattern holds for a text that matches the rest of the
    /// pattern.
    fn looks_right(&mut self, pattern: &str, text: &str) -> Option<bool> {
        self.looking(pattern).map_or(Some(true), |looking| looking.is_match(text).ok())
    }

    fn looking(&mut self, pattern: &str) -> Option<&fancy_regex::Regex> {
        if !self.looking.contains_key(pattern) {
            let looking = parts(pattern).filter(|parts| parts.is_relaxed).and_then(|_| {
                let pattern = to_rust_regex(pattern).ok()?;
                RegexBuilder::new(&pattern).backtrack_limit(BACKTRACKING).build().ok()
            });
            self.looking.insert(pattern.to_owned(), looking);
        }
        self.looking.get(pattern)?.as_ref()
    }

    /// Returns whether a text has a format; none if unknown.
    pub(crate) fn is_of_format(&mut self, format: &str, text: &str) -> Option<bool> {
        format_regex(format)?;
        let ask = Ask { formats: vec![format.to_owned()], ..Ask::default() };
        Some(self.regex(ask)?.is_match(text))
    }

    /// Returns whether a text can be continued to satisfy `ask`; true if unknown.
    pub(crate) fn may_begin(&mut self, ask: Ask, text: &str) -> bool {
        let Some(regex) = self.regex(ask) else { return true };
        let start = regex.initial_state();
        !regex.transition_bytes(start, text.as_bytes()).is_dead()
    }

    /// Finds the `salt`-th shortest continuation of `text` that satisfies `ask`. Charges `fuel` for
    /// each state visited.
    pub(crate) fn continuation(
        &mut self,
        ask: &Ask,
        text: &str,
        salt: usize,
        fuel: &mut usize,
    ) -> Option<String> {
        if !ask.patterns.iter().any(|it| self.looking(it).is_some()) {
            let regex = self.regex(ask.clone())?;
            let start = regex.initial_state();
            let state = regex.transition_bytes(start, text.as_bytes());
            return shortest_from(regex, state, salt, fuel, None);
        }
        // First tries to make what is looked for part of the text.
        let besides = ask.patterns.iter().map(|it| ecma::besides(it).unwrap_or_else(|| it.clone()));
        let besides = Ask { patterns: besides.collect(), ..ask.clone() };
        let first = (&besides, "");
        for (asked, between) in std::iter::once(first).chain(BETWEEN.map(|it| (ask, it))) {
            let Self { known, looking } = self;
            let regex = known.entry(asked.clone()).or_insert_with_key(compile);
            let Some(regex) = regex else { continue };
            let begun = format!("{text}{between}");
            let looks_right = |rest: &str| {
                let whole = format!("{begun}{rest}");
                let looking = ask.patterns.iter().filter_map(|it| looking.get(it)?.as_ref());
                looking.map(|it| it.is_match(&whole)).all(|found| found.unwrap_or(true))
            };
            let start = regex.initial_state();
            let state = regex.transition_bytes(start, begun.as_bytes());
            if let Some(rest) = shortest_from(regex, state, salt, fuel, Some(&looks_right)) {
                return Some(format!("{between}{rest}"));
            }
        }
        None
    }

    fn regex(&mut self, ask: Ask) -> Option<&mut Regex> {
        let compiled = self.known.entry(ask).or_insert_with_key(compile);
        compiled.as_mut()
    }
}

fn compile(ask: &Ask) -> Option<Regex> {
    if ask.patterns.len() + ask.formats.len() + ask.not_patterns.len() > MAX_JOINED {
        return None;
    }
    let mut all = Vec::new();
    for pattern in &ask.patterns {
        all.push(matching(pattern)?);
    }
    for format in &ask.formats {
        all.push(RegexAst::Regex(format_regex(format).or(format_hint(format))?.to_owned()));
    }
    for pattern in &ask.not_patterns {
        all.push(RegexAst::Not(Box::new(matching(pattern)?)));
    }
    let most = ask.max_length.map_or(String::new(), |most| most.to_string());
    all.push(RegexAst::Regex(format!("(?s:.{{{},{most}}})", ask.min_length)));
    let mut builder = derivre::RegexBuilder::new();
    let expression = builder.mk(&RegexAst::And(all)).ok()?;
    builder.into_regex_limited(expression, FUEL).ok()
}

/// Returns the texts that a pattern matches.
fn matching(pattern: &str) -> Option<RegexAst> {
    Some(parts(pattern)?.ast())
}

/// Returns the bytes to try, in this order.
fn bytes() -> impl Iterator<Item = u8> {
    let first = (b'a'..=b'z').chain(b'0'..=b'9').chain(b'A'..=b'Z');
    let plain = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'"' | b'\\');
    let controls = (1..b' ').filter(|byte| !matches!(byte, b'\n' | b'\t' | b'\r'));
    let last = [b'"', b'\\', b'\n', b'\t', b'\r'].into_iter().chain(controls);
    first.chain((b' '..=b'~').filter(plain)).chain(last)
}

/// Finds the `salt`-th shortest text that matches.
pub(super) fn shortest(regex: &mut Regex, salt: usize, fuel: &mut usize) -> Option<String> {
    let start = regex.initial_state();
    shortest_from(regex, start, salt, fuel, None)
}

/// Searches breadth first, trying non-ASCII characters last. `is_right` may reject a matching text.
fn shortest_from(
    regex: &mut Regex,
    start: StateID,
    salt: usize,
    fuel: &mut usize,
    is_right: Option<&dyn Fn(&str) -> bool>,
) -> Option<String> {
    let mut seen = HashSet::from([start]);
    let mut todo = VecDeque::from([(start, Vec::new())]);
    let (mut num_found, mut num_wrong, mut num_searched) = (0, 0, 0);
    // If more than one text is needed, several may lead to the same state.
    let is_after_several = salt > 0 || is_right.is_some();
    let starts: Vec<u8> = bytes().chain(0xC2..=0xF4).collect();
    let inner: Vec<u8> = (0x80..=0xBF).collect();
    while let Some((state, text)) = todo.pop_front() {
        if *fuel < STATE_FUEL {
            *fuel = 0;
            return None;
        }
        *fuel -= STATE_FUEL;
        num_searched += 1;
        if num_searched == MAX_SEARCHED {
            todo.truncate(MAX_NARROW);
        }
        if state.is_dead() || text.len() > MAX_BYTES {
            continue;
        }
        if regex.is_accepting(state)
            && let Ok(found) = String::from_utf8(text.clone())
        {
            if is_right.is_some_and(|is_right| !is_right(&found)) {
                num_wrong += 1;
                if num_wrong > MAX_WRONG {
                    return None;
                }
            } else if num_found == salt {
                return Some(found);
            } else {
                num_found += 1;
            }
        }
        let is_inside = std::str::from_utf8(&text).is_err();
        for &byte in if is_inside { &inner } else { &starts } {
            let next = regex.transition(state, byte);
            let may_repeat = is_after_several && todo.len() < MAX_WAITING;
            let may_wait = num_searched < MAX_SEARCHED || todo.len() < MAX_NARROW;
            if !next.is_dead() && may_wait && (seen.insert(next) || may_repeat) {
                let mut longer = text.clone();
                longer.push(byte);
                todo.push_back((next, longer));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ask: &Ask, text: &str, want: Option<&str>) {
        assert_eq!(Patterns::default().continuation(ask, text, 0, &mut 100_000).as_deref(), want);
    }

    #[test]
    fn continuations_are_the_shortest() {
        let pattern = |it: &str| Ask { patterns: vec![it.to_owned()], ..Ask::default() };
        check(&pattern("^ab+c$"), "ab", Some("c"));
        check(&pattern("^ab+c$"), "b", None);
        check(&pattern("x"), "", Some("x"));
        check(&pattern("x"), "x", Some(""));
        check(&pattern("^[\\x01-\\x03]$"), "", Some("\u{1}"));
        check(&pattern("^[0-9]{3}-[0-9]{4}$"), "12", Some("0-0000"));
        check(&Ask { min_length: 3, ..pattern("^[é]*$") }, "é", Some("éé"));
        check(&Ask { not_patterns: vec!["^a".into()], ..pattern("^[ab]c$") }, "", Some("bc"));
        check(&Ask { min_length: 500, ..Ask::default() }, "", Some(&"a".repeat(500)));
    }

    #[test]
    fn anchors_hold_where_they_stand() {
        let mut patterns = Patterns::default();
        for (pattern, text, want) in [
            ("^a$|^b$", "a", true),
            ("^a$|^b$", "b", true),
            ("^a$|^b$", "ab", false),
            ("^a$|^b$", "xb", false),
            ("^a|b", "xb", true),
            ("^a|b", "ax", true),
            ("^a|b", "xa", false),
            ("a$|^b", "bx", true),
            ("a$|^b", "ax", false),
            ("(^a|b)c", "xbc", true),
            ("(^a|b)c", "xac", false),
            ("^(?!a).b$", "cb", true),
            ("^(?!a).b$", "ab", false),
            ("^(?=.*[0-9])(?=.*[a-z]).{2,}$", "a1", true),
            ("^(?=.*[0-9])(?=.*[a-z]).{2,}$", "aa", false),
        ] {
            assert_eq!(patterns.matches(pattern, text).unwrap_or(want), want, "{pattern} {text}");
        }
    }

    #[test]
    fn salt_gives_other_texts() {
        let ask = Ask { patterns: vec!["^[ab]$".into()], ..Ask::default() };
        let mut patterns = Patterns::default();
        let all: Vec<_> =
            (0..3).map(|salt| patterns.continuation(&ask, "", salt, &mut 10_000)).collect();
        assert_eq!(all, [Some("a".to_owned()), Some("b".to_owned()), None]);
    }
}
