//! Which pages hold which beginnings of sequences, so that others need not compute them again.
//!
//! A block is a page full of tokens after a certain beginning: its name is the block before it and
//! its own tokens, compared as they are, so that no two beginnings are ever taken for each other.

use std::collections::{BTreeMap, HashMap};

use sluicegate_spec::{config::KvGroup, kv::PAGE_TOKENS, units::TokenId};

use super::table::num_unseen;

/// Number of a block; [`BlockId::ROOT`] is the beginning of every sequence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlockId(pub(crate) u64);

impl BlockId {
    pub(crate) const ROOT: Self = Self(0);
}

type Tokens = [TokenId; PAGE_TOKENS];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    before: BlockId,
    tokens: Tokens,
}

#[derive(Debug)]
struct Block {
    name: Name,
    /// Per KV group, where it is still there.
    pages: Vec<Option<u32>>,
}

/// The known blocks and their pages. Holds no page: whoever takes one says so with
/// [`Prefixes::forget`].
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    ids: HashMap<Name, BlockId>,
    blocks: BTreeMap<BlockId, Block>,
    last_id: u64,
}

/// The longest known beginning of a sequence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) num_blocks: usize,
    pub(crate) last: BlockId,
    /// Per KV group: blocks left out at the front, and the pages of the others.
    pub(crate) tables: Vec<(usize, Vec<u32>)>,
}

impl Prefixes {
    /// Looks `tokens` up, but for the last one, which must be computed to have logits.
    pub(crate) fn find(&self, tokens: &[TokenId], kv_groups: &[KvGroup]) -> Known {
        let wanted = tokens.len().saturating_sub(1) / PAGE_TOKENS;
        let mut ids = vec![BlockId::ROOT];
        for chunk in tokens.chunks_exact(PAGE_TOKENS).take(wanted) {
            let name = name(ids[ids.len() - 1], chunk);
            match self.ids.get(&name) {
                Some(id) => ids.push(*id),
                None => break,
            }
        }
        let longest = (0..ids.len()).rev().find_map(|num_blocks| {
            let tables = kv_groups.iter().enumerate().map(|(kv_idx, kv_group)| {
                let num_dropped = num_unseen(*kv_group, num_blocks * PAGE_TOKENS).min(num_blocks);
                let pages = ids[1 + num_dropped..=num_blocks].iter();
                let pages: Option<Vec<u32>> = pages.map(|id| self.page(*id, kv_idx)).collect();
                Some((num_dropped, pages?))
            });
            let tables = tables.collect::<Option<_>>()?;
            Some(Known { num_blocks, last: ids[num_blocks], tables })
        });
        longest.expect("the empty beginning is known to all")
    }

    /// Takes note of a full page in every KV group; returns the block, and the KV groups whose page
    /// now belongs to it. Where the block is known already, its pages stay what they are.
    pub(crate) fn insert(
        &mut self,
        before: BlockId,
        tokens: &[TokenId],
        pages: &[Option<u32>],
    ) -> (BlockId, Vec<usize>) {
        let name = name(before, tokens);
        let id = *self.ids.entry(name).or_insert_with(|| {
            self.last_id += 1;
            BlockId(self.last_id)
        });
        let unknown = || Block { name, pages: vec![None; pages.len()] };
        let block = self.blocks.entry(id).or_insert_with(unknown);
        let mut taken = Vec::new();
        for (kv_idx, (known, page)) in block.pages.iter_mut().zip(pages).enumerate() {
            if known.is_none() && page.is_some() {
                *known = *page;
                taken.push(kv_idx);
            }
        }
        (id, taken)
    }

    /// Takes note that a block's page in a KV group was taken for something else.
    pub(crate) fn forget(&mut self, id: BlockId, kv_idx: usize) {
        let Some(block) = self.blocks.get_mut(&id) else { return };
        block.pages[kv_idx] = None;
        if block.pages.iter().all(Option::is_none) {
            self.ids.remove(&block.name);
            self.blocks.remove(&id);
        }
    }

    fn page(&self, id: BlockId, kv_idx: usize) -> Option<u32> {
        self.blocks.get(&id)?.pages[kv_idx]
    }
}

fn name(before: BlockId, tokens: &[TokenId]) -> Name {
    Name { before, tokens: tokens.try_into().expect("a block is a full page") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: [KvGroup; 2] = [KvGroup::Full, KvGroup::Window(20)];

    /// Three blocks of two KV groups on pages 0 to 2 and 10 to 12.
    fn three_blocks() -> (Prefixes, Vec<TokenId>, Vec<BlockId>) {
        let tokens: Vec<TokenId> = (0..50).collect();
        let mut prefixes = Prefixes::default();
        let mut ids = vec![BlockId::ROOT];
        for (page, chunk) in (0..).zip(tokens.chunks_exact(PAGE_TOKENS)) {
            let pages = [Some(page), Some(page + 10)];
            let (id, taken) = prefixes.insert(ids[ids.len() - 1], chunk, &pages);
            assert_eq!(taken, [0, 1]);
            ids.push(id);
        }
        (prefixes, tokens, ids)
    }

    #[test]
    fn the_longest_beginning_is_found_but_for_the_last_token() {
        let (prefixes, tokens, ids) = three_blocks();
        let check = |tokens: &[TokenId], num_blocks: usize, tables: [(usize, &[u32]); 2]| {
            let known = prefixes.find(tokens, &GROUPS);
            let tables = tables.map(|(dropped, pages)| (dropped, pages.to_vec())).to_vec();
            assert_eq!(known, Known { num_blocks, last: ids[num_blocks], tables });
        };
        // A query at 48 sees 29..=48 in the window: the first page is out of it.
        check(&tokens, 3, [(0, &[0, 1, 2]), (1, &[11, 12])]);
        check(&tokens[..49], 3, [(0, &[0, 1, 2]), (1, &[11, 12])]);
        check(&tokens[..48], 2, [(0, &[0, 1]), (0, &[10, 11])]);
        check(&tokens[1..], 0, [(0, &[]), (0, &[])]);
        check(&[], 0, [(0, &[]), (0, &[])]);
    }

    #[test]
    fn a_page_that_is_gone_ends_what_needs_it() {
        let (mut prefixes, tokens, ids) = three_blocks();
        // Only the window's first page: the whole is still there.
        prefixes.forget(ids[1], 1);
        assert_eq!(prefixes.find(&tokens, &GROUPS).num_blocks, 3);
        assert_eq!(prefixes.find(&tokens[..40], &GROUPS).num_blocks, 0);
        prefixes.forget(ids[3], 0);
        assert_eq!(prefixes.find(&tokens, &GROUPS).num_blocks, 0);
        // The block comes back with another page, and is the same one.
        let (id, taken) = prefixes.insert(ids[2], &tokens[32..48], &[Some(7), Some(17)]);
        assert_eq!((id, &taken[..]), (ids[3], &[0][..]));
        let known = prefixes.find(&tokens, &GROUPS);
        assert_eq!(known.tables, [(0, vec![0, 1, 7]), (1, vec![11, 12])]);
    }
}
