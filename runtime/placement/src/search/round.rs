//! The search for one number of microbatches.

use sluicegate_spec::{device::DeviceId, units::UnitRange};

use super::{
    SAME,
    least_sum::LeastSum,
    problem::{Chain, Path, Problem},
};
use crate::{cluster::Route, evaluate::Costs};

/// A search for cycles below a limit.
pub(super) struct Round<'a> {
    problem: &'a Problem<'a>,
    sums: &'a mut LeastSum,
    /// Only shorter cycles are wanted.
    limit_s: f64,
    best: Option<Best>,
}

/// The best placement so far.
struct Best {
    stages: Vec<(DeviceId, UnitRange)>,
    cycle_s: f64,
    /// Breaks ties between equal cycles, the least first: stages, hops through the host, time of a
    /// round.
    rank: (usize, usize, f64),
}

/// What a shortest round implies for lower limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Nothing better exists within the limits; or the round of what was found is the limit, and
    /// lower busy times cannot shorten it.
    Done,
    /// The busiest device or link is the limit, so lower busy times may shorten the cycle.
    Tighter,
}

impl<'a> Round<'a> {
    pub(super) fn new(problem: &'a Problem<'a>, sums: &'a mut LeastSum, limit_s: f64) -> Self {
        Self { problem, sums, limit_s, best: None }
    }

    /// Finds the shortest cycle, if it is below the limit; returns the stages and the cycle.
    pub(super) fn run(mut self) -> Option<(Vec<(DeviceId, UnitRange)>, f64)> {
        let headless_s = self.chain(&Chain::whole(self.problem));
        for chain in Chain::returning(self.problem) {
            let is_worth = headless_s + chain.back_s() < self.sum_limit_s();
            if is_worth {
                self.chain(&chain);
            }
        }
        let Best { stages, cycle_s, .. } = self.best?;
        Some((stages, cycle_s))
    }

    /// Returns the largest busy time in a cycle worth finding.
    fn worth_s(&self) -> f64 {
        self.limit_s / self.problem.num_microbatches as f64 * (1.0 - SAME)
    }

    /// Returns the largest sum of stages and hops in such a cycle.
    fn sum_limit_s(&self) -> f64 {
        self.limit_s * (1.0 - SAME) - self.problem.setting.cluster.host_s
    }

    /// Searches for a shorter cycle along one chain. Returns a lower bound of the sum of every
    /// worthwhile chain that omits this one's last unit.
    fn chain(&mut self, chain: &Chain) -> f64 {
        let next = self.shortest_round(chain, self.worth_s());
        let headless_s = self.sums.least(chain.end - 1);
        if next == Next::Tighter {
            self.balance(chain);
        }
        headless_s
    }

    /// Takes the shortest round in which nothing is busy for longer than `at_most_s`.
    fn shortest_round(&mut self, chain: &Chain, at_most_s: f64) -> Next {
        let sum_limit_s = self.sum_limit_s();
        let path = self.sums.within(self.problem, chain, at_most_s, sum_limit_s);
        let Some(path) = path else { return Next::Done };
        let costs = self.take(chain, &path);
        let busy_s = self.problem.num_microbatches as f64 * costs.bottleneck_s;
        if busy_s > costs.round_s { Next::Tighter } else { Next::Done }
    }

    /// Costs a placement, and keeps it if its cycle is shorter, or equal with a lower rank.
    fn take(&mut self, chain: &Chain, path: &Path) -> Costs {
        let stages = path.stages(self.problem, chain);
        let costs = Costs::of(self.problem.setting, &self.problem.work, &stages);
        let cycle_s = costs.cycle_s(self.problem.num_microbatches);
        let rank = (stages.len(), self.host_hops(&stages), costs.round_s);
        let taken = Best { stages, cycle_s, rank };
        let is_better = match &self.best {
            _ if cycle_s < self.limit_s * (1.0 - SAME) => true,
            Some(best) if cycle_s <= best.cycle_s * (1.0 + SAME) => taken.rank < best.rank,
            _ => false,
        };
        if is_better {
            self.limit_s = self.limit_s.min(cycle_s);
            self.best = Some(taken);
        }
        costs
    }

    fn host_hops(&self, stages: &[(DeviceId, UnitRange)]) -> usize {
        let link = |pair: &[(DeviceId, UnitRange)]| {
            self.problem.setting.link_between(pair[0].0, pair[1].0).route
        };
        stages.windows(2).filter(|pair| link(pair) == Route::Host).count()
    }

    /// Finds the balance between the busiest device and the round, which only gets longer as the
    /// limit drops.
    fn balance(&mut self, chain: &Chain) {
        let mut low = 0.0;
        // Smaller improvements make no difference.
        while low < self.worth_s() * (1.0 - SAME) {
            let middle = low + (self.worth_s() - low) / 2.0;
            if self.shortest_round(chain, middle) == Next::Done {
                low = middle;
            }
            // If anything better remains, this finds it.
            if self.shortest_round(chain, self.worth_s()) == Next::Done {
                return;
            }
        }
    }
}
