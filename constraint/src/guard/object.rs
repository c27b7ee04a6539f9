//! Builds objects that continue a partial one.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::facts::Facts;
use super::finish::{rest_of_text, write_text};
use super::partial::{ObjectTail, Partial, PartialText};
use super::solver::Solver;
use super::verdict::Verdict;
use crate::json_schema::document::{NodeId, ObjectRules};
use crate::json_schema::{Ask, in_order};

/// The most properties to add.
const MAX_ADDED: usize = 2_000;
/// Names examined per unit of fuel.
const NAMES_PER_FUEL: usize = 256;
/// Listed names offered for one property.
const MAX_OFFERED: usize = 64;
/// Names tried for a property that is not listed.
const MAX_TRIED: usize = 12;

impl<'a> Solver<'a, '_> {
    pub(super) fn object(
        &mut self,
        facts: &mut Facts<'a>,
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        let (mut members, tail) = if let Partial::Object { members, tail } = partial {
            (members.clone(), tail.clone())
        } else {
            self.out.push(b'{');
            (Map::new(), ObjectTail::Brace)
        };
        let mut needs_comma = matches!(tail, ObjectTail::Value);
        let mut must_add = matches!(tail, ObjectTail::Comma);
        self.triggered(facts, &members, &tail, partial)?;
        match &tail {
            ObjectTail::InName(open) => {
                let name = self.finish_name(facts, &members, open)?;
                self.member(facts, &mut members, &name, (&Partial::Nothing, salt))?;
                needs_comma = true;
            }
            ObjectTail::Name(name) => {
                self.out.push(b':');
                self.member(facts, &mut members, name, (&Partial::Nothing, salt))?;
                needs_comma = true;
            }
            ObjectTail::Colon(name) => {
                self.member(facts, &mut members, name, (&Partial::Nothing, salt))?;
                needs_comma = true;
            }
            ObjectTail::In(name, open) => {
                self.member(facts, &mut members, name, (open, salt))?;
                needs_comma = true;
            }
            ObjectTail::Brace | ObjectTail::Value | ObjectTail::Comma => {}
        }
        let extra = self.choices.pick(3, &self.pointer) + salt;
        let min = facts.own.iter().map(|it| it.object.min_properties).max().unwrap_or(0);
        let min = min.max(if extra > 0 { members.len() + extra } else { 0 });
        let mut missing = Missing::default();
        let num_required = facts.own.iter().map(|it| it.object.required.len()).max().unwrap_or(0);
        if num_required.max(min) > members.len() + MAX_ADDED {
            return None;
        }
        for _ in 0..MAX_ADDED {
            self.triggered(facts, &members, &ObjectTail::Value, partial)?;
            let name = match missing.next(facts, &members, &mut self.fuel) {
                Some(name) => name,
                None if must_add || members.len() < min => self.new_name(facts, &members)?,
                None => {
                    self.out.push(b'}');
                    return Some(Value::Object(members));
                }
            };
            must_add = false;
            if needs_comma {
                self.out.push(b',');
            }
            needs_comma = true;
            write_text(&name, &mut self.out);
            self.out.push(b':');
            self.member(facts, &mut members, &name, (&Partial::Nothing, 0))?;
        }
        None
    }

    /// Adds the schemas that apply because certain properties are present or required.
    fn triggered(
        &mut self,
        facts: &mut Facts<'a>,
        members: &Map<String, Value>,
        tail: &ObjectTail,
        partial: &Partial,
    ) -> Option<()> {
        let begun = match tail {
            ObjectTail::Name(name) | ObjectTail::Colon(name) | ObjectTail::In(name, _) => {
                Some(name)
            }
            _ => None,
        };
        let mut next = 0;
        while next < facts.own.len() {
            let rules: &'a ObjectRules = &facts.own[next].object;
            next += 1;
            for (name, schema) in &rules.dependent {
                let is_there = members.contains_key(name)
                    || begun == Some(name)
                    || facts.own.iter().any(|it| it.object.required.contains(name));
                if is_there {
                    self.gather(facts, *schema, partial)?;
                }
            }
        }
        Some(())
    }

    /// Builds the value of a property.
    fn member(
        &mut self,
        facts: &Facts<'a>,
        members: &mut Map<String, Value>,
        name: &str,
        (open, salt): (&Partial, usize),
    ) -> Option<()> {
        let ids = self.schemas(facts, name);
        let value = self.part(name, &ids, open, salt)?;
        members.insert(name.to_owned(), value);
        Some(())
    }

    /// Returns the schemas of a property with this name.
    fn schemas(&mut self, facts: &Facts<'a>, name: &str) -> Vec<NodeId> {
        let mut ids = Vec::new();
        for keywords in &facts.own {
            ids.extend(self.opinion().schemas_of(&keywords.object, name));
        }
        if ids.is_empty() {
            // A property that an inner schema accepts counts as evaluated for the outer ones.
            let all = facts.own.iter().filter_map(|keywords| keywords.object.unevaluated);
            let (never, some): (Vec<_>, Vec<_>) = all.partition(|id| self.document.is_never(*id));
            ids = if some.is_empty() { never } else { some };
        }
        ids
    }

    /// Completes a partially written name.
    fn finish_name(
        &mut self,
        facts: &Facts<'a>,
        members: &Map<String, Value>,
        open: &PartialText,
    ) -> Option<String> {
        let mut names = missing(facts, members, &mut self.fuel);
        let listed = facts.own.iter().flat_map(|keywords| &keywords.object.properties);
        names.extend(listed.map(|(name, _)| name.clone()));
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            if members.contains_key(&name) || !seen.insert(name.clone()) {
                continue;
            }
            if let Some(rest) = rest_of_text(open, &name) {
                found.push((name, rest));
            }
        }
        // Names in the schema's order come first; a grammar without order accepts the others too.
        let order = Order::new(facts, &mut self.fuel);
        let last = order.last(members);
        let is_late = |name: &String| order.position(name) > last;
        found.sort_by_key(|(name, _)| !is_late(name));
        let mut found = self.offered(facts, found, |(name, _)| name)?;
        let first_other = found.len().min(1);
        let picked = self.choices.pick(found.len() + 2, &self.pointer);
        let (name, rest) = match picked.checked_sub(first_other) {
            None => found.swap_remove(picked),
            Some(variant @ (0 | 1)) => {
                let name = self.other_name(facts, members, open, variant)?;
                let rest = rest_of_text(open, &name)?;
                (name, rest)
            }
            Some(later) => found.swap_remove(later - 2 + first_other),
        };
        self.out.extend(rest);
        self.out.extend_from_slice(b"\":");
        Some(name)
    }

    /// Chooses a name for one more property.
    fn new_name(&mut self, facts: &Facts<'a>, members: &Map<String, Value>) -> Option<String> {
        let listed = facts.own.iter().flat_map(|keywords| &keywords.object.properties);
        let mut seen = HashSet::new();
        let mut names: Vec<String> = Vec::new();
        for (name, _) in listed {
            if !members.contains_key(name) && seen.insert(name.as_str()) {
                names.push(name.clone());
            }
        }
        // In an ordered grammar no listed name may come before one that is present.
        let order = Order::new(facts, &mut self.fuel);
        let last = order.last(members);
        names.sort_by_key(|name| order.position(name) <= last);
        let mut names = self.offered(facts, names, |name| name)?;
        // After an unlisted name only unlisted ones may follow; otherwise an unlisted name is the
        // second guess.
        let has_others = members.keys().any(|name| order.position(name).is_none());
        let first_other = if has_others { 0 } else { names.len().min(1) };
        let picked = self.choices.pick(names.len() + 2, &self.pointer);
        match picked.checked_sub(first_other) {
            None => Some(names.swap_remove(picked)),
            Some(variant @ (0 | 1)) => {
                self.other_name(facts, members, &PartialText::default(), variant)
            }
            Some(later) => Some(names.swap_remove(later - 2 + first_other)),
        }
    }

    /// Returns the first of `listed` whose names are allowed; none if the fuel is spent.
    fn offered<T>(
        &mut self,
        facts: &Facts<'a>,
        listed: Vec<T>,
        name: impl Fn(&T) -> &str,
    ) -> Option<Vec<T>> {
        // Each lookup scans all listed names. Most of the fuel is kept for what follows.
        let most = self.fuel / 4 * NAMES_PER_FUEL;
        let num_listed: usize = facts.own.iter().map(|it| it.object.properties.len()).sum();
        let mut num_compared = 0;
        let mut offered = Vec::new();
        for each in listed {
            num_compared += num_listed;
            if offered.len() == MAX_OFFERED || num_compared > most {
                break;
            }
            if self.may_be_named(facts, name(&each)) {
                offered.push(each);
            }
        }
        self.fuel = self.fuel.saturating_sub(num_compared / NAMES_PER_FUEL);
        (self.fuel > 0).then_some(offered)
    }

    /// Returns a name that is not listed and continues `open`.
    fn other_name(
        &mut self,
        facts: &Facts<'a>,
        members: &Map<String, Value>,
        open: &PartialText,
        variant: usize,
    ) -> Option<String> {
        let names: Vec<NodeId> =
            facts.own.iter().filter_map(|keywords| keywords.object.names).collect();
        let mut patterns: Vec<Option<String>> = vec![None];
        let listed = facts.own.iter().flat_map(|keywords| &keywords.object.patterns);
        patterns.extend(listed.map(|(pattern, _)| Some(pattern.clone())));
        let mut skip = variant;
        for salt in 0..MAX_TRIED {
            for pattern in &patterns {
                let Some(name) = self.name(&names, pattern.clone(), open, salt) else { continue };
                if members.contains_key(&name) || !self.may_be_named(facts, &name) {
                    continue;
                }
                if skip == 0 {
                    return Some(name);
                }
                skip -= 1;
            }
        }
        None
    }

    /// Returns the `salt`-th string that the schemas for names allow and the pattern matches.
    fn name(
        &mut self,
        names: &[NodeId],
        pattern: Option<String>,
        open: &PartialText,
        salt: usize,
    ) -> Option<String> {
        if let Some(pattern) = pattern.filter(|_| open.pending.is_empty()) {
            let ask = Ask { patterns: vec![pattern], ..Default::default() };
            let rest = self.patterns.continuation(&ask, &open.text, salt, &mut self.fuel)?;
            return Some(format!("{}{rest}", open.text));
        }
        let out = std::mem::take(&mut self.out);
        // Tries the empty name last.
        let is_new = open.text.is_empty() && open.pending.is_empty();
        let salt = if is_new { (salt + 1) % MAX_TRIED } else { salt };
        let name = self.value(names, &Partial::Text(open.clone()), salt);
        self.out = out;
        name?.as_str().map(str::to_owned)
    }

    /// Returns whether a property may have this name.
    fn may_be_named(&mut self, facts: &Facts<'a>, name: &str) -> bool {
        let value = Value::String(name.to_owned());
        let names = facts.own.iter().filter_map(|keywords| keywords.object.names);
        let names: Vec<NodeId> = names.collect();
        let document = self.document;
        names.into_iter().all(|id| self.opinion().of(id, &value) != Verdict::No)
            && !self.schemas(facts, name).iter().any(|id| document.is_never(*id))
    }
}

