//! Merges neighbours while the result is a token: the best score first, and the leftmost among
//! equals.

use std::{cmp::Ordering, collections::BinaryHeap, ops::Range};

/// A run of bytes that may merge with its neighbours. Symbols form a list through indices.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A possible merge. Stale once one of its symbols has changed its length.
#[derive(Debug, PartialEq)]
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Eq for Merge {}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Merges the pieces that begin at `starts`, in ascending order, and end at `end`; returns the
/// remaining ones in order.
///
/// `score` rates the token of a range of bytes; `None` if the range is no token.
pub(super) fn merge(
    starts: impl Iterator<Item = usize>,
    end: usize,
    score: impl Fn(Range<usize>) -> Option<f32>,
) -> Vec<Range<usize>> {
    let mut list = List::new(starts, end);
    let mut merges = BinaryHeap::new();
    for left in 0..list.symbols.len().saturating_sub(1) {
        merges.extend(list.proposal(left, &score));
    }
    while let Some(best) = merges.pop() {
        if !list.is_fresh(&best) {
            continue;
        }
        let previous = list.join(&best);
        if let Some(previous) = previous {
            merges.extend(list.proposal(previous, &score));
        }
        merges.extend(list.proposal(best.left, &score));
    }
    list.pieces()
}

struct List {
    symbols: Vec<Symbol>,
}

impl List {
    fn new(starts: impl Iterator<Item = usize>, end: usize) -> Self {
        let mut symbols: Vec<Symbol> = starts
            .enumerate()
            .map(|(idx, start)| Symbol {
                start,
                len: 0,
                previous: idx.checked_sub(1),
                next: Some(idx + 1),
            })
            .collect();
        for idx in 0..symbols.len() {
            let next_start = symbols.get(idx + 1).map_or(end, |next| next.start);
            symbols[idx].len = next_start - symbols[idx].start;
        }
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        Self { symbols }
    }

    /// Returns the merge of a symbol with its right neighbour, if the result is a token.
    fn proposal(&self, left: usize, score: impl Fn(Range<usize>) -> Option<f32>) -> Option<Merge> {
        let right = self.symbols[left].next?;
        let start = self.symbols[left].start;
        let len = self.symbols[left].len + self.symbols[right].len;
        Some(Merge { score: score(start..start + len)?, left, right, len })
    }

    /// Consumed symbols have no length, so a stale merge never has the right sum.
    fn is_fresh(&self, merge: &Merge) -> bool {
        let (left, right) = (&self.symbols[merge.left], &self.symbols[merge.right]);
        left.next == Some(merge.right)
            && left.len > 0
            && right.len > 0
            && left.len + right.len == merge.len
    }

    /// Merges; returns the symbol before.
    fn join(&mut self, merge: &Merge) -> Option<usize> {
        let next = self.symbols[merge.right].next;
        self.symbols[merge.left].len = merge.len;
        self.symbols[merge.left].next = next;
        self.symbols[merge.right].len = 0;
        if let Some(next) = next {
            self.symbols[next].previous = Some(merge.left);
        }
        self.symbols[merge.left].previous
    }

    /// Returns the remaining pieces; the list starts at index zero.
    fn pieces(&self) -> Vec<Range<usize>> {
        let mut pieces = Vec::new();
        let mut at = Some(0);
        while let Some(symbol) = at.and_then(|at| self.symbols.get(at)) {
            pieces.push(symbol.start..symbol.start + symbol.len);
            at = symbol.next;
        }
        pieces
    }
}
