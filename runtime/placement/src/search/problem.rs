//! One problem of the search: a cache, a number of sequences, a number of microbatches.

use sluicegate_spec::{device::DeviceId, units::UnitRange};

use super::{
    limits::{MemoryReach, Ways, furthest},
    space::Space,
};
use crate::{cost::Sizes, setting::Setting, work::Work};

/// Model, devices and load as tables.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) setting: &'a Setting<'a>,
    pub(super) space: &'a Space,
    pub(super) sizes: Sizes,
    pub(super) memory: MemoryReach,
    pub(super) work: Work,
    pub(super) ways: Ways,
    pub(super) num_microbatches: usize,
    /// Placements on fewer devices are not accepted.
    pub(super) min_devices: usize,
}

impl<'a> Problem<'a> {
    /// `sizes` must be those of the cache and of `rows`.
    pub(super) fn new(
        (setting, space): (&'a Setting<'a>, &'a Space),
        sizes: Sizes,
        rows: usize,
        num_microbatches: usize,
        min_devices: usize,
    ) -> Self {
        let memory = MemoryReach::new(setting, &space.classes, &sizes);
        let work = Work::expected(setting.profile, setting.policy, rows);
        let ways = Ways::new(setting, &space.classes, &work);
        Self { setting, space, sizes, memory, work, ways, num_microbatches, min_devices }
    }

    /// Returns whether exactly the same placements fit into memory. Both problems must be of one
    /// space.
    pub(super) fn fits_like(&self, other: &Self) -> bool {
        self.memory == other.memory && self.returning_ends() == other.returning_ends()
    }

    /// Returns per class how far a first stage may reach in memory if the head returns to its
    /// device; none if the head does not fit there.
    fn returning_ends(&self) -> Vec<Option<usize>> {
        let num_units = self.setting.num_units();
        let head = UnitRange { start: num_units - 1, end: num_units };
        let head_bytes = self.sizes.span_beside_embedding(head).total();
        let end = |class: &super::space::Class| {
            let left = u128::from(class.device.cap.0).checked_sub(head_bytes)?;
            Some(furthest(self.setting, &self.sizes, 0, left))
        };
        self.space.classes.iter().map(end).collect()
    }
}

/// A span of units from the first one, to be covered by a chain of devices.
///
/// Either the whole model, or all but the head, which then returns to the first device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    pub(super) end: usize,
    /// Per class: how far a first stage may reach in memory.
    first_ends: Vec<usize>,
    /// Additional busy time of the first stage's device.
    pub(super) reserved_s: f64,
    pub(super) back: Option<Back>,
}

/// The most chains that return; each needs a search of its own.
const MAX_RETURNING: usize = 128;

/// A last stage with only the head, on the first stage's device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Back {
    pub(super) class_idx: usize,
    /// The index of the hop into it.
    pub(super) way_idx: usize,
    /// Seconds of hop and head.
    pub(super) seconds: f64,
    /// The overlapping part of the hop, which a limit must allow.
    pub(super) link_s: f64,
}

impl Chain {
    /// Returns all chains: of the whole model, and those that return to the first device.
    pub(super) fn all(problem: &Problem<'_>) -> Vec<Self> {
        let mut chains = vec![Self::whole(problem)];
        chains.extend(Self::returning(problem));
        chains
    }

    /// Returns the chain of the whole model.
    pub(super) fn whole(problem: &Problem<'_>) -> Self {
        let num_classes = problem.space.classes.len();
        Self {
            end: problem.setting.num_units(),
            first_ends: (0..num_classes).map(|it| problem.memory.end(it, 0)).collect(),
            reserved_s: 0.0,
            back: None,
        }
    }

    /// Returns the chains that return to their first device, by its class and the incoming hop.
    pub(super) fn returning(problem: &Problem<'_>) -> Vec<Self> {
        let setting = problem.setting;
        let num_units = setting.num_units();
        let (last, whole) = (num_units - 1, num_units);
        if setting.devices.len() < 2 || !setting.may_cut[last] || Self::too_many_return(problem) {
            return Vec::new();
        }
        let head = UnitRange { start: last, end: whole };
        let ends = problem.returning_ends();
        let mut chains = Vec::new();
        for (class_idx, class) in problem.space.classes.iter().enumerate() {
            let Some(first_end) = ends[class_idx] else { continue };
            let mut first_ends = vec![0; problem.space.classes.len()];
            first_ends[class_idx] = first_end;
            let head_s = problem.work.seconds(class.device.speed, head);
            for (way_idx, hop) in problem.ways.into[class_idx].iter().enumerate() {
                chains.push(Self {
                    end: last,
                    first_ends: first_ends.clone(),
                    reserved_s: head_s + hop.blocking_s(),
                    back: Some(Back {
                        class_idx,
                        way_idx,
                        seconds: head_s + hop.seconds,
                        link_s: if hop.overlaps { hop.seconds } else { 0.0 },
                    }),
                });
            }
        }
        chains
    }

    /// Returns whether there are too many returning chains to try each.
    pub(super) fn too_many_return(problem: &Problem<'_>) -> bool {
        problem.ways.count() > MAX_RETURNING
    }

    /// Returns how far a first stage of a class may reach in memory.
    pub(super) fn first_end(&self, class_idx: usize) -> usize {
        self.first_ends[class_idx].min(self.end)
    }

    /// Returns whether a chain may end with this node.
    pub(super) fn may_end(&self, problem: &Problem<'_>, node_idx: usize) -> bool {
        let node = &problem.space.nodes[node_idx];
        match self.back {
            None => true,
            // The hop back must come from another device, possibly of the same class.
            Some(back) => {
                let is_other = node.num_devices > 1 || node.class_idx != back.class_idx;
                let way_idx = problem.ways.way(node.class_idx, back.class_idx);
                is_other && way_idx == back.way_idx
            }
        }
    }

    /// Returns the time of what follows the last stage of the chain.
    pub(super) fn back_s(&self) -> f64 {
        self.back.map_or(0.0, |back| back.seconds)
    }
}

/// A chain of classes, each with the end of its stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<(usize, usize)>);

impl Path {
    /// Assigns devices: the members of each class in order.
    pub(super) fn stages(
        &self,
        problem: &Problem<'_>,
        chain: &Chain,
    ) -> Vec<(DeviceId, UnitRange)> {
        let mut used = vec![0; problem.space.classes.len()];
        let mut start = 0;
        let mut stages: Vec<(DeviceId, UnitRange)> = Vec::new();
        for &(class_idx, end) in &self.0 {
            let member = problem.space.classes[class_idx].members[used[class_idx]];
            used[class_idx] += 1;
            stages.push((problem.setting.devices[member].id, UnitRange { start, end }));
            start = end;
        }
        if chain.back.is_some() {
            let end = problem.setting.num_units();
            stages.push((stages[0].0, UnitRange { start, end }));
        }
        stages
    }
}