/// The positions of the listed names in the engine's order.
struct Order<'f>(HashMap<&'f str, usize>);

impl<'f> Order<'f> {
    fn new(facts: &Facts<'f>, fuel: &mut usize) -> Self {
        let names = in_order(facts.own.iter().map(|keywords| &keywords.object));
        let positions: HashMap<&str, usize> = names.into_iter().zip(0..).collect();
        *fuel = fuel.saturating_sub(positions.len() / NAMES_PER_FUEL);
        Self(positions)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }

    /// Returns the last position of a name that is present.
    fn last(&self, members: &Map<String, Value>) -> Option<usize> {
        members.keys().filter_map(|name| self.position(name)).max()
    }
}

/// Required names yet to be added; computed when needed.
#[derive(Default)]
struct Missing {
    names: VecDeque<String>,
    num_schemas: usize,
}

impl Missing {
    /// Returns the next required name that is absent. `members` must contain the names returned
    /// earlier.
    fn next(
        &mut self,
        facts: &Facts<'_>,
        members: &Map<String, Value>,
        fuel: &mut usize,
    ) -> Option<String> {
        // New members may require further names, in another order.
        let may_change = self.num_schemas != facts.own.len()
            || facts.own.iter().any(|keywords| !keywords.object.needs.is_empty());
        if self.names.is_empty() || may_change {
            self.names = missing(facts, members, fuel).into();
            self.num_schemas = facts.own.len();
        }
        self.names.pop_front()
    }
}

/// Returns the required names that are absent, in the engine's order.
fn missing(facts: &Facts<'_>, members: &Map<String, Value>, fuel: &mut usize) -> Vec<String> {
    let mut needed: Vec<&String> = Vec::new();
    for keywords in &facts.own {
        needed.extend(&keywords.object.required);
        // Names that need others count only if they are present or required themselves.
        let of_others = keywords.object.needs.iter().filter(|(name, _)| {
            members.contains_key(name)
                || facts.own.iter().any(|it| it.object.required.contains(name))
        });
        needed.extend(of_others.flat_map(|(_, names)| names));
    }
    needed.retain(|name| !members.contains_key(*name));
    if needed.is_empty() {
        return Vec::new();
    }
    *fuel = fuel.saturating_sub(needed.len() / NAMES_PER_FUEL);
    let order = Order::new(facts, fuel);
    let mut missing: Vec<String> = needed.into_iter().cloned().collect();
    missing.sort_by_key(|name| order.position(name).unwrap_or(usize::MAX));
    missing.dedup();
    missing
}
