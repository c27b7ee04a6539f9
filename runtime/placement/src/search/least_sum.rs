//! Finds the chain with the least sum of times among those that stay within a limit.
//!
//! A sum depends on where each cut lies, so the covered units are part of the state: there are
//! nodes times units sums, and each edge takes a pass over all stages. A chain is not continued if
//! its sum so far plus a bound of the [`rest`](super::rest) exceeds the limit; that prunes most of
//! the sums.

use std::ops::Range;

use sluicegate_spec::units::UnitRange;

use super::{
    limits::Reach,
    problem::{Chain, Path, Problem},
    rest::Rest,
};

/// The sums, kept between walks to reuse their memory.
#[derive(Debug, Default)]
pub(super) struct LeastSum {
    /// Per node and number of covered units: the least sum of a chain up to there. Entries outside
    /// `live` are left over from another walk.
    sums: Vec<f64>,
    /// Per node: the range of covered units for which a chain is worth continuing.
    live: Vec<Range<usize>>,
    width: usize,
}

impl LeastSum {
    /// Finds the chain with the least sum in which nothing is busy for longer than `limit_s`, if
    /// that sum is below `sum_limit_s`. Among equal chains it takes one with the fewest devices.
    ///
    /// Takes time linear in the edges of the space (less where many cost the same) times half the
    /// square of the number of units, and memory linear in nodes times units.
    pub(super) fn within(
        &mut self,
        problem: &Problem<'_>,
        chain: &Chain,
        limit_s: f64,
        sum_limit_s: f64,
    ) -> Option<Path> {
        self.width = chain.end + 1;
        self.live.clear();
        if chain.back.is_some_and(|back| back.link_s > limit_s) {
            return None;
        }
        let reach = Reach::new(problem, chain, limit_s);
        let mut rest = Rest::new(problem, chain, &reach);
        if rest.whole_s(problem) >= sum_limit_s {
            return None;
        }
        let walk = Walk { problem, chain, reach, sum_limit_s };
        self.fill(&walk, &mut rest);
        let node_idx = walk.best_end(self)?;
        Some(walk.path(self, node_idx))
    }

    /// Returns the least sum among the last walk's chains that cover `end` units and are worth
    /// continuing.
    pub(super) fn least(&self, end: usize) -> f64 {
        let sums = (0..self.live.len()).map(|node_idx| self.sum(node_idx, end));
        sums.fold(f64::INFINITY, |least, sum| if sum < least { sum } else { least })
    }

    fn sum(&self, node_idx: usize, end: usize) -> f64 {
        if self.live[node_idx].contains(&end) {
            self.sums[node_idx * self.width + end]
        } else {
            f64::INFINITY
        }
    }

    fn fill(&mut self, walk: &Walk<'_>, rest: &mut Rest) {
        let Problem { space, .. } = walk.problem;
        let width = self.width;
        if self.sums.len() < space.nodes.len() * width {
            self.sums.resize(space.nodes.len() * width, f64::INFINITY);
        }
        let mut before = vec![f64::INFINITY; width];
        for (node_idx, node) in space.nodes.iter().enumerate() {
            let is_live = node.is_first || space.preds(node).any(|it| !self.live[it].is_empty());
            if !is_live {
                self.live.push(0..0);
                continue;
            }
            let (done, others) = self.sums.split_at_mut(node_idx * width);
            let done = Done { sums: done, live: &self.live, width };
            let target = &mut others[..width];
            target.fill(f64::INFINITY);
            walk.arrive(node_idx, &done, &mut before, target);
            self.live.push(walk.keep(rest.after(walk.problem, node), target));
        }
    }
}

/// The finished nodes.
struct Done<'a> {
    sums: &'a [f64],
    live: &'a [Range<usize>],
    width: usize,
}

struct Walk<'a> {
    problem: &'a Problem<'a>,
    chain: &'a Chain,
    reach: Reach,
    sum_limit_s: f64,
}

