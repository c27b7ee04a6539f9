//! How far a stage may reach: in memory, and in time under a limit.

use sluicegate_spec::units::UnitRange;

use super::{
    problem::{Chain, Problem},
    space::Class,
};
use crate::{
    cost::Sizes,
    setting::Setting,
    work::{Hop, Work},
};

/// Per class and first unit: the end of the longest stage that fits into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryReach {
    ends: Vec<usize>,
    num_units: usize,
}

impl MemoryReach {
    pub(super) fn new(setting: &Setting<'_>, classes: &[Class], sizes: &Sizes) -> Self {
        let num_units = setting.num_units();
        let mut ends = Vec::with_capacity(classes.len() * num_units);
        for class in classes {
            let cap = class.device.cap.0.into();
            ends.extend((0..num_units).map(|start| furthest(setting, sizes, start, cap)));
        }
        Self { ends, num_units }
    }

    pub(super) fn end(&self, class_idx: usize, start: usize) -> usize {
        self.ends[class_idx * self.num_units + start]
    }
}

/// Returns the end of the longest stage from `start` that needs at most `cap` bytes and ends at an
/// allowed boundary; `start` if there is none.
pub(super) fn furthest(setting: &Setting<'_>, sizes: &Sizes, start: usize, cap: u128) -> usize {
    let mut workspace = 0;
    let mut best = start;
    for end in start + 1..=sizes.num_units() {
        workspace = sizes.workspace(end - 1).max(workspace);
        if sizes.stored(UnitRange { start, end }) + workspace > cap {
            break;
        }
        if setting.may_cut[end] {
            best = end;
        }
    }
    best
}

/// All hops between classes for one microbatch size, grouped by cost.
#[derive(Debug, Clone)]
pub(super) struct Ways {
    /// Per target class: its distinct incoming hops.
    pub(super) into: Vec<Vec<Hop>>,
    /// Per source and target class: the index into those.
    way_of: Vec<usize>,
    num_classes: usize,
}

impl Ways {
    pub(super) fn new(setting: &Setting<'_>, classes: &[Class], work: &Work) -> Self {
        let num_classes = classes.len();
        let mut into: Vec<Vec<Hop>> = vec![Vec::new(); num_classes];
        let mut way_of = vec![usize::MAX; num_classes * num_classes];
        for (source, from) in classes.iter().enumerate() {
            for (target, to) in classes.iter().enumerate() {
                // Within a class, the hop from one member to another.
                let last = to.members[to.members.len() - 1];
                if last == from.members[0] {
                    continue;
                }
                let way = Hop::new(setting.link(from.members[0], last), work);
                let known = into[target].iter().position(|other| *other == way);
                way_of[source * num_classes + target] = known.unwrap_or(into[target].len());
                if known.is_none() {
                    into[target].push(way);
                }
            }
        }
        Self { into, way_of, num_classes }
    }

    /// Returns the number of distinct hops of all classes.
    pub(super) fn count(&self) -> usize {
        self.into.iter().map(Vec::len).sum()
    }

    /// Returns whether the cost of a hop depends on its target only.
    pub(super) fn are_uniform(&self) -> bool {
        self.into.iter().all(|ways| ways.len() <= 1)
    }

    /// Returns the index of the hop between two classes.
    pub(super) fn way(&self, source: usize, target: usize) -> usize {
        self.way_of[source * self.num_classes + target]
    }
}

/// How far each stage reaches when nothing may be busy for longer than a limit.
#[derive(Debug)]
pub(super) struct Reach {
    /// Per class, incoming hop and first unit: the end of the longest stage; the first unit itself
    /// if no stage is short enough.
    ends: Vec<Vec<Vec<usize>>>,
    /// Per class: the end of the longest first stage.
    pub(super) first: Vec<usize>,
}

impl Reach {
    pub(super) fn new(problem: &Problem<'_>, chain: &Chain, limit_s: f64) -> Self {
        let Problem { setting, space, work, ways, memory, .. } = problem;
        let mut ends = Vec::with_capacity(space.classes.len());
        let mut first = Vec::with_capacity(space.classes.len());
        for (class_idx, class) in space.classes.iter().enumerate() {
            let speed = class.device.speed;
            let table = |way: &Hop| {
                if way.seconds > limit_s {
                    return (0..chain.end).collect();
                }
                let limit = limit_s - way.blocking_s();
                let fits = |units| work.seconds(speed, units) <= limit;
                let in_memory = |start| memory.end(class_idx, start).min(chain.end);
                furthest_ends(&setting.may_cut, chain.end, fits, in_memory)
            };
            ends.push(ways.into[class_idx].iter().map(table).collect());
            let limit = limit_s - chain.reserved_s;
            let fits = |end: &usize| {
                setting.may_cut[*end]
                    && work.seconds(speed, UnitRange { start: 0, end: *end }) <= limit
            };
            first.push((1..=chain.first_end(class_idx)).rev().find(fits).unwrap_or(0));
        }
        Self { ends, first }
    }

    /// Returns the ends of the longest stages on a class, for each incoming hop.
    pub(super) fn all_ends(&self, class_idx: usize) -> impl Iterator<Item = &[usize]> {
        self.ends[class_idx].iter().map(Vec::as_slice)
    }

    /// Returns the ends of the longest stages on a class after a hop, per first unit.
    pub(super) fn ends(&self, class_idx: usize, way_idx: usize) -> &[usize] {
        &self.ends[class_idx][way_idx]
    }
}

/// Returns per first unit the end of the longest stage that fits and ends at an allowed boundary.
fn furthest_ends(
    may_cut: &[bool],
    end: usize,
    fits: impl Fn(UnitRange) -> bool,
    in_memory: impl Fn(usize) -> usize,
) -> Vec<usize> {
    let mut ends = Vec::with_capacity(end);
    // A later start reaches at least as far.
    let mut reached = 0;
    for start in 0..end {
        reached = reached.max(start);
        while reached < end && fits(UnitRange { start, end: reached + 1 }) {
            reached += 1;
        }
        let mut stop = reached.min(in_memory(start));
        while stop > start && !may_cut[stop] {
            stop -= 1;
        }
        ends.push(stop);
    }
    ends
}
