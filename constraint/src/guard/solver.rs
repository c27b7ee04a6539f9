//! Builds a value that a schema may allow and that continues a partial one.

use serde_json::Value;

use super::choices::{Choices, MAX_ALTERNATIVES};
use super::facts::Facts;
use super::finish;
use super::partial::Partial;
use super::verdict::{Opinion, Verdict, kind};
use crate::json_schema::document::{Document, NodeId, Types};
use crate::json_schema::{Patterns, is_same};

/// The deepest nesting of a value built here.
const MAX_DEPTH: usize = 128;
/// Backtracking steps inside one value before it is given up.
const MAX_STEPS_BACK: usize = 6;
/// The most excluded schemas that one value is steered to fail, one after another.
const MAX_REFUTED: usize = 6;
/// Literal comparisons per unit of fuel.
const LITERALS_PER_FUEL: usize = 256;

/// One attempt to build a value.
pub(super) struct Solver<'a, 'p> {
    pub(super) document: &'a Document,
    pub(super) patterns: &'p mut Patterns,
    pub(super) choices: Choices,
    /// The JSON pointer of the value being built.
    pub(super) pointer: String,
    /// The text written after the partial value.
    pub(super) out: Vec<u8>,
    /// The number of schemas that may still be visited.
    pub(super) fuel: usize,
    pub(super) depth: usize,
    /// The excluded schema that last ruled a value out by accepting it.
    pub(super) blamed: Option<NodeId>,
    /// Returns whether the time is up.
    pub(super) is_over: &'p dyn Fn() -> bool,
}

