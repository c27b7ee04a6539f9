//! Among placements of equal cost, chooses the one that a person would: first the least busy
//! bottleneck, then the largest cache, then the most even cuts.

use sluicegate_spec::{device::DeviceId, units::UnitRange};

use super::{
    Found, SAME, Search,
    problem::{Chain, Problem},
};
use crate::{cost::Sizes, evaluate::Costs, held::fits_given, setting::Setting, stages::Stages};

/// Halvings when searching for the bottleneck's least busy time.
const NUM_HALVED: usize = 40;
/// The largest search, in nodes times units, that is spent on such preferences.
const MAX_EFFORT: usize = 200_000;

/// Limits that a placement must not exceed.
#[derive(Debug, Clone, Copy)]
struct Limits {
    cycle_s: f64,
    busy_s: f64,
}

impl Limits {
    /// Takes the limits of a placement, with slack for rounding.
    fn of(costs: &Costs, num_microbatches: usize) -> Self {
        let cycle_s = costs.cycle_s(num_microbatches) * (1.0 + 10.0 * SAME);
        Self { cycle_s, busy_s: costs.bottleneck_s * (1.0 + 10.0 * SAME) }
    }

    fn allow(self, costs: &Costs, num_microbatches: usize) -> bool {
        costs.cycle_s(num_microbatches) <= self.cycle_s && costs.bottleneck_s <= self.busy_s
    }
}

impl Search<'_> {
    /// Finds the placement of the same cost, with a cache of `num_pages`, whose bottleneck is least
    /// busy. Where the whole round is the limit, many cuts cost the same.
    pub(in super::super) fn relieve(&mut self, mut found: Found, num_pages: usize) -> Found {
        for space_idx in (0..self.spaces.len()).rev() {
            let space = &self.spaces[space_idx];
            if is_alone(&found.stages) || space.nodes.len() * self.setting.num_units() > MAX_EFFORT
            {
                continue;
            }
            let problem = self.problem(space, num_pages, &found);
            let costs = Costs::of(self.setting, &problem.work, &found.stages);
            let num_microbatches = found.num_microbatches;
            let limits = Limits::of(&costs, num_microbatches);
            // If the bottleneck is the limit, its busy time is already minimal.
            if num_microbatches as f64 * costs.bottleneck_s >= costs.round_s * (1.0 - SAME) {
                continue;
            }
            let (mut low, mut high) = (0.0, costs.bottleneck_s);
            for _ in 0..NUM_HALVED {
                if high - low <= high * SAME {
                    break;
                }
                let middle = low + (high - low) / 2.0;
                let within = within(&mut self.sums, &problem, Limits { busy_s: middle, ..limits });
                match within {
                    Some(stages) => {
                        high = Costs::of(self.setting, &problem.work, &stages).bottleneck_s;
                        found.stages = stages;
                    }
                    None => low = middle,
                }
            }
        }
        found
    }

    /// Finds a placement that is no worse than `found` and has room for a cache of `num_pages`.
    pub(in super::super) fn with_pages(
        &mut self,
        found: &Found,
        num_pages: usize,
    ) -> Option<Found> {
        let setting = self.setting;
        let is_there = |stages: &Stages| {
            fits_given(setting, &setting.sizes(num_pages, found.at_once()), stages)
        };
        if is_there(&found.stages) {
            return Some(found.clone());
        }
        let space = self.spaces.first()?;
        if space.nodes.len() * setting.num_units() > MAX_EFFORT {
            return None;
        }
        let problem = self.problem(space, num_pages, found);
        let costs = Costs::of(setting, &problem.work, &found.stages);
        let limits = Limits::of(&costs, found.num_microbatches);
        let stages = within(&mut self.sums, &problem, limits)?;
        Some(Found { stages, ..found.clone() })
    }

    /// Cuts the stages as evenly as possible without extra cost, on the same devices in the same
    /// order.
    pub(in super::super) fn even_out(&self, found: Found, num_pages: usize) -> Found {
        if is_alone(&found.stages) {
            return found;
        }
        let space = &self.spaces[0];
        let problem = self.problem(space, num_pages, &found);
        let costs = Costs::of(self.setting, &problem.work, &found.stages);
        let limits = Limits::of(&costs, found.num_microbatches);
        let Some(stages) = most_even(self.setting, &problem, &found.stages, limits.busy_s) else {
            return found;
        };
        let costs = Costs::of(self.setting, &problem.work, &stages);
        let is_as_good = limits.allow(&costs, found.num_microbatches);
        if is_as_good && fits_given(self.setting, &problem.sizes, &stages) {
            return Found { cycle_s: costs.cycle_s(found.num_microbatches), stages, ..found };
        }
        found
    }
}

