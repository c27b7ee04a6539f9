//! Whether any chain stays within a limit: the cheaper of the two walks.
//!
//! Costs only grow with a stage, so of the chains that end at a node the one that has covered most
//! units is at least as good as any other: one number for each node. That holds as long as nothing is
//! lost when a device has nothing left to do: where links differ, or the last device must be another
//! than the first, see [`relay`].

use super::{
    limits::Reach,
    problem::{Chain, Problem},
    relay,
};

/// The most units that a chain to each node covers, no device or link being busy longer than
/// allowed.
struct Furthest {
    reach: Reach,
    covered: Vec<usize>,
}

/// Whether there is a chain in which nothing is busy for longer than `limit_s`.
///
/// Takes time in the number of edges of the space, and in classes times units for the tables.
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
    /// Units covered when a device of a class follows a chain.
    fn behind(&self, problem: &Problem<'_>, pred: usize, class_idx: usize) -> usize {
        let covered = self.covered[pred];
        let way_idx = problem.ways.way(problem.space.nodes[pred].class_idx, class_idx);
        // Nothing is left to do, or nothing was done.
        match self.reach.ends(class_idx, way_idx).get(covered) {
            Some(end) if covered > 0 && *end > covered => *end,
            _ => 0,
        }
    }
}
