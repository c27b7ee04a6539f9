//! Detects expressions with so many parallel states that the engine could not handle them.

use std::collections::HashSet;

use llguidance::derivre::{RegexAst, RegexBuilder};
use llguidance::regex_to_lark;

/// The most new states that texts of one length may reach, in addition to one per byte of the
/// pattern, which a list of words may need. More are a sign that the states double with each
/// character.
const MAX_WIDTH: usize = 128;
/// The most states to examine.
const MAX_STATES: usize = 500;
/// With fewer repetitions or character marks, a check is unnecessary.
const FEW_REPEATS: u32 = 8;
const FEW_MARKS: usize = 16;
/// Fuel for building the expression.
const FUEL: u64 = 50_000;

/// Returns whether a pattern repeats so much that it may be wide.
pub(super) fn may_be_wide(pattern: &str) -> bool {
    let is_large = |count: &str| count.parse().is_ok_and(|count: u32| count >= FEW_REPEATS);
    let mut counts = pattern.split('{').skip(1).flat_map(|rest| rest.split([',', '}']).take(2));
    counts.any(is_large) || pattern.matches(['.', '[', '\\']).count() >= FEW_MARKS
}

/// Tries all ASCII texts, shortest first, up to the limits. Checks one pattern alone: testing an
/// intersection for emptiness may cost the engine unbounded time.
pub(super) fn is_wide(pattern: &str) -> bool {
    let text = RegexAst::SearchRegex(regex_to_lark(pattern, "dw"));
    let mut builder = RegexBuilder::new();
    let built = builder.mk(&text).ok().and_then(|it| builder.into_regex_limited(it, FUEL).ok());
    let Some(mut regex) = built else { return false };
    let mut classes = HashSet::new();
    let bytes: Vec<u8> = (0..0x80).filter(|it| classes.insert(regex.alpha().map(*it))).collect();
    let start = regex.initial_state();
    let mut seen = HashSet::from([start]);
    let mut states = vec![start];
    while !states.is_empty() && seen.len() < MAX_STATES {
        let mut next = Vec::new();
        for state in states {
            for byte in &bytes {
                let reached = regex.transition(state, *byte);
                if !reached.is_dead() && seen.insert(reached) {
                    next.push(reached);
                }
            }
        }
        if next.len() > MAX_WIDTH + pattern.len() {
            return true;
        }
        states = next;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_doubles_its_states_is_wide() {
        // Few words begin alike.
        let word =
            |idx: u32| format!("{:x}", u64::from(idx + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let words = (0..300).map(word).collect::<Vec<_>>().join("|");
        for (pattern, want) in [
            ("[0-9].{30}a", true),
            ("([0-9].{30}a|b.{40}c|d.{35}e)", true),
            ("^.{0,20}[0-9].{30}a$", true),
            ("^head-.*[0-9].{30}a$", true),
            ("[0-9].....................a", true),
            ("[a-z]{30}", false),
            ("^[a-z]{1,500}$", false),
            ("^.{0,2000}$", false),
            ("^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$", false),
            (r"^[\w.+-]{1,64}@[\w-]{1,63}(\.[\w-]{2,63})+$", false),
            (&format!("^(?:{words})-[0-9a-f]{{12}}$"), false),
        ] {
            let found = may_be_wide(pattern) && is_wide(pattern);
            assert_eq!(found, want, "{pattern}");
        }
    }
}
