//! The pages of one sequence.

use std::sync::Arc;

use sluicegate_spec::{config::KvGroup, kv::PAGE_TOKENS};

use super::pool::PagePool;

/// The pages of one sequence in one KV group, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PageTable {
    /// Pages dropped from the front, because their positions have left the window.
    num_dropped: usize,
    /// Shared with the orders that name them.
    pages: Arc<Vec<u32>>,
}

impl PageTable {
    /// Pages behind so many that are not needed any more.
    pub(crate) fn new(num_dropped: usize, pages: Vec<u32>) -> Self {
        Self { num_dropped, pages: Arc::new(pages) }
    }

    /// The pages that are held.
    pub(crate) fn pages(&self) -> &Arc<Vec<u32>> {
        &self.pages
    }

    /// Adds a page.
    pub(crate) fn push(&mut self, page: u32) {
        Arc::make_mut(&mut self.pages).push(page);
    }

    /// Puts another page in the place of the last one.
    pub(crate) fn replace_last(&mut self, page: u32) {
        if let Some(last) = Arc::make_mut(&mut self.pages).last_mut() {
            *last = page;
        }
    }

    /// Position of the first slot still held.
    pub(crate) fn first_position(&self) -> usize {
        self.num_dropped * PAGE_TOKENS
    }

    /// Pages to take before positions up to `end` (exclusive) fit.
    pub(crate) fn num_missing(&self, end: usize) -> usize {
        end.div_ceil(PAGE_TOKENS).saturating_sub(self.num_dropped + self.pages.len())
    }

    /// The page that holds `position`, if it is held.
    pub(crate) fn page_of(&self, position: usize) -> Option<u32> {
        let page_idx = (position / PAGE_TOKENS).checked_sub(self.num_dropped)?;
        self.pages.get(page_idx).copied()
    }

    /// Gives back the pages that no query at `next_position` or later can see.
    pub(crate) fn drop_unseen(
        &mut self,
        group: KvGroup,
        next_position: usize,
        pool: &mut PagePool,
    ) {
        let num_unseen = num_unseen(group, next_position).saturating_sub(self.num_dropped);
        let num_unseen = num_unseen.min(self.pages.len());
        if num_unseen == 0 {
            return;
        }
        for page in Arc::make_mut(&mut self.pages).drain(..num_unseen) {
            pool.release(page);
        }
        self.num_dropped += num_unseen;
    }

    /// Another table of the same pages.
    #[must_use]
    pub(crate) fn share(&self, pool: &mut PagePool) -> Self {
        for page in &*self.pages {
            pool.share(*page);
        }
        Self::new(self.num_dropped, self.pages.to_vec())
    }

    /// Gives everything back, the end first: what begins more sequences is kept longer.
    pub(crate) fn release(&mut self, pool: &mut PagePool) {
        let Self { pages, .. } = std::mem::take(self);
        pages.iter().rev().for_each(|page| pool.release(*page));
    }
}

/// Pages at the beginning of a sequence that no query at `next_position` or later can see.
pub(crate) fn num_unseen(group: KvGroup, next_position: usize) -> usize {
    match group {
        KvGroup::Full => 0,
        KvGroup::Window(window) => (next_position + 1).saturating_sub(window) / PAGE_TOKENS,
    }
}

/// Pages that one row of `tokens` tokens holds at most, when at most `chunk` are added at once.
pub(crate) fn max_pages(group: KvGroup, tokens: usize, chunk: usize) -> usize {
    let whole = tokens.div_ceil(PAGE_TOKENS);
    match group {
        KvGroup::Full => whole,
        // A window not aligned to pages touches one page more, and the chunk comes on top.
        KvGroup::Window(window) => whole.min((window + chunk).div_ceil(PAGE_TOKENS) + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_gives_back_the_pages_that_it_has_left() {
        let mut pool = PagePool::new(8);
        let pages = (0..4).filter_map(|_| pool.take()).map(|taken| taken.page);
        let mut table = PageTable::new(0, pages.collect());
        // A query at 40 with window 8 sees 33..=40: pages 0 and 1 (positions 0..32) are unseen.
        table.drop_unseen(KvGroup::Window(8), 40, &mut pool);
        assert_eq!((table.num_dropped, table.pages.len(), pool.num_available()), (2, 2, 6));
        assert_eq!(table.first_position(), 32);
        assert_eq!(table.page_of(31), None);
        assert_eq!(table.page_of(33), Some(table.pages[0]));
        table.drop_unseen(KvGroup::Full, 1000, &mut pool);
        assert_eq!(table.pages.len(), 2, "a full group keeps all");
    }
}
