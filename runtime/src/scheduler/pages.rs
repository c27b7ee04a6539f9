//! Pages of KV cache: who holds which, counted.
//!
//! One pool per KV group; the ids mean the same page on every stage, so stages keep no allocator.

use sluicegate_model::{config::KvGroup, step::PAGE_TOKENS};

/// The pages of one KV group, with a count of holders each.
#[derive(Debug)]
pub struct PagePool {
    holders: Vec<u32>,
    free: Vec<u32>,
}

impl PagePool {
    pub fn new(num_pages: usize) -> Self {
        let num_pages = u32::try_from(num_pages).unwrap_or(u32::MAX);
        Self { holders: vec![0; num_pages as usize], free: (0..num_pages).rev().collect() }
    }

    pub fn num_free(&self) -> usize {
        self.free.len()
    }

    pub fn num_pages(&self) -> usize {
        self.holders.len()
    }

    /// Takes a free page, if there is one.
    pub fn take(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.holders[page as usize] = 1;
        Some(page)
    }

    /// Adds a holder to a page that is held already.
    pub fn share(&mut self, page: u32) {
        let holders = &mut self.holders[page as usize];
        debug_assert!(*holders > 0, "only held pages are shared");
        *holders += 1;
    }

    /// Drops one holder; the last one frees the page.
    pub fn release(&mut self, page: u32) {
        let holders = &mut self.holders[page as usize];
        debug_assert!(*holders > 0, "only held pages are released");
        *holders -= 1;
        if *holders == 0 {
            self.free.push(page);
        }
    }
}

/// The pages of one sequence in one KV group, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageTable {
    /// Pages dropped from the front, because their positions have left the window.
    pub num_dropped: usize,
    pub pages: Vec<u32>,
}

impl PageTable {
    /// Position of the first slot still held.
    pub fn first_position(&self) -> usize {
        self.num_dropped * PAGE_TOKENS
    }

    /// Pages to take before positions up to `end` (exclusive) fit.
    pub fn num_missing(&self, end: usize) -> usize {
        end.div_ceil(PAGE_TOKENS).saturating_sub(self.num_dropped + self.pages.len())
    }

    /// The page that holds `position`, if it is held.
    pub fn page_of(&self, position: usize) -> Option<u32> {
        let page_idx = (position / PAGE_TOKENS).checked_sub(self.num_dropped)?;
        self.pages.get(page_idx).copied()
    }

    /// Gives back the pages that no query at `next_position` or later can see.
    pub fn drop_unseen(&mut self, group: KvGroup, next_position: usize, pool: &mut PagePool) {
        let KvGroup::Window(window) = group else { return };
        let first_seen = (next_position + 1).saturating_sub(window);
        let num_unseen = (first_seen / PAGE_TOKENS).saturating_sub(self.num_dropped);
        for page in self.pages.drain(..num_unseen.min(self.pages.len())) {
            pool.release(page);
            self.num_dropped += 1;
        }
    }

    /// Gives everything back.
    pub fn release(&mut self, pool: &mut PagePool) {
        for page in self.pages.drain(..) {
            pool.release(page);
        }
    }
}

/// Pages that one row of `tokens` tokens holds at most, when at most `chunk` are added at once.
pub fn max_pages(group: KvGroup, tokens: usize, chunk: usize) -> usize {
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
    fn a_shared_page_is_freed_by_its_last_holder() {
        let mut pool = PagePool::new(2);
        let page = pool.take().expect("two pages are free");
        pool.share(page);
        pool.release(page);
        assert_eq!(pool.num_free(), 1);
        pool.release(page);
        assert_eq!(pool.num_free(), 2);
    }

    #[test]
    fn a_window_gives_back_the_pages_that_it_has_left() {
        let mut pool = PagePool::new(8);
        let mut table = PageTable::default();
        table.pages.extend((0..4).filter_map(|_| pool.take()));
        // A query at 40 with window 8 sees 33..=40: pages 0 and 1 (positions 0..32) are unseen.
        table.drop_unseen(KvGroup::Window(8), 40, &mut pool);
        assert_eq!((table.num_dropped, table.pages.len(), pool.num_free()), (2, 2, 6));
        assert_eq!(table.first_position(), 32);
        assert_eq!(table.page_of(31), None);
        assert_eq!(table.page_of(33), Some(table.pages[0]));
        table.drop_unseen(KvGroup::Full, 1000, &mut pool);
        assert_eq!(table.pages.len(), 2, "a full group keeps all");
    }
}
