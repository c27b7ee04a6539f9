//! The exact search: which devices, in which order, cut where.
//!
//! For a number of microbatches `M` the cycle is `max(M * p, R)`, the busiest device or link against
//! the whole round ([`super::evaluate`]). Both walks over the [`space`] of device chains answer "what
//! is possible while nothing is busy for longer than `T`": [`bottleneck`] whether anything is,
//! [`least_sum`] the shortest round. Where the second finds nothing within `limit / M` that goes
//! round in less than `limit`, there is no cycle below `limit`: that is the certificate.
//!
//! A bound of the [`rest`] of a chain, mostly less than a per cent below what is possible, orders the
//! numbers of microbatches, rules most of them out and cuts the second walk short.

mod bottleneck;
mod bound;
mod least_sum;
mod limits;
mod problem;
mod relay;
mod rest;
mod round;
mod space;

use sluicegate_model::{placed::DeviceId, units::UnitRange};

use super::{cost::Sizes, evaluate::Costs, planner::best_microbatches, setting::Setting};
use bound::Bound;
use least_sum::LeastSum;
use limits::MemoryReach;
use problem::{Chain, Problem};
use round::Round;
use space::Space;

/// Two times that differ by less are one.
const SAME: f64 = 1e-10;

/// A placement and what it costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) stages: Vec<(DeviceId, UnitRange)>,
    pub(super) num_microbatches: usize,
    pub(super) cycle_s: f64,
}

/// The best placement found, and what is proven of all others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) found: Found,
    /// No placement has a shorter cycle.
    pub(super) lower_bound_s: f64,
    /// With as many microbatches, no placement keeps everything busy for so short a time; none where
    /// it is not the busiest device or link that counts.
    pub(super) infeasible_s: Option<f64>,
}

/// The search over one set of devices.
#[derive(Debug)]
pub(super) struct Search<'a> {
    setting: &'a Setting<'a>,
    /// Sets of devices; and where those are too many, the devices in one order besides.
    spaces: Vec<Space>,
    sums: LeastSum,
}

impl<'a> Search<'a> {
    /// The most nodes of a space.
    const MAX_NODES: usize = 60_000;
    /// The most numbers of a table of sums: 64 MiB.
    const MAX_SUMS: usize = 8 << 20;

    pub(super) fn new(setting: &'a Setting<'a>) -> Self {
        let sets =
            Space::of_sets(setting, Self::MAX_NODES.min(Self::MAX_SUMS / setting.num_units()));
        let mut spaces = vec![sets];
        if !spaces[0].is_complete(setting) {
            spaces.push(Space::in_order(setting));
        }
        Self { setting, spaces, sums: LeastSum::default() }
    }

    /// Whether any placement fits into memory.
    pub(super) fn fits(&self, sizes: &Sizes) -> bool {
        self.spaces.iter().any(|space| {
            let memory = MemoryReach::new(self.setting, &space.classes, sizes);
            let problem = Problem::new((self.setting, space, &memory), 1, 1, 1);
            Chain::all(&problem, sizes)
                .iter()
                .any(|chain| bottleneck::is_feasible(&problem, chain, f64::INFINITY))
        })
    }

    /// Finds the placement with the shortest cycle for `num_sequences` at once, over all numbers of
    /// microbatches, on `min_devices` at least.
    ///
    /// # Errors
    /// If nothing fits or nothing was found that takes less than `cycle_limit_s`: a time that nothing
    /// takes less than.
    pub(super) fn best(
        &mut self,
        sizes: &Sizes,
        num_sequences: usize,
        min_devices: usize,
        cycle_limit_s: f64,
    ) -> Result<Answer, f64> {
        let bound = Bound::new(self.setting, sizes);
        let mut best: Option<Found> = None;
        let mut lower_bound_s = f64::INFINITY;
        // One order is soon tried, and leaves less to be tried of the sets.
        for space in self.spaces.iter().rev() {
            let memory = MemoryReach::new(self.setting, &space.classes, sizes);
            if min_devices <= 1 {
                let limit_s = best.as_ref().map_or(cycle_limit_s, |found| found.cycle_s);
                let alone = alone(self.setting, space, &memory, num_sequences);
                best = alone.filter(|alone| alone.cycle_s < limit_s).or(best);
            }
            let parts = (self.setting, space, &memory);
            let problem = |num_microbatches: usize| {
                let rows = num_sequences.div_ceil(num_microbatches);
                Problem::new(parts, rows, num_microbatches, min_devices)
            };
            let all = microbatches(num_sequences, self.setting.devices.len());
            let mut queue = Queue::new(all.map(problem), &bound);
            loop {
                let limit_s = best.as_ref().map_or(cycle_limit_s, |found| found.cycle_s);
                let Some((bound_s, problem)) = queue.next_below(limit_s * (1.0 - SAME)) else {
                    break;
                };
                if !self.spaces[0].is_complete(self.setting) {
                    let beyond_s = bound.cycle_s(&problem, self.spaces[0].max_devices + 1);
                    lower_bound_s = lower_bound_s.min(beyond_s.max(bound_s));
                }
                if Chain::too_many_return(&problem) {
                    let beyond_s = bound.cycle_s(&problem, 2);
                    lower_bound_s = lower_bound_s.min(beyond_s.max(bound_s));
                }
                // Near the bound a walk is short, and mostly enough.
                let near = [bound_s * 1.002, bound_s * 1.02].into_iter();
                let mut tried = near.filter(|near_s| *near_s < limit_s).chain([limit_s]);
                let found = tried
                    .find_map(|limit_s| Round::new(&problem, &mut self.sums, limit_s).run(sizes));
                best = found.or(best);
            }
        }
        let Some(found) = best else { return Err(lower_bound_s.min(cycle_limit_s)) };
        let lower_bound_s = lower_bound_s.min(found.cycle_s);
        let infeasible_s = self.infeasible_s(sizes, &found, num_sequences);
        Ok(Answer { found, lower_bound_s, infeasible_s })
    }

