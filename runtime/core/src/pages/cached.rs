//! What of a sequence was ordered to be computed, and the pages that hold it.

use sluicegate_spec::{kv::PAGE_TOKENS, units::TokenId};

use super::{memory::Memory, prefix::BlockId, table::PageTable};

/// The cached beginning of a sequence.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    /// Tokens ordered so far, which is the position of the next one.
    num_tokens: usize,
    /// Per KV group; none for a sequence that never had pages.
    tables: Vec<PageTable>,
    /// The block that holds the last full page.
    last_block: BlockId,
}

/// A tail page that must be copied before its sequence writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TailCopy {
    pub(crate) kv_idx: usize,
    pub(crate) target: u32,
}

impl Cached {
    /// Nothing yet.
    pub(crate) fn nothing(memory: &Memory) -> Self {
        let tables = vec![PageTable::default(); memory.kv_groups().len()];
        Self { tables, ..Self::default() }
    }

    /// The same past on the same pages.
    pub(crate) fn share(&self, memory: &mut Memory) -> Self {
        Self { tables: memory.share(&self.tables), ..*self }
    }

    pub(crate) fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    pub(crate) fn tables(&self) -> &[PageTable] {
        &self.tables
    }

    /// Takes over what is known of the beginning of `tokens`; nothing is cached before.
    pub(crate) fn begin(&mut self, tokens: &[TokenId], memory: &mut Memory) {
        let beginning = memory.begin(tokens);
        self.num_tokens = beginning.num_tokens;
        self.tables = beginning.tables;
        self.last_block = beginning.last_block;
    }

    /// Gives all pages back; everything has to be computed again.
    pub(crate) fn forget(&mut self, memory: &mut Memory) {
        memory.release_all(&mut self.tables);
        self.num_tokens = 0;
        self.last_block = BlockId::default();
    }

    /// Gives back the pages that no later token can see.
    pub(crate) fn drop_unseen(&mut self, memory: &mut Memory) {
        memory.drop_unseen(&mut self.tables, self.num_tokens);
    }

    /// The page that the next token is written to, if it is there and partly filled.
    pub(crate) fn tail(&self, kv_idx: usize) -> Option<u32> {
        let has_tail = !self.num_tokens.is_multiple_of(PAGE_TOKENS);
        has_tail.then(|| self.tables[kv_idx].page_of(self.num_tokens)).flatten()
    }

    /// Whether others hold the page that the next token is written to.
    pub(crate) fn shares_tail(&self, memory: &Memory) -> bool {
        let is_shared = |kv_idx| self.tail(kv_idx).is_some_and(|it| memory.holders(kv_idx, it) > 1);
        (0..self.tables.len()).any(is_shared)
    }

    /// Gets a page of its own for a tail that others hold too.
    pub(crate) fn split_tail(&mut self, memory: &mut Memory) -> impl Iterator<Item = TailCopy> {
        (0..self.tables.len()).filter_map(move |kv_idx| {
            let tail = self.tail(kv_idx).filter(|tail| memory.holders(kv_idx, *tail) > 1)?;
            let target = memory.take(kv_idx);
            memory.release(kv_idx, tail);
            self.tables[kv_idx].replace_last(target);
            Some(TailCopy { kv_idx, target })
        })
    }

    /// Takes the pages for tokens up to `end`, which are computed next; they were counted before.
    ///
    /// Tells of the pages that become full. Orders are executed one after the other, so a later one
    /// may read what an earlier one writes.
    pub(crate) fn extend(&mut self, tokens: &[TokenId], end: usize, memory: &mut Memory) {
        for (kv_idx, table) in self.tables.iter_mut().enumerate() {
            for _ in 0..table.num_missing(end) {
                table.push(memory.take(kv_idx));
            }
        }
        let blocks = self.num_tokens / PAGE_TOKENS..end / PAGE_TOKENS;
        self.num_tokens = end;
        for start in blocks.map(|block| block * PAGE_TOKENS) {
            let page = &tokens[start..start + PAGE_TOKENS];
            self.last_block = memory.name(self.last_block, page, start, &self.tables);
        }
    }
}
