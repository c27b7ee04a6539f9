//! The exact search: which devices, in which order, with which cuts.
//!
//! For `M` microbatches the cycle is `max(M * p, R)`: the busiest device or link against the whole
//! round ([`super::evaluate`]). Two walks over the [`space`] of device chains answer what is
//! possible while nothing is busy for longer than `T`: [`bottleneck`] tests whether any chain is,
//! and [`least_sum`] finds the shortest round. If the second finds no chain within `limit / M`
//! whose round is below `limit`, there is no cycle below `limit`. That is the certificate.
//!
//! The objective is seconds per token, `max(M * p, R) / B`, over all numbers `B` of concurrent
//! sequences and all `M`. Neither cycle nor memory shrinks with more sequences. So a bound for the
//! fewest of several numbers, divided by the largest of them, is a bound for all ([`queue`]).
//! Usually a few dozen numbers are examined and a few are searched.
//!
//! A bound on the [`rest`] of a chain, usually less than a per cent below the optimum, orders the
//! questions, excludes most of them and cuts the second walk short. Among placements of equal cost,
//! [`settle`] takes the one that a person would choose.

mod bottleneck;
mod bound;
mod least_sum;
mod limits;
mod problem;
mod queue;
mod relay;
mod rest;
mod round;
mod settle;
mod space;

use super::{
    cost::{AtOnce, Sizes},
    evaluate::Costs,
    held::fits_given,
    setting::{Layout, Setting},
};
use least_sum::LeastSum;
use problem::{Chain, Problem};
use queue::{Question, Queue};
use round::Round;
use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS, units::UnitRange};
use space::Space;

/// Times that differ by less, relatively, are considered equal.
const SAME: f64 = 1e-10;

/// A placement and its cost.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) stages: Vec<(DeviceId, UnitRange)>,
    pub(super) num_sequences: usize,
    pub(super) num_microbatches: usize,
    pub(super) cycle_s: f64,
}

impl Found {
    /// Returns the seconds per token over all sequences.
    pub(super) fn per_token_s(&self) -> f64 {
        self.cycle_s / self.num_sequences as f64
    }

    /// Returns whether the policy's time limits are kept.
    pub(super) fn is_in_time(&self, setting: &Setting<'_>) -> bool {
        let Self { num_sequences, num_microbatches, cycle_s, .. } = *self;
        cycle_s <= setting.max_cycle_s([num_sequences; 2], num_microbatches) * (1.0 + 4.0 * SAME)
    }

    pub(super) fn at_once(&self) -> AtOnce {
        AtOnce::new(self.num_sequences, self.num_microbatches)
    }
}

/// The best placement found, and what is proven about all others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) found: Found,
    /// No placement takes fewer seconds per token, within the setting's tolerance.
    pub(super) lower_bound_s: f64,
    /// With the same sequences and microbatches, no placement keeps all busy times within this;
    /// none if the round is the limit.
    pub(super) infeasible_s: Option<f64>,
}

/// A request to the search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The fewest and the most concurrent sequences.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) cache: Cache,
    /// Placements on fewer devices are not accepted.
    pub(super) min_devices: usize,
    /// Only placements with fewer seconds per token are wanted.
    pub(super) limit_s: f64,
}

/// The size of the cache.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cache {
    /// A fixed number of pages.
    Pages(usize),
    /// Pages for the sequences at their expected length, up to a maximum.
    ForSequences { most_pages: usize },
}

impl Cache {
    /// Returns the pages for `num_sequences`.
    pub(super) fn pages(self, setting: &Setting<'_>, num_sequences: usize) -> usize {
        match self {
            Self::Pages(pages) => pages,
            Self::ForSequences { most_pages } => {
                let context = setting.policy.context(setting.profile.max_positions);
                num_sequences.saturating_mul(context).div_ceil(PAGE_TOKENS).min(most_pages)
            }
        }
    }
}

/// The search over one set of devices.
#[derive(Debug)]
pub(super) struct Search<'a> {
    setting: &'a Setting<'a>,
    /// The space of device sets; if that is incomplete, also the space of devices in one fixed
    /// order.
    spaces: Vec<Space>,
    sums: LeastSum,
}

impl<'a> Search<'a> {
    /// The most nodes of a space.
    const MAX_NODES: usize = 60_000;
    /// The most entries of a table of sums: 64 MiB.
    const MAX_SUMS: usize = 8 << 20;
    /// The most numbers of sequences and microbatches searched if several numbers of sequences are
    /// possible. The rest is covered by a bound.
    const MAX_ASKED: usize = 400;
    /// The same if the search is not exact anyway.
    const MAX_ASKED_INEXACT: usize = 12;

    pub(super) fn new(setting: &'a Setting<'a>) -> Self {
        let sets =
            Space::of_sets(setting, Self::MAX_NODES.min(Self::MAX_SUMS / setting.num_units()));
        let mut spaces = vec![sets];
        if !spaces[0].is_complete(setting) {
            spaces.push(Space::in_order(setting));
        }
        Self { setting, spaces, sums: LeastSum::default() }
    }

    /// Returns whether every set of devices is searched.
    pub(super) fn is_exact(&self) -> bool {
        self.spaces[0].is_complete(self.setting)
    }