    /// A time just below that of the busiest device or link, if no chain stays within it.
    fn infeasible_s(&self, sizes: &Sizes, found: &Found, num_sequences: usize) -> Option<f64> {
        let space = self.spaces.first().filter(|space| space.is_complete(self.setting))?;
        let memory = MemoryReach::new(self.setting, &space.classes, sizes);
        let rows = num_sequences.div_ceil(found.num_microbatches);
        let problem = Problem::new((self.setting, space, &memory), rows, found.num_microbatches, 1);
        let costs = Costs::of(self.setting, &problem.work, &found.stages);
        let below_s = costs.bottleneck_s * (1.0 - 10.0 * SAME);
        let is_feasible = Chain::all(&problem, sizes)
            .iter()
            .any(|chain| bottleneck::is_feasible(&problem, chain, below_s));
        (!is_feasible).then_some(below_s)
    }
}

/// Numbers of microbatches that are still to be tried, the most promising first.
struct Queue<'a> {
    /// A bound of the cycle, and whether it is the better one that takes longer.
    problems: Vec<(f64, bool, Problem<'a>)>,
}

impl<'a> Queue<'a> {
    fn new(problems: impl Iterator<Item = Problem<'a>>, bound: &Bound) -> Self {
        let bounded = |problem| (bound.cycle_s(&problem, 1), false, problem);
        Self { problems: problems.map(bounded).collect() }
    }

    /// Takes the one with the lowest bound out, if that is below a limit.
    fn next_below(&mut self, limit_s: f64) -> Option<(f64, Problem<'a>)> {
        loop {
            let bounds = self.problems.iter().enumerate().map(|(idx, it)| (it.0, idx));
            let (bound_s, idx) = bounds.reduce(|a, b| if b.0 < a.0 { b } else { a })?;
            if bound_s >= limit_s {
                return None;
            }
            let (bound_s, is_refined, problem) = &mut self.problems[idx];
            if *is_refined {
                let (bound_s, _, problem) = self.problems.swap_remove(idx);
                return Some((bound_s, problem));
            }
            *bound_s = rest::cycle_s(problem, *bound_s);
            *is_refined = true;
        }
    }
}

/// The best device to run everything, which may then be faster. Several microbatches are of use
/// where the host has its part.
fn alone(
    setting: &Setting<'_>,
    space: &Space,
    memory: &MemoryReach,
    num_sequences: usize,
) -> Option<Found> {
    let units = UnitRange { start: 0, end: setting.num_units() };
    let classes = space.classes.iter().enumerate();
    let fitting = classes.filter(|(class_idx, _)| memory.end(*class_idx, 0) == units.end);
    let found = fitting.map(|(_, class)| {
        let stages = vec![(setting.devices[class.members[0]].id, units)];
        best_microbatches(setting, &stages, num_sequences)
    });
    found.reduce(|a, b| if b.cycle_s < a.cycle_s { b } else { a })
}

/// The numbers of microbatches that are tried: each sequence is in one of them, and twice as many as
/// there can be stages, and two, fill any pipeline.
pub(super) fn microbatches(
    num_sequences: usize,
    num_devices: usize,
) -> std::ops::RangeInclusive<usize> {
    1..=num_sequences.clamp(1, 2 * num_devices + 2)
}
