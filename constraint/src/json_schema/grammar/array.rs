//! The grammar of arrays.

use super::Maker;
use super::conjunct::Conjunct;
use super::parts::PartId;

impl<'a> Maker<'a> {
    pub(super) fn array(&mut self, way: &Conjunct<'a>) -> PartId {
        let mut min = 0;
        let mut max = None::<usize>;
        let mut num_first = 0;
        for (id, keywords) in &way.all {
            let rules = &keywords.array;
            min = min.max(rules.min_items);
            max = max.into_iter().chain(rules.max_items).min();
            num_first = num_first.max(rules.first.len());
            if let Some(contains) = rules.contains {
                min = min.max(contains.min);
                if contains.min > 0 || contains.max.is_some() {
                    self.leave(*id, "contains");
                }
            }
            if rules.is_unique && rules.max_items.is_none_or(|max| max > 1) {
                self.leave(*id, "uniqueItems");
            }
            if rules.unevaluated.is_some_and(|it| !self.document.is_always(it)) {
                self.leave(*id, "unevaluatedItems");
            }
        }
        if max.is_some_and(|max| min > max) {
            return self.fail(&format!(
                "at least {min} items are wanted, but maxItems is {}",
                max.unwrap_or(0)
            ));
        }
        let num_first = num_first.min(max.unwrap_or(usize::MAX));
        let rest = if num_first > self.room.first {
            for (id, keywords) in &way.all {
                if !keywords.array.first.is_empty() {
                    self.leave(*id, "prefixItems");
                }
            }
            self.value(Vec::new())
        } else {
            self.item(way, num_first)
        };
        let num_first = num_first.min(self.room.first);
        let mut items =
            self.rest(rest, min.saturating_sub(num_first), max.map(|it| it - num_first));
        for idx in (0..num_first).rev() {
            let first = self.item(way, idx);
            let behind = if idx + 1 == num_first && items == self.grammar.marks.empty {
                items
            } else {
                let more = self.grammar.seq(vec![self.grammar.marks.comma, items]);
                if idx + 1 < min { more } else { self.grammar.optional(more) }
            };
            items = self.grammar.seq(vec![first, behind]);
        }
        if min == 0 {
            items = self.grammar.optional(items);
        }
        let marks = self.grammar.marks;
        self.grammar.seq(vec![marks.bracket, items, marks.end_bracket])
    }

    /// Returns the part of the item at `idx`.
    fn item(&mut self, way: &Conjunct<'a>, idx: usize) -> PartId {
        let of_one = |rules: &super::super::document::ArrayRules| {
            rules.first.get(idx).copied().or(rules.rest)
        };
        let ids = way.all.iter().filter_map(|(_, keywords)| of_one(&keywords.array)).collect();
        self.value(ids)
    }

    /// Returns the items after the first ones, separated by commas; at least one unless `max` is
    /// zero.
    fn rest(&mut self, item: PartId, min: usize, max: Option<usize>) -> PartId {
        if max == Some(0) {
            return self.grammar.marks.empty;
        }
        let more = self.grammar.seq(vec![self.grammar.marks.comma, item]);
        if more == self.grammar.marks.never {
            return more;
        }
        let more = self.grammar.repeat(more, min.saturating_sub(1), max.map(|max| max - 1));
        self.grammar.seq(vec![item, more])
    }
}