fn is_alone(stages: &Stages) -> bool {
    stages.iter().all(|(device, _)| *device == stages[0].0)
}

/// Finds any placement within limits.
fn within(
    sums: &mut super::LeastSum,
    problem: &Problem<'_>,
    limits: Limits,
) -> Option<Vec<(DeviceId, UnitRange)>> {
    let sum_s = limits.cycle_s - problem.setting.cluster.host_s;
    Chain::all(problem).iter().find_map(|chain| {
        let path = sums.within(problem, chain, limits.busy_s, sum_s)?;
        let stages = path.stages(problem, chain);
        let costs = Costs::of(problem.setting, &problem.work, &stages);
        limits.allow(&costs, problem.num_microbatches).then_some(stages)
    })
}

/// Finds the cuts with the least sum of squared times, with no stage busy for longer than `busy_s`.
/// A head that returned to the first device stays there.
fn most_even(
    setting: &Setting<'_>,
    problem: &Problem<'_>,
    stages: &Stages,
    busy_s: f64,
) -> Option<Vec<(DeviceId, UnitRange)>> {
    let returns = stages.len() > 2 && stages[stages.len() - 1].0 == stages[0].0;
    let moved = &stages[..stages.len() - usize::from(returns)];
    let end = moved[moved.len() - 1].1.end;
    // Per number of covered units: the least sum, and where the previous stage ends.
    let mut least: Vec<f64> = vec![f64::INFINITY; end + 1];
    least[0] = 0.0;
    let mut cuts: Vec<Vec<usize>> = Vec::with_capacity(moved.len());
    for (stage_idx, (device, _)) in moved.iter().enumerate() {
        let usable = setting.device(*device);
        let hop_s = stage_idx.checked_sub(1).map_or(0.0, |before| {
            let link = setting.link_between(moved[before].0, *device);
            super::super::work::Hop::new(link, &problem.work).blocking_s()
        });
        let cost = |units: UnitRange| {
            let seconds = problem.work.seconds(usable.speed, units) + hop_s;
            let fits = holds(&problem.sizes, units) <= u128::from(usable.cap.0);
            (fits && seconds <= busy_s).then_some(seconds)
        };
        let mut next = vec![f64::INFINITY; end + 1];
        let mut from = vec![0; end + 1];
        for stop in (1..=end).filter(|stop| setting.may_cut[*stop] || *stop == end) {
            for start in (0..stop).rev().filter(|start| least[*start].is_finite()) {
                let Some(seconds) = cost(UnitRange { start, end: stop }) else { break };
                let sum = least[start] + seconds * seconds;
                if sum < next[stop] {
                    (next[stop], from[stop]) = (sum, start);
                }
            }
        }
        least = next;
        cuts.push(from);
    }
    if !least[end].is_finite() {
        return None;
    }
    let mut evened = stages.to_vec();
    let mut stop = end;
    for (stage, from) in evened[..moved.len()].iter_mut().zip(&cuts).rev() {
        stage.1 = UnitRange { start: from[stop], end: stop };
        stop = from[stop];
    }
    Some(evened)
}

fn holds(sizes: &Sizes, units: UnitRange) -> u128 {
    sizes.span(units).total()
}
