//! Tests whether any chain stays within a limit, by the cheaper of two walks.
//!
//! Costs only grow with a stage's length. So among the chains that end at a node, the one that
//! covers the most units is at least as good as any other, and one number per node suffices. This
//! holds only if an idle device loses nothing. Where links differ, or the last device must differ
//! from the first, see [`relay`].

use super::{
    limits::Reach,
    problem::{Chain, Problem},
    relay,
};

/// For each node, the most units covered by a chain in which no device or link is busy for longer
/// than allowed.
struct Furthest {
    reach: Reach,
    covered: Vec<usize>,
}

/// Returns whether there is a chain in which nothing is busy for longer than `limit_s`.
///
/// Takes time linear in the edges of the space; the tables take classes times units.
pub(super) fn is_feasible(problem: &Problem<'_>, chain: &Chain, limit_s: f64) -> bool {
    if chain.back.is_some_and(|back| back.link_s > limit_s) {
        return false;
    }
    let reach = Reach::new(problem, chain, limit_s);
    // Without a limit no link is too slow.
    let are_alike = problem.ways.are_uniform() || limit_s == f64::INFINITY;
    let may_idle = are_alike && chain.back.is_none() && problem.min_devices <= 1;
    if !may_idle {
        return relay::is_feasible(problem, chain, reach);
    }
    let space = problem.space;
    let mut furthest = Furthest { reach, covered: Vec::with_capacity(space.nodes.len()) };
    for node in &space.nodes {
        let mut covered = if node.is_first { furthest.reach.first[node.class_idx] } else { 0 };
        for pred in space.preds(node) {
            covered = covered.max(furthest.behind(problem, pred, node.class_idx));
        }
        if covered == chain.end {
            return true;
        }
        furthest.covered.push(covered);
    }
    false
}

impl Furthest {
    /// Returns the units covered after a device of a class joins a chain.
    fn behind(&self, problem: &Problem<'_>, pred: usize, class_idx: usize) -> usize {
        let covered = self.covered[pred];
        let way_idx = problem.ways.way(problem.space.nodes[pred].class_idx, class_idx);
        // Zero if nothing is left to cover, or nothing is covered yet.
        match self.reach.ends(class_idx, way_idx).get(covered) {
            Some(end) if covered > 0 && *end > covered => *end,
            _ => 0,
        }
    }
}
