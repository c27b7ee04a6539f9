//! The numbers of sequences and microbatches still to be examined, the most promising first.
//!
//! With the same number of microbatches, more sequences never shorten a cycle and never need less
//! memory. So a lower bound of the cycle for the fewest sequences of a [`Span`], divided by its
//! largest number of sequences, bounds the time per token in the whole span. A span with too high a
//! bound is dropped; any other is halved.

use sluicegate_spec::{device::DeviceId, units::UnitRange};

use super::{
    SAME, Wanted, bottleneck,
    bound::Bound,
    problem::{Chain, Problem},
    rest,
    space::Space,
};
use crate::{cost::AtOnce, microbatches::microbatches, setting::Setting};

/// Consecutive numbers of sequences in the same number of microbatches.
#[derive(Debug, Clone, Copy)]
struct Span {
    num_microbatches: usize,
    first: usize,
    last: usize,
    /// A lower bound of the cycle for `first` sequences.
    cycle_s: f64,
    /// Whether `cycle_s` is the better bound, which takes longer.
    is_refined: bool,
}

impl Span {
    /// Returns a lower bound of the time per token in the span.
    fn bound_s(&self) -> f64 {
        self.cycle_s / self.last as f64
    }
}

/// A span is narrow if its numbers differ by at most one part in this many.
const NARROW: usize = 50;

/// The largest space that is tested for a placement that fits.
const MAX_CHECKED: usize = 2_000;

/// The remaining spans.
pub(super) struct Queue<'a> {
    setting: &'a Setting<'a>,
    space: &'a Space,
    wanted: &'a Wanted,
    spans: Vec<Span>,
}

/// One number of sequences and one of microbatches.
pub(super) struct Question<'a> {
    pub(super) problem: Problem<'a>,
    pub(super) num_sequences: usize,
    /// A lower bound of the time per token.
    pub(super) bound_s: f64,
    bound: Bound,
}

impl<'a> Queue<'a> {
    pub(super) fn new((setting, space): (&'a Setting<'a>, &'a Space), wanted: &'a Wanted) -> Self {
        let mut queue = Self { setting, space, wanted, spans: Vec::new() };
        let all = microbatches(wanted.most, setting.devices.len());
        // Each sequence is in one microbatch, and each microbatch has a sequence.
        let spans = all.map(|it| queue.span(it, wanted.least.max(it), wanted.most));
        queue.spans = spans.collect();
        queue
    }

    /// Removes and returns the question with the lowest bound, if that is below a limit.
    pub(super) fn next_below(&mut self, limit_s: f64) -> Option<Question<'a>> {
        loop {
            let bounds = self.spans.iter().enumerate().map(|(idx, span)| (span.bound_s(), idx));
            let (bound_s, idx) = bounds.reduce(|a, b| if b.0 < a.0 { b } else { a })?;
            if bound_s >= limit_s {
                return None;
            }
            let span = self.spans.swap_remove(idx);
            let Span { first, last, num_microbatches, .. } = span;
            let max_s = self.setting.max_cycle_s([first, last], num_microbatches);
            if span.cycle_s > max_s * (1.0 + 4.0 * SAME) {
                continue;
            }
            // In a narrow span the better bound excludes as much as bounds for each number would.
            let is_narrow = (span.last - span.first) * NARROW <= span.last;
            if span.is_refined && is_narrow && !self.is_possible(span, limit_s) {
                continue;
            }
            if span.first < span.last && (span.is_refined || !is_narrow) {
                self.split(span);
            } else if span.is_refined {
                return Some(self.question(span));
            } else {
                let question = self.question(span);
                // More sequences would not fit either.
                if !question.fits() {
                    continue;
                }
                let refined_s = rest::cycle_s(&question.problem, span.cycle_s);
                // Bounds of chains do not apply to a single device that is faster alone.
                let alone_s = question.alone().map_or(f64::INFINITY, |(_, cycle_s)| cycle_s);
                let cycle_s = refined_s.min(alone_s).max(span.cycle_s);
                self.spans.push(Span { cycle_s, is_refined: true, ..span });
            }
        }
    }

