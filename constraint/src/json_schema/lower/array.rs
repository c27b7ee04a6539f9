//! Arrays.

use serde_json::{Value, json};

use super::super::document::{ArrayRules, NodeId};
use super::{Lowering, Parts};

impl Lowering<'_> {
    pub(super) fn arrays(&mut self, id: NodeId, rules: &ArrayRules, parts: &mut Parts) {
        if !rules.first.is_empty() {
            parts.add("prefixItems", Value::Array(self.schemas(&rules.first)));
        }
        if let Some(rest) = rules.rest {
            parts.add("items", self.schema(rest));
        }
        let mut min_items = rules.min_items;
        if let Some(contains) = rules.contains {
            min_items = min_items.max(contains.min);
            if contains.min > 0 || contains.max.is_some() {
                self.leave(id, "contains");
            }
        }
        if min_items > 0 {
            parts.add("minItems", json!(min_items));
        }
        if let Some(max_items) = rules.max_items {
            parts.add("maxItems", json!(max_items));
        }
        if rules.is_unique && rules.max_items.is_none_or(|max| max > 1) {
            self.leave(id, "uniqueItems");
        }
        if rules.unevaluated.is_some_and(|it| !self.document.is_always(it)) {
            self.leave(id, "unevaluatedItems");
        }
    }
}