    /// Returns whether any placement fits into memory.
    pub(super) fn fits(&self, sizes: impl Fn() -> Sizes) -> bool {
        self.spaces.iter().any(|space| {
            let problem = Problem::new((self.setting, space), sizes(), 1, 1, 1);
            Chain::all(&problem)
                .iter()
                .any(|chain| bottleneck::is_feasible(&problem, chain, f64::INFINITY))
        })
    }

    /// Finds the placement with the fewest seconds per token, over the wanted numbers of sequences
    /// and all numbers of microbatches.
    ///
    /// # Errors
    /// Nothing fits, or nothing was found below the limit. The error is a lower bound of the time
    /// per token.
    pub(super) fn best(&mut self, wanted: &Wanted) -> Result<Answer, f64> {
        let mut best: Option<Found> = None;
        let mut lower_bound_s = f64::INFINITY;
        let is_complete = self.is_exact();
        let max_asked = match (wanted.least < wanted.most, is_complete) {
            (false, _) => usize::MAX,
            (true, true) => Self::MAX_ASKED,
            (true, false) => Self::MAX_ASKED_INEXACT,
        };
        let better = (1.0 - SAME) * (1.0 - self.setting.tolerance);
        // The fixed order is searched quickly and leaves less to try among the sets.
        for space in self.spaces.iter().rev() {
            let mut queue = Queue::new((self.setting, space), wanted);
            for num_asked in 0.. {
                let limit_s = best.as_ref().map_or(wanted.limit_s, Found::per_token_s);
                let Some(question) = queue.next_below(limit_s * better) else { break };
                if num_asked == max_asked {
                    lower_bound_s = lower_bound_s.min(question.bound_s);
                    break;
                }
                if !is_complete {
                    let beyond_s = question.beyond_s(self.spaces[0].max_devices + 1);
                    lower_bound_s = lower_bound_s.min(beyond_s.max(question.bound_s));
                }
                if Chain::too_many_return(&question.problem) {
                    lower_bound_s = lower_bound_s.min(question.beyond_s(2).max(question.bound_s));
                }
                best = ask(&question, &mut self.sums, limit_s).or(best);
            }
        }
        let Some(found) = best else { return Err(lower_bound_s.min(wanted.limit_s)) };
        let lower_bound_s = lower_bound_s.min(found.per_token_s());
        let infeasible_s = self.infeasible_s(wanted.cache, &found);
        Ok(Answer { found, lower_bound_s, infeasible_s })
    }

    /// Returns a time just below the bottleneck's, if no chain stays within it.
    fn infeasible_s(&self, cache: Cache, found: &Found) -> Option<f64> {
        let space = self.spaces.first().filter(|space| space.is_complete(self.setting))?;
        let problem = self.problem(space, cache.pages(self.setting, found.num_sequences), found);
        let costs = Costs::of(self.setting, &problem.work, &found.stages);
        let below_s = costs.bottleneck_s * (1.0 - 10.0 * SAME);
        let is_feasible = Chain::all(&problem)
            .iter()
            .any(|chain| bottleneck::is_feasible(&problem, chain, below_s));
        (!is_feasible).then_some(below_s)
    }

    /// Returns the problem that a placement solves, with a cache of `num_pages`.
    fn problem<'s>(&self, space: &'s Space, num_pages: usize, found: &Found) -> Problem<'s>
    where
        'a: 's,
    {
        let at_once = found.at_once();
        let sizes = self.setting.sizes(num_pages, at_once);
        Problem::new((self.setting, space), sizes, at_once.rows, found.num_microbatches, 1)
    }
}

/// Finds the best placement below a limit, in seconds per token.
fn ask(question: &Question<'_>, sums: &mut LeastSum, limit_s: f64) -> Option<Found> {
    let Question { problem, num_sequences, .. } = question;
    let num_sequences = *num_sequences;
    let num_microbatches = problem.num_microbatches;
    let cycles = num_sequences as f64;
    let max_s = problem.setting.max_cycle_s([num_sequences; 2], num_microbatches);
    // A time that equals the limit is allowed, whatever rounding does to it.
    let mut limit_s = (limit_s * cycles).min(max_s * (1.0 + 4.0 * SAME));
    let alone = question.alone().filter(|(_, cycle_s)| *cycle_s < limit_s);
    if let Some((_, cycle_s)) = &alone {
        limit_s = *cycle_s;
    }
    // A walk with a limit near the bound is short and usually suffices.
    let bound_s = question.bound_s * cycles;
    let near = [bound_s * 1.002, bound_s * 1.02].into_iter();
    let mut tried = near.filter(|near_s| *near_s < limit_s).chain([limit_s]);
    let found = tried.find_map(|limit_s| Round::new(problem, sums, limit_s).run());
    let (stages, cycle_s) = found.or(alone)?;
    Some(Found { stages, num_sequences, num_microbatches, cycle_s })
}

/// Returns whether any allowed placement can hold units of these sizes.
pub(super) fn fits_any(setting: &Setting<'_>, sizes: &Sizes) -> bool {
    match &setting.layout {
        Layout::Auto => Search::new(setting).fits(|| sizes.clone()),
        Layout::Given(stages) => fits_given(setting, sizes, stages),
    }
}
