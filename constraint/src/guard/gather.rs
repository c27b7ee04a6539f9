//! Collects everything that must hold for one value, and chooses among the options.

use std::collections::HashSet;

use serde_json::Value;

use super::facts::Facts;
use super::partial::{ArrayTail, ObjectTail, Partial};
use super::solver::Solver;
use super::verdict::{Verdict, kind};
use crate::json_schema::document::{Body, Condition, Document, KeywordGroup, NodeId};

/// The most schemas that may apply to one value.
const MAX_SCHEMAS: usize = 400;

impl<'a> Solver<'a, '_> {
    /// Collects what must hold for a value of all these schemas; none if they contradict each
    /// other.
    pub(super) fn facts(&mut self, ids: &[NodeId], partial: &Partial) -> Option<Facts<'a>> {
        let mut facts = Facts::default();
        for id in ids {
            self.gather(&mut facts, *id, partial)?;
        }
        Some(facts)
    }

    /// Adds a schema to what must hold.
    pub(super) fn gather(
        &mut self,
        facts: &mut Facts<'a>,
        id: NodeId,
        partial: &Partial,
    ) -> Option<()> {
        if facts.seen.contains(&id) {
            return Some(());
        }
        if facts.seen.len() >= MAX_SCHEMAS || self.fuel == 0 {
            return None;
        }
        self.fuel -= 1;
        facts.seen.push(id);
        let document: &'a Document = self.document;
        let keywords = match &document.node(id).body {
            Body::Always => return Some(()),
            Body::Never => return None,
            Body::Keywords(keywords) => &**keywords,
        };
        let mut is_own_met = false;
        for group in &keywords.order {
            match group {
                KeywordGroup::Own | KeywordGroup::Literals if is_own_met => {}
                KeywordGroup::Own | KeywordGroup::Literals => {
                    is_own_met = true;
                    facts.own.push(keywords);
                    facts.excluded.extend(keywords.not);
                }
                KeywordGroup::All => self.gather_all(facts, &keywords.all, partial)?,
                KeywordGroup::Reference => {
                    let targets = keywords.reference.iter().chain(&keywords.dynamic);
                    let targets: Vec<NodeId> = targets.copied().collect();
                    self.gather_all(facts, &targets, partial)?;
                }
                KeywordGroup::Any => {
                    let chosen = self.option(&keywords.any, partial)?;
                    self.gather(facts, chosen, partial)?;
                }
                KeywordGroup::One => {
                    let chosen = self.option(&keywords.one, partial)?;
                    facts.excluded.extend(keywords.one.iter().filter(|id| **id != chosen));
                    self.gather(facts, chosen, partial)?;
                }
                KeywordGroup::Condition => self.branch(facts, keywords.condition, partial)?,
            }
        }
        Some(())
    }

    fn gather_all(
        &mut self,
        facts: &mut Facts<'a>,
        ids: &[NodeId],
        partial: &Partial,
    ) -> Option<()> {
        ids.iter().try_for_each(|id| self.gather(facts, *id, partial))
    }

    /// Adds an opposite of `id`, so that the value fails that schema; none if no opposite is left.
    pub(super) fn refute(
        &mut self,
        facts: &mut Facts<'a>,
        id: NodeId,
        partial: &Partial,
    ) -> Option<()> {
        let document = self.document;
        let types = facts.types().intersection(kind(partial));
        let required: HashSet<&String> =
            facts.own.iter().flat_map(|it| &it.object.required).collect();
        let may_be = |id: &NodeId| {
            let Some(other) = document.keywords(*id) else { return true };
            let properties = &other.object.properties;
            let mut never = properties.iter().filter(|(_, schema)| document.is_never(*schema));
            !facts.seen.contains(id)
                && other.types.is_none_or(|own| own.has(types))
                && never.all(|(name, _)| !required.contains(name))
        };
        let opposites: Vec<NodeId> =
            document.opposites(id).iter().copied().filter(may_be).collect();
        let chosen = self.option(&opposites, partial)?;
        self.gather(facts, chosen, partial)
    }

    /// Chooses whether a condition holds.
    fn branch(
        &mut self,
        facts: &mut Facts<'a>,
        condition: Option<Condition>,
        partial: &Partial,
    ) -> Option<()> {
        let Some(condition) = condition else { return Some(()) };
        if condition.then.is_none() && condition.otherwise.is_none() {
            // Without branches, a condition only affects which properties and items are evaluated.
            let is_meant = self.choices.pick(2, &self.pointer) == 1;
            return if is_meant { self.gather(facts, condition.test, partial) } else { Some(()) };
        }
        let so_far = so_far(partial);
        let is_so = so_far.map_or(Verdict::Unknown, |it| self.opinion().of(condition.test, &it));
        let may = self.opinion().may_hold(condition.test, partial);
        let picked = if may { self.choices.pick(2, &self.pointer) } else { 1 };
        let holds = may && (picked == 0) != (is_so == Verdict::No);
        let branch = if holds {
            self.gather(facts, condition.test, partial)?;
            condition.then
        } else {
            facts.excluded.push(condition.test);
            condition.otherwise
        };
        branch.map_or(Some(()), |branch| self.gather(facts, branch, partial))
    }

    /// Chooses one of several schemas that `partial` may still satisfy.
    fn option(&mut self, options: &[NodeId], partial: &Partial) -> Option<NodeId> {
        let mut may: Vec<NodeId> = options.to_vec();
        may.retain(|id| self.opinion().may_hold(*id, partial));
        if may.is_empty() {
            return None;
        }
        if may.len() > 1
            && let Some(so_far) = so_far(partial)
        {
            // A schema that already holds is most likely the intended one.
            may.sort_by_cached_key(|id| match self.opinion().of(*id, &so_far) {
                Verdict::Yes => 0,
                Verdict::Unknown => 1,
                Verdict::No => 2,
            });
        }
        let picked = self.choices.pick(may.len(), &self.pointer);
        Some(may[picked])
    }
}

/// Returns the value as it would be if nothing more came.
fn so_far(partial: &Partial) -> Option<Value> {
    match partial {
        Partial::Whole(value) => Some(value.clone()),
        Partial::Number(text) => super::partial::number(text).ok(),
        Partial::Text(text) => Some(Value::String(text.text.clone())),
        Partial::Array { items, tail } => {
            let mut items = items.clone();
            if let ArrayTail::In(open) = tail {
                items.extend(so_far(open));
            }
            Some(Value::Array(items))
        }
        Partial::Object { members, tail } => {
            let mut members = members.clone();
            match tail {
                ObjectTail::In(name, open) => {
                    members.insert(name.clone(), so_far(open).unwrap_or_default());
                }
                ObjectTail::Name(name) | ObjectTail::Colon(name) => {
                    members.insert(name.clone(), Value::Null);
                }
                _ => {}
            }
            Some(Value::Object(members))
        }
        Partial::Nothing | Partial::Word { .. } => None,
    }
}
