//! Tests whether any chain stays within a limit, where a device may be useful only as a relay.
//!
//! A device in between may have a better link to the next one, or may be needed for the head to
//! return from another device. Then the chain that covers the most units is not always the best to
//! continue, so a bit set records every end that chains can have.

use super::{
    limits::Reach,
    problem::{Chain, Problem},
};

/// The possible ends of chains at each node, with no device or link busy for longer than allowed.
struct Ends<'a> {
    problem: &'a Problem<'a>,
    reach: Reach,
    /// Per node, one bit for each number of covered units.
    sets: Vec<u64>,
    num_words: usize,
}

/// Returns whether there is a chain within the limits of `reach`.
///
/// Takes time linear in the edges of the space, plus nodes times units.
pub(super) fn is_feasible(problem: &Problem<'_>, chain: &Chain, reach: Reach) -> bool {
    let num_words = chain.end / 64 + 1;
    let sets = vec![0; problem.space.nodes.len() * num_words];
    let mut ends = Ends { problem, reach, sets, num_words };
    let mut may_cut = vec![0; num_words];
    for end in (1..=chain.end).filter(|end| problem.setting.may_cut[*end]) {
        may_cut[end / 64] |= 1 << (end % 64);
    }
    for (node_idx, node) in problem.space.nodes.iter().enumerate() {
        ends.fill(node_idx, &may_cut);
        let is_end = ends.has(node_idx, chain.end) && node.num_devices >= problem.min_devices;
        if is_end && chain.may_end(problem, node_idx) {
            return true;
        }
    }
    false
}

impl Ends<'_> {
    fn has(&self, node_idx: usize, end: usize) -> bool {
        self.sets[node_idx * self.num_words + end / 64] >> (end % 64) & 1 == 1
    }

    fn fill(&mut self, node_idx: usize, may_cut: &[u64]) {
        let Problem { space, ways, .. } = self.problem;
        let node = &space.nodes[node_idx];
        let (done, rest) = self.sets.split_at_mut(node_idx * self.num_words);
        let target = &mut rest[..self.num_words];
        if node.is_first {
            set(target, 1, self.reach.first[node.class_idx]);
        }
        let mut before = vec![0; self.num_words];
        for way_idx in 0..ways.into[node.class_idx].len() {
            before.fill(0);
            for pred in space.preds(node) {
                if ways.way(space.nodes[pred].class_idx, node.class_idx) == way_idx {
                    let words = &done[pred * self.num_words..(pred + 1) * self.num_words];
                    before.iter_mut().zip(words).for_each(|(all, word)| *all |= word);
                }
            }
            let longest = self.reach.ends(node.class_idx, way_idx);
            // A later start reaches at least as far.
            let mut filled = 0;
            for start in bits(&before).filter(|start| *start < longest.len()) {
                set(target, (start + 1).max(filled + 1), longest[start]);
                filled = filled.max(longest[start]);
            }
        }
        target.iter_mut().zip(may_cut).for_each(|(word, may)| *word &= may);
    }
}

/// Sets the bits `first..=last`.
fn set(words: &mut [u64], first: usize, last: usize) {
    for bit in first..=last {
        words[bit / 64] |= 1 << (bit % 64);
    }
}

/// Returns the set bits in order.
fn bits(words: &[u64]) -> impl Iterator<Item = usize> + '_ {
    words.iter().enumerate().flat_map(|(word_idx, word)| {
        let mut left = *word;
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                word_idx * 64 + bit
            })
        })
    })
}
