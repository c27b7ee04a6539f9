//! The exact search: which devices, in which order, cut where.
//!
//! For a number of microbatches `M` the cycle is `max(M * p, R)`, the busiest device or link against
//! the whole round ([`super::evaluate`]). Both walks over the [`space`] of device chains answer "what
//! is possible while nothing is busy for longer than `T`": [`bottleneck`] whether anything is,
//! [`least_sum`] the shortest round. Where the second finds nothing within `limit / M` that goes
//! round in less than `limit`, there is no cycle below `limit`: that is the certificate.
//!
//! The objective is seconds per token, `max(M * p, R) / B`, over all numbers of sequences `B` at once
//! and all `M`. Neither cycle nor memory gets less with more sequences, so a bound for the fewest of
//! several numbers, divided by the most of them, is one for all ([`queue`]): mostly a few dozen
//! numbers are looked at, and a few searched for.
//!
//! A bound of the [`rest`] of a chain, mostly less than a per cent below what is possible, orders the
//! questions, rules most of them out and cuts the second walk short. Of placements that cost the same
//! [`settle`] takes the one that a person would.

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
    setting::Setting,
};
use least_sum::LeastSum;
use problem::{Chain, Problem};
use queue::{Question, Queue};
use round::Round;
use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS, units::UnitRange};
use space::Space;

/// Two times that differ by less are one.
const SAME: f64 = 1e-10;

/// A placement and what it costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) stages: Vec<(DeviceId, UnitRange)>,
    pub(super) num_sequences: usize,
    pub(super) num_microbatches: usize,
    pub(super) cycle_s: f64,
}

impl Found {
    /// Seconds per token, all sequences together.
    pub(super) fn per_token_s(&self) -> f64 {
        self.cycle_s / self.num_sequences as f64
    }

    /// Whether nobody waits for longer than the policy allows.
    pub(super) fn is_in_time(&self, setting: &Setting<'_>) -> bool {
        let Self { num_sequences, num_microbatches, cycle_s, .. } = *self;
        cycle_s <= setting.max_cycle_s([num_sequences; 2], num_microbatches) * (1.0 + 4.0 * SAME)
    }

    pub(super) fn at_once(&self) -> AtOnce {
        AtOnce::new(self.num_sequences, self.num_microbatches)
    }
}

/// The best placement found, and what is proven of all others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    pub(super) found: Found,
    /// No placement takes fewer seconds per token, but by the setting's tolerance.
    pub(super) lower_bound_s: f64,
    /// With as many sequences and microbatches, no placement keeps everything busy for so short a
    /// time; none where it is not the busiest device or link that counts.
    pub(super) infeasible_s: Option<f64>,
}

/// What is asked of the search.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Sequences at once, at least and at most.
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) cache: Cache,
    /// Fewer devices are no answer.
    pub(super) min_devices: usize,
    /// Only placements that take fewer seconds per token are wanted.
    pub(super) limit_s: f64,
}

/// How large the cache is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cache {
    /// So many pages.
    Pages(usize),
    /// Pages for the sequences at their expected length, but no more than these.
    ForSequences { most_pages: usize },
}

impl Cache {
    /// Pages for so many sequences.
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
    /// Sets of devices; and where those are too many, the devices in one order besides.
    spaces: Vec<Space>,
    sums: LeastSum,
}

impl<'a> Search<'a> {
    /// The most nodes of a space.
    const MAX_NODES: usize = 60_000;
    /// The most numbers of a table of sums: 64 MiB.
    const MAX_SUMS: usize = 8 << 20;
    /// Numbers of sequences and microbatches that are searched for, at most, where there are several
    /// numbers of sequences: what is left then has a bound.
    const MAX_ASKED: usize = 400;
    /// The same where the search is not exact anyway.
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

    /// Whether every set of devices is searched.
    pub(super) fn is_exact(&self) -> bool {
        self.spaces[0].is_complete(self.setting)
    }

    /// Whether any placement fits into memory.
    pub(super) fn fits(&self, sizes: impl Fn() -> Sizes) -> bool {
        self.spaces.iter().any(|space| {
            let problem = Problem::new((self.setting, space), sizes(), 1, 1, 1);
            Chain::all(&problem)
                .iter()
                .any(|chain| bottleneck::is_feasible(&problem, chain, f64::INFINITY))
        })
    }

    /// Finds the placement with the fewest seconds per token, over all numbers of sequences that are
    /// wanted and all numbers of microbatches.
    ///
    /// # Errors
    /// If nothing fits or nothing was found below the limit: a time per token that nothing takes
    /// less than.
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
        // One order is soon tried, and leaves less to be tried of the sets.
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

    /// A time just below that of the busiest device or link, if no chain stays within it.
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

    /// The question that a placement answers, with a cache of so many pages.
    fn problem<'s>(&self, space: &'s Space, num_pages: usize, found: &Found) -> Problem<'s>
    where
        'a: 's,
    {
        let at_once = found.at_once();
        let sizes = self.setting.sizes(num_pages, at_once);
        Problem::new((self.setting, space), sizes, at_once.rows, found.num_microbatches, 1)
    }
}

/// The best answer below a limit, in seconds per token.
fn ask(question: &Question<'_>, sums: &mut LeastSum, limit_s: f64) -> Option<Found> {
    let Question { problem, num_sequences, .. } = question;
    let num_sequences = *num_sequences;
    let num_microbatches = problem.num_microbatches;
    let cycles = num_sequences as f64;
    let max_s = problem.setting.max_cycle_s([num_sequences; 2], num_microbatches);
    // Just as long as is allowed is not too long, whatever rounding makes of it.
    let mut limit_s = (limit_s * cycles).min(max_s * (1.0 + 4.0 * SAME));
    let alone = question.alone().filter(|(_, cycle_s)| *cycle_s < limit_s);
    if let Some((_, cycle_s)) = &alone {
        limit_s = *cycle_s;
    }
    // Near the bound a walk is short, and mostly enough.
    let bound_s = question.bound_s * cycles;
    let near = [bound_s * 1.002, bound_s * 1.02].into_iter();
    let mut tried = near.filter(|near_s| *near_s < limit_s).chain([limit_s]);
    let found = tried.find_map(|limit_s| Round::new(problem, sums, limit_s).run());
    let (stages, cycle_s) = found.or(alone)?;
    Some(Found { stages, num_sequences, num_microbatches, cycle_s })
}

/// The numbers of microbatches that are tried: each sequence is in one of them, and twice as many as
/// there can be stages, and two, fill any pipeline.
pub(super) fn microbatches(
    num_sequences: usize,
    num_devices: usize,
) -> std::ops::RangeInclusive<usize> {
    1..=num_sequences.clamp(1, 2 * num_devices + 2)
}
