//! Builds numbers that continue a partial one.

use std::collections::HashSet;

use serde_json::{Number, Value};

use super::facts::Facts;
use super::partial::{self, Partial};
use super::solver::Solver;
use crate::json_schema::document::{NumberRules, Types, is_whole};
use crate::json_schema::{common_multiple, spelled};

/// The most candidates to choose from.
const MAX_OFFERED: usize = 24;
/// Candidates per unit of fuel.
const OFFERED_PER_FUEL: usize = 16;
/// Excluded candidates after which the search stops.
const MAX_EXCLUDED: usize = 12;

impl<'a> Solver<'a, '_> {
    pub(super) fn number(
        &mut self,
        facts: &Facts<'a>,
        types: Types,
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        let begun = match partial {
            Partial::Number(text) => text.as_str(),
            _ => "",
        };
        let rules: Vec<&NumberRules> = facts.own.iter().map(|keywords| &keywords.number).collect();
        let mut offered: Vec<(String, Value)> = Vec::new();
        let mut known: HashSet<String> = HashSet::new();
        let mut num_excluded = 0;
        for text in candidates(&rules, begun, salt) {
            if offered.len() >= MAX_OFFERED + salt {
                break;
            }
            let Ok(value @ Value::Number(_)) = partial::number(&text) else { continue };
            if !fits(&rules, types, &value) || !known.insert(value.to_string()) {
                continue;
            }
            if !self.is_excluded(facts, &value) {
                offered.push((text, value));
            } else if num_excluded < MAX_EXCLUDED {
                num_excluded += 1;
            } else {
                break;
            }
        }
        self.fuel = self.fuel.saturating_sub(offered.len() / OFFERED_PER_FUEL);
        let picked = self.choices.pick(offered.len().min(6), &self.pointer) + salt;
        let (text, value) = (picked < offered.len()).then(|| offered.swap_remove(picked))?;
        self.out.extend_from_slice(&text.as_bytes()[begun.len()..]);
        Some(value)
    }
}

fn fits(rules: &[&NumberRules], types: Types, value: &Value) -> bool {
    let Value::Number(number) = value else { return false };
    let is_of_type = types.has(if is_whole(number) { Types::INTEGER } else { Types::FRACTION });
    is_of_type && rules.iter().all(|rules| rules.allows(number) != Some(false))
}

/// Returns texts of numbers that begin with `begun`, the likely ones first. The iterator is lazy,
/// since most are never needed. A larger `salt` adds more.
fn candidates<'b>(
    rules: &[&NumberRules],
    begun: &'b str,
    salt: usize,
) -> impl Iterator<Item = String> + use<'b> {
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let tails = [".5", ".1", ".25", ".05", ".01", ".9", ".99", ".001", ".75", ".125", ".0"];
    let points = ["0.5", "0.1", "0.01"];
    let near = landmarks(rules).into_iter().flat_map(move |value| {
        let text = spelled(&value);
        // Keeps the digits of `begun` and continues as the landmark does.
        let has_point = begun.contains(['.', 'e', 'E']);
        let rest = text.get(begun.len()..).filter(|_| !has_point);
        let longer = rest.map(|rest| format!("{begun}{}", rest.trim_start_matches('-')));
        Some(text).filter(|text| text.starts_with(begun)).into_iter().chain(longer)
    });
    let long = ["1", "2", "5", "9", "0"].into_iter().flat_map(|first| {
        (0..19).flat_map(move |len| ["0", "9"].map(|digit| format!("{first}{}", digit.repeat(len))))
    });
    let counted = (0..100).map(|tail| format!("{tail:02}"));
    let others = long.chain(counted).chain((10..74 + salt).map(|tail| tail.to_string()));
    std::iter::once(begun.to_owned())
        .chain(digits.map(|digit| format!("{begun}{digit}")))
        .chain(near)
        .chain(tails.into_iter().chain(points).map(move |tail| format!("{begun}{tail}")))
        .chain(others.map(move |tail| format!("{begun}{tail}")))
}

/// Returns numbers at and next to bounds, and multiples near them.
fn landmarks(rules: &[&NumberRules]) -> Vec<Number> {
    let mut found: Vec<Number> = Vec::new();
    let mut add = |value: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "used where it is exact")]
        let whole = value as i64;
        let is_whole = value.fract() == 0.0 && value.abs() < 9e15;
        found.extend(if is_whole { Some(whole.into()) } else { Number::from_f64(value) });
    };
    let common = common_multiple(rules.iter().filter_map(|rules| rules.multiple_of.as_ref()));
    for rules in rules {
        let multiple = common.or(rules.multiple_of.as_ref().and_then(Number::as_f64));
        let bounds = [&rules.minimum, &rules.maximum];
        for bound in bounds.into_iter().flatten() {
            let value = bound.value.as_f64().unwrap_or(0.0);
            let (floor, ceil) = (value.floor(), value.ceil());
            [value, ceil, floor, ceil + 1.0, floor - 1.0].into_iter().for_each(&mut add);
            // For large values where adding one gives the same float.
            add(2.0 * value);
            [0.5, -0.5, 0.01, -0.01].map(|it| value + it).into_iter().for_each(&mut add);
            if let Some(multiple) = multiple {
                let near = (value / multiple).round();
                [near, near + 1.0, near - 1.0]
                    .map(|it| it * multiple)
                    .into_iter()
                    .for_each(&mut add);
            }
        }
        if let Some(multiple) = multiple {
            [1.0, 0.0, 2.0, 3.0, 10.0, -1.0].map(|it| it * multiple).into_iter().for_each(&mut add);
        }
    }
    for rules in rules {
        for bound in [&rules.minimum, &rules.maximum].into_iter().flatten() {
            // The exact number, where a float would round it.
            found.insert(0, bound.value.clone());
        }
        found.extend(rules.multiple_of.clone());
    }
    found
}
