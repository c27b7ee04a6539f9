//! One running hypothesis: its tokens, and the pages that hold what was computed of them.

use sluicegate_spec::{kv::PAGE_TOKENS, units::TokenId};

use super::{
    group::GroupId,
    memory::Memory,
    order::{RowOrder, TableOrder},
    pages::PageTable,
    prefix::BlockId,
};

#[derive(Debug)]
pub(super) struct Row {
    /// All of them: the prompt, and what was generated.
    pub(super) tokens: Vec<TokenId>,
    /// Tokens ordered so far, which is the position of the next one.
    pub(super) num_ordered: usize,
    /// Per KV group.
    pub(super) tables: Vec<PageTable>,
    /// The block that holds the last full page.
    last_block: BlockId,
}

/// A tail page that must be copied before its row writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TailCopy {
    pub(super) kv_idx: usize,
    pub(super) target: u32,
}

impl Row {
    /// A row that holds no pages yet.
    pub(super) fn new(tokens: Vec<TokenId>, num_kv_groups: usize) -> Self {
        let tables = vec![PageTable::default(); num_kv_groups];
        Self { tokens, num_ordered: 0, tables, last_block: BlockId::ROOT }
    }

    /// Another row with the same past, on the same pages.
    pub(super) fn fork(&self, memory: &mut Memory) -> Self {
        Self {
            tokens: self.tokens.clone(),
            num_ordered: self.num_ordered,
            tables: memory.share(&self.tables),
            last_block: self.last_block,
        }
    }

    /// Tokens not yet ordered.
    pub(super) fn num_pending(&self) -> usize {
        self.tokens.len() - self.num_ordered
    }

    /// Takes over what is known of the row's beginning; the row holds no pages before.
    pub(super) fn begin(&mut self, memory: &mut Memory) {
        let beginning = memory.begin(&self.tokens);
        self.num_ordered = beginning.num_tokens;
        self.tables = beginning.tables;
        self.last_block = beginning.last_block;
    }

    /// Gives all pages back; everything has to be computed again.
    pub(super) fn forget(&mut self, memory: &mut Memory) {
        memory.release_all(&mut self.tables);
        self.num_ordered = 0;
        self.last_block = BlockId::ROOT;
    }

    /// The page that the row writes next, if it is there already, that is, partly filled.
    pub(super) fn tail(&self, kv_idx: usize) -> Option<u32> {
        let has_tail = !self.num_ordered.is_multiple_of(PAGE_TOKENS);
        has_tail.then(|| self.tables[kv_idx].page_of(self.num_ordered)).flatten()
    }

    /// Gets a page of its own for a tail that other rows hold too.
    pub(super) fn split_tail(&mut self, memory: &mut Memory) -> Vec<TailCopy> {
        let mut copies = Vec::new();
        for kv_idx in 0..self.tables.len() {
            let Some(tail) = self.tail(kv_idx) else { continue };
            if memory.holders(kv_idx, tail) == 1 {
                continue;
            }
            let target = memory.take(kv_idx);
            memory.release(kv_idx, tail);
            let pages = &mut self.tables[kv_idx].pages;
            *pages.last_mut().expect("a row with a tail has a page") = target;
            copies.push(TailCopy { kv_idx, target });
        }
        copies
    }

    /// Orders the next `count` tokens; their pages were counted before.
    pub(super) fn order(&mut self, group: GroupId, count: usize, memory: &mut Memory) -> RowOrder {
        let (position, end) = (self.num_ordered, self.num_ordered + count);
        for (kv_idx, table) in self.tables.iter_mut().enumerate() {
            for _ in 0..table.num_missing(end) {
                table.pages.push(memory.take(kv_idx));
            }
        }
        let tables = self.tables.iter().map(|table| TableOrder {
            first_position: table.first_position(),
            pages: table.pages.clone(),
        });
        let order = RowOrder {
            group,
            tokens: self.tokens[position..end].to_vec(),
            position,
            tables: tables.collect(),
            wants_logits: false,
        };
        self.num_ordered = end;
        self.name_blocks(position, memory);
        order
    }

    /// Tells of the pages that became full since `position`. Orders are executed one after the other,
    /// so a later one may read what an earlier one writes.
    fn name_blocks(&mut self, position: usize, memory: &mut Memory) {
        let (first, end) = (position / PAGE_TOKENS, self.num_ordered / PAGE_TOKENS);
        for start in (first..end).map(|block| block * PAGE_TOKENS) {
            let tokens = &self.tokens[start..start + PAGE_TOKENS];
            self.last_block = memory.name(self.last_block, tokens, start, &self.tables);
        }
    }
}
