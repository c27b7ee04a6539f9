//! A prompt with its running hypotheses: one group, whose rows are samples or beams.

use std::fmt;

use serde::Serialize;
use sluicegate_model::{config::KvGroup, step::PAGE_TOKENS, units::TokenId};

use super::{
    order::{AncestorsOrder, CopyOrder, RowOrder, TableOrder},
    pages::{PagePool, PageTable},
};

/// Number of a group, counted up by the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GroupId(pub u64);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.0)
    }
}

/// A prompt to run.
#[derive(Debug, Clone)]
pub struct Job {
    /// At least one token.
    pub prompt: Vec<TokenId>,
    /// Rows at most: samples or beams.
    pub max_rows: usize,
    /// Tokens that a row generates at most.
    pub max_tokens: usize,
}

/// How one row goes on: which earlier row it continues, and with which token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    pub parent: usize,
    pub token: TokenId,
}

/// One running hypothesis.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Tokens not yet ordered: the prompt's rest, then one token a step.
    pub(super) pending: Vec<TokenId>,
    /// Tokens ordered so far, which is the position of the next one.
    pub(super) position: usize,
    /// Per KV group.
    pub(super) tables: Vec<PageTable>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) rows: Vec<Row>,
    /// Tokens that each row has generated.
    pub(super) step: u32,
    pub(super) epoch: u64,
    /// Orders in the pipeline.
    pub(super) num_in_flight: usize,
    /// Whether the order in flight is sampled, so that nothing more may be ordered before its result.
    pub(super) awaits_sample: bool,
    /// Cancelled or finished, kept only until its last order has retired.
    pub(super) is_leaving: bool,
    /// Pages reserved in each KV group while the group lives.
    pub(super) reserved: Vec<usize>,
    /// A reorder to send before the next order.
    pub(super) reorder: Option<AncestorsOrder>,
}

impl Group {
    pub(super) fn is_ready(&self) -> bool {
        !self.awaits_sample
            && !self.is_leaving
            && self.rows.iter().all(|row| !row.pending.is_empty())
    }

    /// New tokens that the group would add to a microbatch with `budget` tokens left.
    pub(super) fn next_tokens(&self, budget: usize) -> usize {
        let pending: usize = self.rows.iter().map(|row| row.pending.len()).sum();
        if self.rows.len() == 1 { pending.min(budget) } else { pending }
    }

    /// Orders up to `budget` tokens; the pages are there, because they were reserved.
    pub(super) fn order(
        &mut self,
        budget: usize,
        kv_groups: &[KvGroup],
        pools: &mut [PagePool],
    ) -> Vec<RowOrder> {
        let num_tokens = self.next_tokens(budget);
        let may_chunk = self.rows.len() == 1;
        let id = self.id;
        let orders = self.rows.iter_mut().map(|row| {
            let count = if may_chunk { num_tokens } else { row.pending.len() };
            row.order(id, count, kv_groups, pools)
        });
        let orders: Vec<RowOrder> = orders.collect();
        self.num_in_flight += 1;
        self.awaits_sample = orders.iter().all(|order| order.wants_logits);
        orders
    }

    /// Makes the next step's rows out of the earlier ones.
    ///
    /// The first child of a row takes its pages over; every further child shares the full pages and
    /// gets a page of its own for the partly filled tail.
    pub(super) fn continue_with(
        &mut self,
        children: &[Child],
        pools: &mut [PagePool],
    ) -> Option<AncestorsOrder> {
        let mut copies: Vec<CopyOrder> =
            (0..pools.len()).map(|kv_idx| self.tails(kv_idx)).collect();
        // What the childless leave is what the others' copies may need: the reservation is exact.
        self.release_childless(children, pools);
        let mut takes_over = vec![true; self.rows.len()];
        let mut rows = Vec::with_capacity(children.len());
        for (row_idx, child) in children.iter().enumerate() {
            let parent = &self.rows[child.parent];
            let mut row = Row {
                pending: vec![child.token],
                position: parent.position,
                tables: parent.tables.clone(),
            };
            if !std::mem::take(&mut takes_over[child.parent]) {
                row.split_from_parent(row_idx, pools, &mut copies);
            }
            rows.push(row);
        }
        let is_identity =
            children.iter().enumerate().all(|(row_idx, child)| child.parent == row_idx)
                && children.len() == self.rows.len();
        self.rows = rows;
        self.step += 1;
        self.epoch += u64::from(!is_identity);
        self.awaits_sample = false;
        (!is_identity).then(|| AncestorsOrder {
            group: self.id,
            epoch: 0,
            parents: children.iter().map(|child| to_u32(child.parent)).collect(),
            copies,
        })
    }

    fn release_childless(&mut self, children: &[Child], pools: &mut [PagePool]) {
        for (row_idx, row) in self.rows.iter_mut().enumerate() {
            if children.iter().all(|child| child.parent != row_idx) {
                for (table, pool) in row.tables.iter_mut().zip(&mut *pools) {
                    table.release(pool);
                }
            }
        }
    }

    /// The page that each row would write next, where that page exists already.
    fn tails(&self, kv_idx: usize) -> CopyOrder {
        let tail_pages = self
            .rows
            .iter()
            .map(|row| row.tables[kv_idx].page_of(row.position).unwrap_or(0))
            .collect();
        CopyOrder { tail_pages, ..CopyOrder::default() }
    }

    pub(super) fn release(&mut self, pools: &mut [PagePool]) {
        for row in &mut self.rows {
            for (table, pool) in row.tables.iter_mut().zip(&mut *pools) {
                table.release(pool);
            }
        }
        self.rows.clear();
    }
}

impl Row {
    fn order(
        &mut self,
        group: GroupId,
        count: usize,
        kv_groups: &[KvGroup],
        pools: &mut [PagePool],
    ) -> RowOrder {
        let tokens: Vec<TokenId> = self.pending.drain(..count).collect();
        let end = self.position + count;
        for ((table, kv_group), pool) in self.tables.iter_mut().zip(kv_groups).zip(pools) {
            table.drop_unseen(*kv_group, self.position, pool);
            for _ in 0..table.num_missing(end) {
                table.pages.push(pool.take().expect("pages were reserved at admission"));
            }
        }
        let tables = self.tables.iter().map(|table| TableOrder {
            first_position: table.first_position(),
            pages: table.pages.clone(),
        });
        let order = RowOrder {
            group,
            tokens,
            position: self.position,
            tables: tables.collect(),
            wants_logits: self.pending.is_empty(),
        };
        self.position = end;
        order
    }

    /// Shares the parent's full pages and asks for a copy of its tail.
    fn split_from_parent(
        &mut self,
        row_idx: usize,
        pools: &mut [PagePool],
        copies: &mut [CopyOrder],
    ) {
        let has_tail = !self.position.is_multiple_of(PAGE_TOKENS);
        for ((table, pool), copy) in self.tables.iter_mut().zip(pools).zip(copies) {
            let num_full = table.pages.len() - usize::from(has_tail);
            for page in &table.pages[..num_full] {
                pool.share(*page);
            }
            if has_tail {
                let target = pool.take().expect("pages were reserved at admission");
                *table.pages.last_mut().expect("a row with a tail has a page") = target;
                copy.rows.push(to_u32(row_idx));
                copy.target_pages.push(target);
            }
        }
    }
}

fn to_u32(index: usize) -> u32 {
    u32::try_from(index).expect("rows of a group are counted in hundreds")
}
