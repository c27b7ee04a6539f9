//! All pages of all KV groups, and what is known of their contents.

use sluicegate_spec::{config::KvGroup, kv::PAGE_TOKENS, units::TokenId};

use super::{
    pool::PagePool,
    prefix::{BlockId, Prefixes},
    table::PageTable,
};

/// Hands out pages, in every KV group alike.
#[derive(Debug)]
pub(crate) struct Memory {
    kv_groups: Vec<KvGroup>,
    pools: Vec<PagePool>,
    prefixes: Option<Prefixes>,
}

/// The beginning of a sequence that need not be computed.
#[derive(Debug)]
pub(crate) struct Beginning {
    pub(crate) num_tokens: usize,
    pub(crate) last_block: BlockId,
    pub(crate) tables: Vec<PageTable>,
}

impl Memory {
    /// So many pages for each KV group. Full ones are kept for sequences that begin alike if it
    /// `shares_prefixes`.
    pub(crate) fn new(
        kv_groups: &[KvGroup],
        pages_per_group: &[usize],
        shares_prefixes: bool,
    ) -> Self {
        Self {
            kv_groups: kv_groups.to_vec(),
            pools: pages_per_group.iter().map(|num| PagePool::new(*num)).collect(),
            prefixes: shares_prefixes.then(Prefixes::default),
        }
    }

    pub(crate) fn kv_groups(&self) -> &[KvGroup] {
        &self.kv_groups
    }

    /// Pages of each KV group that can be taken.
    pub(crate) fn num_available(&self) -> Vec<usize> {
        self.pools.iter().map(PagePool::num_available).collect()
    }

    /// Pages of each KV group that are kept for their contents alone.
    pub(crate) fn num_kept(&self) -> Vec<usize> {
        self.pools.iter().map(PagePool::num_kept).collect()
    }

    /// How many tables a page is in.
    pub(crate) fn holders(&self, kv_idx: usize, page: u32) -> u32 {
        self.pools[kv_idx].holders(page)
    }

    /// Takes a page that was counted as available.
    pub(crate) fn take(&mut self, kv_idx: usize) -> u32 {
        let taken = self.pools[kv_idx].take().expect("pages are counted before they are taken");
        if let (Some(block), Some(prefixes)) = (taken.lost, &mut self.prefixes) {
            prefixes.forget(block, kv_idx);
        }
        taken.page
    }

    pub(crate) fn release(&mut self, kv_idx: usize, page: u32) {
        self.pools[kv_idx].release(page);
    }

    /// Tables of the same pages.
    pub(crate) fn share(&mut self, tables: &[PageTable]) -> Vec<PageTable> {
        tables.iter().zip(&mut self.pools).map(|(table, pool)| table.share(pool)).collect()
    }

    pub(crate) fn release_all(&mut self, tables: &mut [PageTable]) {
        tables.iter_mut().zip(&mut self.pools).for_each(|(table, pool)| table.release(pool));
    }

    /// Gives back what no query at `next_position` or later can see.
    pub(crate) fn drop_unseen(&mut self, tables: &mut [PageTable], next_position: usize) {
        let groups = self.kv_groups.iter().zip(&mut self.pools);
        for (table, (kv_group, pool)) in tables.iter_mut().zip(groups) {
            table.drop_unseen(*kv_group, next_position, pool);
        }
    }

    /// The longest beginning of `tokens` whose pages are there, which the caller now holds.
    pub(crate) fn begin(&mut self, tokens: &[TokenId]) -> Beginning {
        let Some(prefixes) = &self.prefixes else {
            let tables = vec![PageTable::default(); self.pools.len()];
            return Beginning { num_tokens: 0, last_block: BlockId::ROOT, tables };
        };
        let known = prefixes.find(tokens, &self.kv_groups);
        let tables = known.tables.into_iter().zip(&mut self.pools);
        let tables = tables
            .map(|((num_dropped, pages), pool)| PageTable::new(num_dropped, pages).share(pool))
            .collect();
        let num_tokens = known.num_blocks * PAGE_TOKENS;
        Beginning { num_tokens, last_block: known.last, tables }
    }

    /// Takes note of what the page from `position` on holds: `tokens`, a page full of them, after
    /// the block `before`.
    pub(crate) fn name(
        &mut self,
        before: BlockId,
        tokens: &[TokenId],
        position: usize,
        tables: &[PageTable],
    ) -> BlockId {
        let Some(prefixes) = &mut self.prefixes else { return BlockId::ROOT };
        let pages: Vec<Option<u32>> = tables.iter().map(|table| table.page_of(position)).collect();
        let (block, taken) = prefixes.insert(before, tokens, &pages);
        for kv_idx in taken {
            if let Some(page) = pages[kv_idx] {
                self.pools[kv_idx].name(page, block);
            }
        }
        block
    }
}