    /// Returns whether the fewest sequences of a span can keep busy times so low that the largest
    /// number would take less than `limit_s` per token. In a large space, or where links differ and
    /// the test is slow, it returns true and leaves the answer to the search.
    fn is_possible(&self, span: Span, limit_s: f64) -> bool {
        let question = self.question(span);
        if !question.problem.ways.are_uniform() {
            return true;
        }
        let limit_s = limit_s * span.last as f64 / span.num_microbatches as f64;
        question.fits_within(limit_s)
    }

    /// Halves a span; or keeps only its last number if all of them cost the same and fit alike.
    fn split(&mut self, span: Span) {
        let Span { num_microbatches, first, last, cycle_s, .. } = span;
        let rows = |num_sequences: usize| num_sequences.div_ceil(num_microbatches);
        if rows(first) == rows(last) {
            let ends = [first, last].map(|it| self.problem(num_microbatches, it));
            if ends[0].fits_like(&ends[1]) {
                self.spans.push(Span { first: last, ..span });
                return;
            }
        }
        let middle = first.midpoint(last);
        self.spans.push(Span { num_microbatches, first, last: middle, cycle_s, ..span });
        let upper = self.span(num_microbatches, middle + 1, last);
        self.spans.push(upper);
    }

    fn span(&self, num_microbatches: usize, first: usize, last: usize) -> Span {
        let span = Span { num_microbatches, first, last, cycle_s: 0.0, is_refined: false };
        let question = self.question(span);
        let alone_s = question.alone().map_or(f64::INFINITY, |(_, cycle_s)| cycle_s);
        let cycle_s = question.bound.cycle_s(&question.problem, 1).min(alone_s);
        Span { cycle_s, ..span }
    }

    /// Makes the question about the fewest sequences of a span.
    fn question(&self, span: Span) -> Question<'a> {
        let problem = self.problem(span.num_microbatches, span.first);
        let bound = Bound::new(self.setting, &problem.sizes);
        Question { problem, num_sequences: span.first, bound_s: span.bound_s(), bound }
    }

    fn problem(&self, num_microbatches: usize, num_sequences: usize) -> Problem<'a> {
        let at_once = AtOnce::new(num_sequences, num_microbatches);
        let num_pages = self.wanted.cache.pages(self.setting, num_sequences);
        let sizes = self.setting.sizes(num_pages, at_once);
        let parts = (self.setting, self.space);
        Problem::new(parts, sizes, at_once.rows, num_microbatches, self.wanted.min_devices)
    }
}

impl Question<'_> {
    /// Returns whether any placement may fit into memory; in a large space it returns true.
    fn fits(&self) -> bool {
        self.fits_within(f64::INFINITY)
    }

    /// As [`Question::fits`], with nothing busy for longer than a limit.
    fn fits_within(&self, limit_s: f64) -> bool {
        let problem = &self.problem;
        if problem.space.nodes.len() > MAX_CHECKED {
            return true;
        }
        let fits = |chain: &Chain| bottleneck::is_feasible(problem, chain, limit_s);
        self.alone().is_some() || Chain::all(problem).iter().any(fits)
    }

    /// Returns a lower bound of the time per token on at least `min_devices` devices.
    pub(super) fn beyond_s(&self, min_devices: usize) -> f64 {
        self.bound.cycle_s(&self.problem, min_devices) / self.num_sequences as f64
    }

    /// Returns the best single device, which may be faster alone, and its cycle; none if several
    /// devices are wanted.
    pub(super) fn alone(&self) -> Option<(Vec<(DeviceId, UnitRange)>, f64)> {
        let Problem { setting, space, memory, work, num_microbatches, min_devices, .. } =
            &self.problem;
        if *min_devices > 1 {
            return None;
        }
        let units = UnitRange { start: 0, end: setting.num_units() };
        let classes = space.classes.iter().enumerate();
        let fitting = classes.filter(|(class_idx, _)| memory.end(*class_idx, 0) == units.end);
        let costed = fitting.map(|(_, class)| {
            let seconds = work.seconds(class.device.speed.times(class.device.alone), units);
            let round_s = seconds + setting.cluster.host_s;
            (class, (*num_microbatches as f64 * seconds).max(round_s))
        });
        let (class, cycle_s) = costed.reduce(|a, b| if b.1 < a.1 { b } else { a })?;
        Some((vec![(setting.devices[class.members[0]].id, units)], cycle_s))
    }
}
