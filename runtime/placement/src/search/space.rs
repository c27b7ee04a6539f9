//! The graph that the search walks: which devices in which order.
//!
//! A node is a set of devices together with the last one; an edge adds a device. Devices that can
//! be swapped without effect form a class, and a set is a count per class. That gives
//! `prod(n_c + 1) * classes` nodes instead of `2^n * n`. If even that is too many, sets stop at
//! some size. Then a second space takes the devices in a fixed order, each followed by any later
//! one.

use std::{collections::BTreeMap, ops::Range};

use crate::setting::{Setting, Usable};

/// Devices that are alike in every figure and every link.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Class {
    /// The figures of each member.
    pub(super) device: Usable,
    /// Indices into [`Setting::devices`].
    pub(super) members: Vec<usize>,
}

/// A chain of devices, identified by its last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) class_idx: usize,
    /// The number of devices in the chain; in a fixed order, the least number.
    pub(super) num_devices: usize,
    /// Whether a chain may begin with it.
    pub(super) is_first: bool,
    /// The set to which it belongs; in a fixed order, each node has its own.
    pub(super) set_idx: usize,
    preds: Range<usize>,
}

/// In a fixed order, a device follows one of at most this many before it.
const MAX_FOLLOWED: usize = 32;

/// Sets of devices, each with its nodes.
type Sets = BTreeMap<Vec<u16>, Vec<u32>>;

/// All chains of devices that the search considers.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) classes: Vec<Class>,
    /// Each node comes after those it continues; smaller sets come first.
    pub(super) nodes: Vec<Node>,
    preds: Vec<u32>,
    /// Per set and class: how many devices remain.
    left: Vec<u16>,
    /// All sets of up to this many devices, in every order, are among the chains.
    pub(super) max_devices: usize,
}

impl Space {
    /// Groups the devices into classes and lists the sets, up to the size at which there are at
    /// most `max_nodes` nodes, but at least the sets of one device.
    pub(super) fn of_sets(setting: &Setting<'_>, max_nodes: usize) -> Self {
        let classes = classes(setting);
        let counts: Vec<u16> = classes
            .iter()
            .map(|class| u16::try_from(class.members.len()).expect("devices are limited"))
            .collect();
        let mut space = Self::empty(classes);
        // The nodes of all sets of one size, keyed by the count per class.
        let mut sets: Sets = [(vec![0; counts.len()], Vec::new())].into();
        while space.max_devices < setting.devices.len() {
            let mut larger = Sets::new();
            for set in sets.keys() {
                for class_idx in (0..counts.len()).filter(|it| set[*it] < counts[*it]) {
                    let mut set = set.clone();
                    set[class_idx] += 1;
                    larger.entry(set).or_default();
                }
                if larger.len() > max_nodes {
                    break;
                }
            }
            let num_nodes: usize =
                larger.keys().map(|set| set.iter().filter(|count| **count > 0).count()).sum();
            if space.max_devices > 0 && space.nodes.len() + num_nodes > max_nodes {
                break;
            }
            space.max_devices += 1;
            // Among equal answers the first is taken: the one on the devices listed first, in their
            // order.
            for (set, nodes) in larger.iter_mut().rev() {
                *nodes = space.add_set(set, &sets);
                space.left.extend(counts.iter().zip(set).map(|(count, used)| count - used));
            }
            sets = larger;
        }
        space
    }

    fn empty(classes: Vec<Class>) -> Self {
        let (nodes, preds, left) = (Vec::new(), Vec::new(), Vec::new());
        Self { classes, nodes, preds, left, max_devices: 0 }
    }

    /// Adds a node for each class that may come last, and returns the nodes.
    fn add_set(&mut self, set: &[u16], smaller: &Sets) -> Vec<u32> {
        let mut added = Vec::new();
        let mut before = set.to_vec();
        let set_idx = self.left.len() / self.classes.len();
        for class_idx in (0..set.len()).rev().filter(|it| set[*it] > 0) {
            before[class_idx] -= 1;
            let first_pred = self.preds.len();
            self.preds.extend(smaller.get(&before).into_iter().flatten());
            before[class_idx] += 1;
            added.push(u32::try_from(self.nodes.len()).expect("nodes are limited"));
            let num_devices = self.max_devices;
            let preds = first_pred..self.preds.len();
            let is_first = num_devices == 1;
            self.nodes.push(Node { class_idx, num_devices, is_first, set_idx, preds });
        }
        added
    }

    /// Makes each device a class of its own, followed by any later one.
    pub(super) fn in_order(setting: &Setting<'_>) -> Self {
        let order = fastest_first(setting);
        let class = |idx: &usize| Class { device: setting.devices[*idx], members: vec![*idx] };
        let mut space = Self::empty(order.iter().map(class).collect());
        let num_classes = space.classes.len();
        for class_idx in 0..num_classes {
            let first_pred = space.preds.len();
            let first = class_idx.saturating_sub(MAX_FOLLOWED);
            space.preds.extend(
                (first..class_idx).map(|pred| u32::try_from(pred).expect("devices are limited")),
            );
            let preds = first_pred..space.preds.len();
            let (num_devices, is_first, set_idx) = (1, true, class_idx);
            space.nodes.push(Node { class_idx, num_devices, is_first, set_idx, preds });
            space.left.extend((0..num_classes).map(|other| u16::from(other > class_idx)));
        }
        space
    }

    /// Returns whether every subset of the devices in every order is among the chains.
    pub(super) fn is_complete(&self, setting: &Setting<'_>) -> bool {
        self.max_devices == setting.devices.len()
    }

    /// Returns how many devices of a class may still follow a node.
    pub(super) fn num_left(&self, node: &Node, class_idx: usize) -> usize {
        usize::from(self.left[node.set_idx * self.classes.len() + class_idx])
    }

    /// Returns the nodes that a node continues.
    pub(super) fn preds(&self, node: &Node) -> impl Iterator<Item = usize> + Clone + '_ {
        self.preds[node.preds.clone()].iter().map(|node| *node as usize)
    }
}

/// Groups devices into classes: two are of one class if swapping them changes nothing. This is
/// transitive, so comparing with the first member suffices.
///
/// Higher priorities come first, then devices that are listed first.
fn classes(setting: &Setting<'_>) -> Vec<Class> {
    let mut order: Vec<usize> = (0..setting.devices.len()).collect();
    order.sort_by_key(|idx| std::cmp::Reverse(setting.devices[*idx].priority));
    let mut classes: Vec<Class> = Vec::new();
    for idx in order {
        match classes.iter_mut().find(|class| setting.may_swap(class.members[0], idx)) {
            Some(class) => class.members.push(idx),
            None => classes.push(Class { device: setting.devices[idx], members: vec![idx] }),
        }
    }
    classes
}

/// Returns the order for too many different devices: fast and large ones first, then as listed.
fn fastest_first(setting: &Setting<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..setting.devices.len()).collect();
    let device = |idx: usize| &setting.devices[idx];
    order.sort_by(|a, b| {
        let by_speed = device(*a).speed.s_per_byte.total_cmp(&device(*b).speed.s_per_byte);
        by_speed.then(device(*b).cap.cmp(&device(*a).cap)).then(a.cmp(b))
    });
    order
}
