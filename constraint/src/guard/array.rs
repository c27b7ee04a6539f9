//! Builds arrays that continue a partial one.

use serde_json::Value;

use super::facts::Facts;
use super::partial::{ArrayTail, Partial};
use super::solver::Solver;
use super::verdict::Verdict;
use crate::json_schema::document::{Contains, NodeId};
use crate::json_schema::is_same;

/// The most items of an array built here.
const MAX_ITEMS: usize = 5_000;
/// Item comparisons per unit of fuel.
const ITEMS_PER_FUEL: usize = 128;
/// Values tried to find one that the array does not have yet.
const MAX_SALTS: usize = 40;

impl<'a> Solver<'a, '_> {
    pub(super) fn array(
        &mut self,
        facts: &Facts<'a>,
        partial: &Partial,
        salt: usize,
    ) -> Option<Value> {
        let (mut items, tail) = if let Partial::Array { items, tail } = partial {
            (items.clone(), tail.clone())
        } else {
            self.out.push(b'[');
            (Vec::new(), ArrayTail::Bracket)
        };
        let mut needs_comma = matches!(tail, ArrayTail::Item);
        let mut must_add = false;
        let mut lacking = Lacking::new(facts);
        for item in &items {
            self.count(facts, &mut lacking, item);
        }
        match &tail {
            ArrayTail::In(open) => {
                self.item(facts, (&mut items, &mut lacking), open, salt)?;
                needs_comma = true;
            }
            ArrayTail::Comma => must_add = true,
            ArrayTail::Bracket | ArrayTail::Item => {}
        }
        let min = facts.own.iter().map(|keywords| keywords.array.min_items).max().unwrap_or(0);
        let extra = salt + self.choices.pick(3, &self.pointer);
        let min = min.max(if salt > 0 || extra > 0 { items.len() + extra } else { 0 });
        let wanted: usize =
            facts.own.iter().filter_map(|keywords| keywords.array.contains).map(|it| it.min).sum();
        let most = items.len() + min + wanted + 1;
        while must_add || items.len() < min || lacking.first(facts).is_some() {
            if items.len() >= most.min(MAX_ITEMS) {
                return None;
            }
            must_add = false;
            if needs_comma {
                self.out.push(b',');
            }
            needs_comma = true;
            self.item(facts, (&mut items, &mut lacking), &Partial::Nothing, 0)?;
        }
        self.out.push(b']');
        Some(Value::Array(items))
    }

    /// Adds the next item. It differs from all earlier ones if items must be unique.
    fn item(
        &mut self,
        facts: &Facts<'a>,
        (items, lacking): (&mut Vec<Value>, &mut Lacking),
        open: &Partial,
        salt: usize,
    ) -> Option<()> {
        let idx = items.len();
        let mut ids = schemas_of(facts, idx);
        let name = idx.to_string();
        let wanted = lacking.first(facts);
        let is_last_chance = facts.own.iter().all(|it| it.array.min_items <= idx);
        if let Some(contains) = wanted {
            let is_fresh = matches!(open, Partial::Nothing);
            let may = self.opinion().may_hold(contains.schema, open);
            let picked = if may { self.choices.pick(2, &self.pointer) } else { 1 };
            if may && (picked == 0) == (is_fresh || is_last_chance) {
                ids.push(contains.schema);
            }
        }
        let is_unique = facts.own.iter().any(|keywords| keywords.array.is_unique);
        let len = self.out.len();
        // After many unique items the first candidates are probably taken, so later ones are tried
        // first.
        let is_late = is_unique && idx > MAX_SALTS / 2;
        let ahead = if is_late { idx - 1..idx + MAX_SALTS / 2 } else { 0..0 };
        for offsets in [ahead, 0..MAX_SALTS + 1] {
            for offset in offsets {
                let Some(value) = self.part(&name, &ids, open, salt + offset) else { break };
                if is_unique {
                    self.fuel = self.fuel.saturating_sub(items.len() / ITEMS_PER_FUEL);
                }
                if !is_unique || !items.iter().any(|it| is_same(it, &value)) {
                    self.count(facts, lacking, &value);
                    items.push(value);
                    return Some(());
                }
                self.out.truncate(len);
            }
            self.out.truncate(len);
        }
        None
    }

    /// Counts an item for each `contains` that it satisfies.
    fn count(&mut self, facts: &Facts<'a>, lacking: &mut Lacking, item: &Value) {
        for (contains, count) in all_contains(facts).zip(&mut lacking.counts) {
            *count += usize::from(self.opinion().of(contains.schema, item) == Verdict::Yes);
        }
    }
}

/// How many items satisfy each `contains`.
struct Lacking {
    counts: Vec<usize>,
}

impl Lacking {
    fn new(facts: &Facts<'_>) -> Self {
        Self { counts: vec![0; all_contains(facts).count()] }
    }

    /// Returns a `contains` that lacks items, if any.
    fn first(&self, facts: &Facts<'_>) -> Option<Contains> {
        let mut lacking = all_contains(facts).zip(&self.counts);
        lacking.find(|(contains, count)| **count < contains.min).map(|(contains, _)| contains)
    }
}

fn all_contains(facts: &Facts<'_>) -> impl Iterator<Item = Contains> {
    facts.own.iter().filter_map(|keywords| keywords.array.contains)
}

/// Returns the schemas of the item at `idx`.
fn schemas_of(facts: &Facts<'_>, idx: usize) -> Vec<NodeId> {
    let mut ids = Vec::new();
    let mut is_evaluated = false;
    for rules in facts.own.iter().map(|keywords| &keywords.array) {
        let schema = rules.first.get(idx).copied().or(rules.rest);
        is_evaluated |= schema.is_some();
        ids.extend(schema);
    }
    if !is_evaluated {
        ids.extend(facts.own.iter().filter_map(|keywords| keywords.array.unevaluated));
    }
    ids
}