impl Walk<'_> {
    /// Fills in the least sums of a node. `before` is scratch space of one row.
    fn arrive(&self, node_idx: usize, done: &Done<'_>, before: &mut [f64], target: &mut [f64]) {
        let Problem { space, work, ways, .. } = self.problem;
        let node = &space.nodes[node_idx];
        let speed = space.classes[node.class_idx].device.speed;
        if node.is_first {
            let end = self.reach.first[node.class_idx];
            if end > 0 {
                work.relax(speed, UnitRange { start: 0, end }, 0.0, target);
            }
        }
        for (way_idx, hop) in ways.into[node.class_idx].iter().enumerate() {
            let (mut first, mut end) = (usize::MAX, 0);
            before.fill(f64::INFINITY);
            for pred in space.preds(node) {
                let live = done.live[pred].clone();
                if !live.is_empty()
                    && ways.way(space.nodes[pred].class_idx, node.class_idx) == way_idx
                {
                    (first, end) = (first.min(live.start), end.max(live.end));
                    let sums = &done.sums[pred * done.width..(pred + 1) * done.width];
                    for (least, sum) in before[live.clone()].iter_mut().zip(&sums[live]) {
                        *least = if *sum < *least { *sum } else { *least };
                    }
                }
            }
            let ends = self.reach.ends(node.class_idx, way_idx);
            for start in first..end.min(ends.len()) {
                let (so_far, end) = (before[start] + hop.seconds, ends[start]);
                if so_far < self.sum_limit_s && end > start {
                    work.relax(speed, UnitRange { start, end }, so_far, target);
                }
            }
        }
    }

    /// Prunes illegal and too costly cuts: sets sums to infinity where no stage may end or the
    /// chain is not worth continuing. Returns the range that remains.
    fn keep(&self, rest: &[f64], target: &mut [f64]) -> Range<usize> {
        let limit_s = self.sum_limit_s;
        let may_cut = &self.problem.setting.may_cut;
        for ((sum, rest), may_cut) in target.iter_mut().zip(rest).zip(may_cut) {
            *sum = if *may_cut && *sum + rest < limit_s { *sum } else { f64::INFINITY };
        }
        let start = target.iter().position(|sum| *sum < f64::INFINITY);
        let last = target.iter().rposition(|sum| *sum < f64::INFINITY);
        start.zip(last).map_or(0..0, |(start, last)| start..last + 1)
    }

    /// Returns the node with the least sum over all units; the first among equal ones, since the
    /// space lists smaller sets first.
    fn best_end(&self, sums: &LeastSum) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (node_idx, node) in self.problem.space.nodes.iter().enumerate() {
            let sum = sums.sum(node_idx, self.chain.end) + self.chain.back_s();
            let is_end = node.num_devices >= self.problem.min_devices
                && self.chain.may_end(self.problem, node_idx);
            // A gain within rounding does not count.
            let least = best.map_or(self.sum_limit_s, |(_, least)| least * (1.0 - 1e-12));
            if is_end && sum < least {
                best = Some((node_idx, sum));
            }
        }
        best.map(|(node_idx, _)| node_idx)
    }

    fn path(&self, sums: &LeastSum, last: usize) -> Path {
        let mut stages = Vec::new();
        let (mut node_idx, mut end) = (last, self.chain.end);
        loop {
            let class_idx = self.problem.space.nodes[node_idx].class_idx;
            stages.push((class_idx, end));
            match self.before(sums, node_idx, end) {
                Some((pred, start)) => (node_idx, end) = (pred, start),
                None => break,
            }
        }
        stages.reverse();
        Path(stages)
    }

    /// Returns the predecessor in a chain of the least sum and where its last stage ends; none if
    /// the node is the first.
    fn before(&self, sums: &LeastSum, node_idx: usize, end: usize) -> Option<(usize, usize)> {
        let Problem { space, work, ways, .. } = self.problem;
        let node = &space.nodes[node_idx];
        let speed = space.classes[node.class_idx].device.speed;
        let mut best = None;
        let mut least = f64::INFINITY;
        if node.is_first && end <= self.reach.first[node.class_idx] {
            least = work.seconds(speed, UnitRange { start: 0, end });
        }
        for pred in space.preds(node).filter(|pred| !sums.live[*pred].is_empty()) {
            let way_idx = ways.way(space.nodes[pred].class_idx, node.class_idx);
            let hop = ways.into[node.class_idx][way_idx];
            let ends = self.reach.ends(node.class_idx, way_idx);
            let starts = sums.live[pred].start..sums.live[pred].end.min(end);
            for start in starts.filter(|start| end <= ends[*start]) {
                let so_far = sums.sum(pred, start) + hop.seconds;
                let sum = so_far + work.seconds(speed, UnitRange { start, end });
                if sum < least {
                    (best, least) = (Some((pred, start)), sum);
                }
            }
        }
        best
    }
}
