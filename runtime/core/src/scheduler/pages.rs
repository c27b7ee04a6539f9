//! Pages of KV cache: who holds which, counted.
//!
//! One pool per KV group; the ids mean the same page on every stage, so stages keep no allocator.

use std::collections::BTreeMap;

use sluicegate_spec::{config::KvGroup, kv::PAGE_TOKENS};

use super::prefix::BlockId;

/// The pages of one KV group, with a count of holders each.
///
/// A page that nobody holds is free, or kept for its contents until it is needed: the one that was
/// let go first is taken first.
#[derive(Debug)]
pub struct PagePool {
    pages: Vec<Page>,
    free: Vec<u32>,
    /// Pages without holders that hold a known block, by the time at which they were let go.
    kept: BTreeMap<u64, u32>,
    clock: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Page {
    holders: u32,
    block: Option<BlockId>,
    let_go: u64,
}

/// A page that was taken, and the block whose contents are lost by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub page: u32,
    pub lost: Option<BlockId>,
}

impl PagePool {
    pub fn new(num_pages: usize) -> Self {
        let num_pages = u32::try_from(num_pages).unwrap_or(u32::MAX);
        Self {
            pages: vec![Page::default(); num_pages as usize],
            free: (0..num_pages).rev().collect(),
            kept: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Pages that can be taken.
    pub fn num_available(&self) -> usize {
        self.free.len() + self.kept.len()
    }

    /// Pages that nobody holds, but that are kept for their contents.
    pub fn num_kept(&self) -> usize {
        self.kept.len()
    }

    pub fn num_pages(&self) -> usize {
        self.pages.len()
    }

    pub fn holders(&self, page: u32) -> u32 {
        self.pages[page as usize].holders
    }

    /// Takes a page that nobody holds, if there is one.
    pub fn take(&mut self) -> Option<Taken> {
        let free = self.free.pop().or_else(|| self.kept.pop_first().map(|(_, page)| page));
        let page = free?;
        let state = &mut self.pages[page as usize];
        state.holders = 1;
        Some(Taken { page, lost: state.block.take() })
    }

    /// Adds a holder to a page that is held or kept.
    pub fn share(&mut self, page: u32) {
        let state = &mut self.pages[page as usize];
        if state.holders == 0 {
            let kept = self.kept.remove(&state.let_go);
            debug_assert_eq!(kept, Some(page), "only held and kept pages are shared");
        }
        state.holders += 1;
    }

    /// Drops one holder; without any, the page is kept if its contents are known, and else free.
    pub fn release(&mut self, page: u32) {
        let state = &mut self.pages[page as usize];
        debug_assert!(state.holders > 0, "only held pages are released");
        state.holders -= 1;
        if state.holders > 0 {
            return;
        }
        if state.block.is_none() {
            return self.free.push(page);
        }
        self.clock += 1;
        state.let_go = self.clock;
        self.kept.insert(self.clock, page);
    }

    /// Says what a held page holds.
    pub(super) fn name(&mut self, page: u32, block: BlockId) {
        self.pages[page as usize].block = Some(block);
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
        let num_unseen = num_unseen(group, next_position).saturating_sub(self.num_dropped);
        for page in self.pages.drain(..num_unseen.min(self.pages.len())) {
            pool.release(page);
            self.num_dropped += 1;
        }
    }

    /// Another table of the same pages.
    #[must_use]
    pub fn share(&self, pool: &mut PagePool) -> Self {
        for page in &self.pages {
            pool.share(*page);
        }
        self.clone()
    }

    /// Gives everything back, the end first: what begins more sequences is kept longer.
    pub fn release(&mut self, pool: &mut PagePool) {
        self.pages.drain(..).rev().for_each(|page| pool.release(page));
        self.num_dropped = 0;
    }
}

/// Pages at the beginning of a sequence that no query at `next_position` or later can see.
pub fn num_unseen(group: KvGroup, next_position: usize) -> usize {
    match group {
        KvGroup::Full => 0,
        KvGroup::Window(window) => (next_position + 1).saturating_sub(window) / PAGE_TOKENS,
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
        let page = pool.take().expect("two pages are free").page;
        pool.share(page);
        pool.release(page);
        assert_eq!(pool.num_available(), 1);
        pool.release(page);
        assert_eq!(pool.num_available(), 2);
    }

    #[test]
    fn known_pages_are_kept_until_others_are_needed_and_the_oldest_goes_first() {
        let mut pool = PagePool::new(3);
        let pages: Vec<u32> = (0..3).filter_map(|_| pool.take()).map(|taken| taken.page).collect();
        pool.name(pages[0], BlockId(7));
        pool.name(pages[1], BlockId(8));
        for page in [pages[1], pages[0], pages[2]] {
            pool.release(page);
        }
        assert_eq!((pool.num_available(), pool.num_kept()), (3, 2));
        assert_eq!(pool.take(), Some(Taken { page: pages[2], lost: None }));
        pool.share(pages[1]);
        assert_eq!(pool.take(), Some(Taken { page: pages[0], lost: Some(BlockId(7)) }));
        assert_eq!(pool.take(), None, "the other one is held again");
        pool.release(pages[1]);
        assert_eq!(pool.take(), Some(Taken { page: pages[1], lost: Some(BlockId(8)) }));
    }

    #[test]
    fn a_window_gives_back_the_pages_that_it_has_left() {
        let mut pool = PagePool::new(8);
        let mut table = PageTable::default();
        table.pages.extend((0..4).filter_map(|_| pool.take()).map(|taken| taken.page));
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
