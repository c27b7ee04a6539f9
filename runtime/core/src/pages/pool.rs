//! Pages of KV cache: who holds which, counted.
//!
//! One pool per KV group; the ids mean the same page on every stage, so stages keep no allocator.

use std::collections::BTreeMap;

use super::prefix::BlockId;

/// The pages of one KV group, with a count of holders each.
///
/// A page that nobody holds is free, or kept for its contents until it is needed: the one that was
/// let go first is taken first.
#[derive(Debug)]
pub(crate) struct PagePool {
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
pub(crate) struct Taken {
    pub(crate) page: u32,
    pub(crate) lost: Option<BlockId>,
}

impl PagePool {
    pub(crate) fn new(num_pages: usize) -> Self {
        let num_pages = u32::try_from(num_pages).unwrap_or(u32::MAX);
        Self {
            pages: vec![Page::default(); num_pages as usize],
            free: (0..num_pages).rev().collect(),
            kept: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Pages that can be taken.
    pub(crate) fn num_available(&self) -> usize {
        self.free.len() + self.kept.len()
    }

    /// Pages that nobody holds, but that are kept for their contents.
    pub(crate) fn num_kept(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn holders(&self, page: u32) -> u32 {
        self.pages[page as usize].holders
    }

    /// Takes a page that nobody holds, if there is one.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        let free = self.free.pop().or_else(|| self.kept.pop_first().map(|(_, page)| page));
        let page = free?;
        let state = &mut self.pages[page as usize];
        state.holders = 1;
        Some(Taken { page, lost: state.block.take() })
    }

    /// Adds a holder to a page that is held or kept.
    pub(crate) fn share(&mut self, page: u32) {
        let state = &mut self.pages[page as usize];
        if state.holders == 0 {
            let kept = self.kept.remove(&state.let_go);
            debug_assert_eq!(kept, Some(page), "only held and kept pages are shared");
        }
        state.holders += 1;
    }

    /// Drops one holder; without any, the page is kept if its contents are known, and else free.
    pub(crate) fn release(&mut self, page: u32) {
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
    pub(crate) fn name(&mut self, page: u32, block: BlockId) {
        self.pages[page as usize].block = Some(block);
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
}
