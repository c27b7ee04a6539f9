//! A group's part of a microbatch: its rows' next tokens, and what the stages must reorder before.

use std::sync::Arc;

use super::group::{Ancestry, Group};
use crate::{
    messages::{AncestorsOrder, CopyOrder, RowOrder, TableOrder},
    pages::Memory,
    sequence::Sequence,
};

impl Group {
    /// Orders so many tokens of each row; the pages were counted. Returns what the stages must
    /// reorder before, and the rows.
    pub(super) fn order(
        &mut self,
        counts: &[usize],
        memory: &mut Memory,
    ) -> (Option<AncestorsOrder>, Vec<RowOrder>) {
        let ancestors = self.reorder(counts, memory);
        let mut orders = Vec::with_capacity(counts.len());
        for (row, &count) in self.rows.iter_mut().zip(counts) {
            if count > 0 {
                let position = row.cached.num_tokens();
                row.order(count, memory);
                let tokens = row.tokens()[position..position + count].to_vec();
                orders.push(RowOrder {
                    group: self.rank.id,
                    tokens,
                    position,
                    tables: tables(row),
                    wants_logits: false,
                });
            }
        }
        self.num_in_flight += 1;
        self.awaits_sample = self.rows.iter().all(|row| row.num_pending() == 0);
        for order in &mut orders {
            order.wants_logits = self.awaits_sample;
        }
        (ancestors, orders)
    }

    /// Gives the rows that write tail pages of their own, and says who continues whom; nothing
    /// where every row simply goes on.
    fn reorder(&mut self, counts: &[usize], memory: &mut Memory) -> Option<AncestorsOrder> {
        let writes = |row: &&Sequence, count: &usize| *count > 0 && row.cached.shares_tail(memory);
        let mut rows = self.rows.iter().zip(counts);
        let must_copy = rows.any(|(row, count)| writes(&row, count));
        if self.ancestry.is_none() && !must_copy {
            return None;
        }
        let ancestry = self.ancestry.take().unwrap_or_else(|| self.itself(memory));
        let copies = ancestry.tail_pages.into_iter();
        let mut copies: Vec<CopyOrder> =
            copies.map(|tail_pages| CopyOrder { tail_pages, ..CopyOrder::default() }).collect();
        let rows = (0..).zip(&mut self.rows).zip(counts).filter(|(_, count)| **count > 0);
        for ((row_idx, row), _) in rows {
            for copy in row.cached.split_tail(memory) {
                copies[copy.kv_idx].rows.push(row_idx);
                copies[copy.kv_idx].target_pages.push(copy.target);
            }
        }
        // Numbered when it is sent.
        Some(AncestorsOrder { group: self.rank.id, epoch: 0, parents: ancestry.parents, copies })
    }

    /// Each row continues itself.
    fn itself(&self, memory: &Memory) -> Ancestry {
        let parents = (0..).zip(&self.rows).map(|(row_idx, _)| row_idx).collect();
        Ancestry { parents, tail_pages: self.tails(memory) }
    }

    /// Per KV group: the page that each row would write next; 0 where there is none.
    pub(super) fn tails(&self, memory: &Memory) -> Vec<Vec<u32>> {
        let tail = |row: &Sequence, kv_idx| row.cached.tail(kv_idx).unwrap_or(0);
        let of_group = |kv_idx| self.rows.iter().map(|row| tail(row, kv_idx)).collect();
        (0..memory.kv_groups().len()).map(of_group).collect()
    }
}

fn tables(row: &Sequence) -> Vec<TableOrder> {
    let table = row.cached.tables().iter().map(|table| TableOrder {
        first_position: table.first_position(),
        pages: Arc::clone(table.pages()),
    });
    table.collect()
}