impl<'a> Solver<'a, '_> {
    pub(super) fn opinion(&mut self) -> Opinion<'a, '_> {
        Opinion { document: self.document, patterns: self.patterns, fuel: &mut self.fuel }
    }

    /// Builds a value that satisfies all these schemas, provided the choices made were right, and
    /// writes its missing part. A different `salt` asks for a different value.
    pub(super) fn value(
        &mut self,
        ids: &[NodeId],
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        if let Partial::Whole(value) = partial {
            return Some(value.clone());
        }
        if self.depth >= MAX_DEPTH || self.fuel == 0 {
            return None;
        }
        if (self.is_over)() {
            self.fuel = 0;
            return None;
        }
        self.depth += 1;
        let (num_made, len) = (self.choices.num_made(), self.out.len());
        let mut built = self.build(ids, partial, salt);
        if built.is_none() {
            let first = self.choices.made();
            for _ in 0..MAX_STEPS_BACK {
                if self.fuel == 0 || !self.choices.step_back(num_made) {
                    break;
                }
                self.out.truncate(len);
                built = self.build(ids, partial, salt);
                if built.is_some() {
                    break;
                }
            }
            if built.is_none() {
                // Later attempts learn from the first failure here.
                self.choices.restore(first);
            }
        }
        self.depth -= 1;
        built
    }

    /// As `value`, for a part of the value.
    pub(super) fn part(
        &mut self,
        name: &str,
        ids: &[NodeId],
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        let len = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let built = self.value(ids, partial, salt);
        self.pointer.truncate(len);
        built
    }

    fn build(&mut self, ids: &[NodeId], partial: &Partial, salt: usize) -> Option<Value> {
        self.fuel = self.fuel.saturating_sub(1);
        let mut facts = self.facts(ids, partial)?;
        let len = self.out.len();
        for _ in 0..MAX_REFUTED {
            if facts.excluded.is_empty() {
                break;
            }
            self.blamed = None;
            let built = self.of_facts(facts.clone(), partial, salt);
            if built.is_some() {
                return built;
            }
            let blamed = self.blamed.filter(|id| facts.excluded.contains(id))?;
            self.out.truncate(len);
            self.refute(&mut facts, blamed, partial)?;
        }
        self.of_facts(facts, partial, salt)
    }

    fn of_facts(&mut self, mut facts: Facts<'a>, partial: &Partial, salt: usize) -> Option<Value> {
        let types = facts.types().intersection(kind(partial));
        if facts.own.iter().any(|keywords| keywords.literals.is_some()) {
            return self.literal(&facts, types, partial, salt);
        }
        let mut kinds: Vec<Types> = KINDS.into_iter().filter(|kind| types.has(*kind)).collect();
        let preferred = facts.prefers();
        kinds.sort_by_key(|kind| !preferred.has(*kind));
        if kinds.is_empty() {
            return None;
        }
        let picked = kinds[self.choices.pick(kinds.len(), &self.pointer)];
        let value = match picked {
            Types::NULL => self.one_of(&facts, partial, &[Value::Null], salt),
            Types::BOOLEAN => self.one_of(&facts, partial, &[true.into(), false.into()], salt),
            Types::NUMBER => self.number(&facts, types, partial, salt),
            Types::STRING => self.text(&facts, partial, salt),
            Types::ARRAY => self.array(&facts, partial, salt),
            _ => self.object(&mut facts, partial, salt),
        }?;
        (!self.is_excluded(&facts, &value)).then_some(value)
    }

    pub(super) fn is_excluded(&mut self, facts: &Facts<'a>, value: &Value) -> bool {
        // The most recent exclusions came with opposites of the earlier ones, so they are checked
        // first.
        let held = |id: &&NodeId| self.opinion().of(**id, value) == Verdict::Yes;
        let held = facts.excluded.iter().rev().find(held);
        self.blamed = held.copied().or(self.blamed);
        held.is_some()
    }

    /// Completes the value to one of the listed literals.
    fn literal(
        &mut self,
        facts: &Facts<'a>,
        types: Types,
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        let mut lists = facts.own.iter().filter_map(|keywords| keywords.literals.as_ref());
        let mut listed: Vec<Value> = lists.next()?.clone();
        for other in lists {
            let num_compared = listed.len() * other.len();
            self.fuel = self.fuel.saturating_sub(num_compared / LITERALS_PER_FUEL);
            if self.fuel == 0 {
                return None;
            }
            listed.retain(|value| other.iter().any(|it| is_same(it, value)));
        }
        listed.retain(|value| types.has(Types::of(value)));
        self.one_of(facts, partial, &listed, salt)
    }

    fn one_of(
        &mut self,
        facts: &Facts<'a>,
        partial: &Partial,
        values: &[Value],
        salt: usize,
    ) -> Option<Value> {
        let mut may: Vec<(Value, Vec<u8>)> = Vec::new();
        for value in values {
            // No attempt picks from more alternatives.
            if may.len() > MAX_ALTERNATIVES + salt || self.fuel == 0 {
                break;
            }
            let Some(rest) = finish::as_value(partial, value) else { continue };
            // The lookup scans all literals.
            self.fuel = self.fuel.saturating_sub(values.len() / LITERALS_PER_FUEL);
            if !self.is_excluded(facts, value) && self.fits(facts, value) {
                may.push((value.clone(), rest));
            }
        }
        if may.is_empty() {
            return None;
        }
        let picked = self.choices.pick(may.len(), &self.pointer) + salt;
        let (value, rest) = (picked < may.len()).then(|| may.swap_remove(picked))?;
        self.out.extend(rest);
        Some(value)
    }

    /// Returns whether a complete value may satisfy each schema's own keywords.
    fn fits(&mut self, facts: &Facts<'a>, value: &Value) -> bool {
        let document = self.document;
        let mut opinion = Opinion { document, patterns: self.patterns, fuel: &mut self.fuel };
        facts.own.iter().all(|keywords| opinion.own(keywords, value) != Verdict::No)
    }
}

/// Types to try, from short values to long ones.
const KINDS: [Types; 6] =
    [Types::NUMBER, Types::STRING, Types::ARRAY, Types::OBJECT, Types::NULL, Types::BOOLEAN];
