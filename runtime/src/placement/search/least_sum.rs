//! The chain with the least sum of times among those that stay within a limit.
//!
//! A sum depends on where each cut lies, so that the units covered belong to the state: nodes times
//! units numbers, and for each edge a pass over all stages.

use sluicegate_model::units::UnitRange;

use super::{
    limits::Reach,
    problem::{Chain, Path, Problem},
};

/// Sums, kept between walks so that their memory is taken once.
#[derive(Debug, Default)]
pub(super) struct LeastSum {
    /// Per node and units covered: the least sum of a chain to there.
    sums: Vec<f64>,
    width: usize,
}

impl LeastSum {
    /// Finds the chain with the least sum, if that is below `sum_limit_s`, in which nothing is busy
    /// for longer than `limit_s`; of equal ones one of the fewest devices.
    ///
    /// Takes time in the number of edges of the space (less where many cost the same) times half the
    /// square of the number of units, and memory in nodes times units.
    pub(super) fn within(
        &mut self,
        problem: &Problem<'_>,
        chain: &Chain,
        limit_s: f64,
        sum_limit_s: f64,
    ) -> Option<Path> {
        if chain.back.is_some_and(|back| back.link_s > limit_s) {
            return None;
        }
        let reach = Reach::new(problem, chain, limit_s);
        let walk = Walk { problem, chain, reach, sum_limit_s, width: chain.end + 1 };
        walk.fill(&mut self.sums);
        self.width = walk.width;
        let node_idx = walk.best_end(&self.sums)?;
        Some(walk.path(&self.sums, node_idx))
    }

    /// The least sum of the last walk's chains that cover so many units.
    pub(super) fn least(&self, end: usize) -> f64 {
        let sums = self.sums.iter().skip(end).step_by(self.width.max(1));
        sums.fold(f64::INFINITY, |least, sum| if *sum < least { *sum } else { least })
    }
}

struct Walk<'a> {
    problem: &'a Problem<'a>,
    chain: &'a Chain,
    reach: Reach,
    sum_limit_s: f64,
    width: usize,
}

impl Walk<'_> {
    fn fill(&self, sums: &mut Vec<f64>) {
        let Problem { space, work, ways, .. } = self.problem;
        let width = self.width;
        sums.clear();
        sums.resize(space.nodes.len() * width, f64::INFINITY);
        let mut before = vec![0.0; width];
        for (node_idx, node) in space.nodes.iter().enumerate() {
            let (done, rest) = sums.split_at_mut(node_idx * width);
            let target = &mut rest[..width];
            let speed = space.classes[node.class_idx].device.speed;
            if node.is_first {
                let end = self.reach.first[node.class_idx];
                if end > 0 {
                    work.relax(speed, UnitRange { start: 0, end }, 0.0, target);
                }
            }
            for (way_idx, hop) in ways.into[node.class_idx].iter().enumerate() {
                before.fill(f64::INFINITY);
                for pred in space.preds(node) {
                    if ways.way(space.nodes[pred].class_idx, node.class_idx) == way_idx {
                        let sums = &done[pred * width..(pred + 1) * width];
                        for (least, sum) in before.iter_mut().zip(sums) {
                            *least = if *sum < *least { *sum } else { *least };
                        }
                    }
                }
                let ends = self.reach.ends(node.class_idx, way_idx);
                for (start, &end) in ends.iter().enumerate().skip(1) {
                    let so_far = before[start] + hop.seconds;
                    if so_far < self.sum_limit_s && end > start {
                        work.relax(speed, UnitRange { start, end }, so_far, target);
                    }
                }
            }
            self.forbid(target);
        }
    }

    /// Takes back what ends where no stage may end.
    fn forbid(&self, target: &mut [f64]) {
        for (sum, may_cut) in target.iter_mut().zip(&self.problem.setting.may_cut) {
            if !may_cut {
                *sum = f64::INFINITY;
            }
        }
    }

    /// The node with the least sum over all units, the first of equal ones: space lists the smaller
    /// sets first.
    fn best_end(&self, sums: &[f64]) -> Option<usize> {
        let mut best: Option<(usize, f64)> = None;
        for (node_idx, node) in self.problem.space.nodes.iter().enumerate() {
            let sum = sums[node_idx * self.width + self.chain.end] + self.chain.back_s();
            let is_end = node.num_devices >= self.problem.min_devices
                && self.chain.may_end(self.problem, node_idx);
            // A gain of rounding is none.
            let least = best.map_or(self.sum_limit_s, |(_, least)| least * (1.0 - 1e-12));
            if is_end && sum < least {
                best = Some((node_idx, sum));
            }
        }
        best.map(|(node_idx, _)| node_idx)
    }

    fn path(&self, sums: &[f64], last: usize) -> Path {
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

    /// The chain that one of the least sum continues, and where its last stage ends; none if the
    /// node is the first.
    fn before(&self, sums: &[f64], node_idx: usize, end: usize) -> Option<(usize, usize)> {
        let Problem { space, work, ways, .. } = self.problem;
        let node = &space.nodes[node_idx];
        let speed = space.classes[node.class_idx].device.speed;
        let mut best = None;
        let mut least = f64::INFINITY;
        if node.is_first && end <= self.reach.first[node.class_idx] {
            least = work.seconds(speed, UnitRange { start: 0, end });
        }
        for pred in space.preds(node) {
            let way_idx = ways.way(space.nodes[pred].class_idx, node.class_idx);
            let hop = ways.into[node.class_idx][way_idx];
            let ends = self.reach.ends(node.class_idx, way_idx);
            for start in (1..end).filter(|start| end <= ends[*start]) {
                let so_far = sums[pred * self.width + start] + hop.seconds;
                let sum = so_far + work.seconds(speed, UnitRange { start, end });
                if sum < least {
                    (best, least) = (Some((pred, start)), sum);
                }
            }
        }
        best
    }
}
