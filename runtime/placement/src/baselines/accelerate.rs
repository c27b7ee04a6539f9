//! accelerate's automatic device maps: weights in order, first fit.
//!
//! Source: `get_balanced_memory` and `infer_auto_device_map` in `accelerate/utils/modeling.py`,
//! version 1.15.0, for a causal model whose decoder layers must not be split. A module that does
//! not fit is split if possible; otherwise the walk goes on to the next device and never returns.
//! The first device reserves room for the largest layer still to come, in case it is offloaded.
//! Tied weights stay together. Cache, activations, speed and links are ignored.
//!
//! Weights that accelerate would offload to disk count as not fitting. The final norm is part of
//! the head here; only with a tied head it is a module of its own.

use std::collections::VecDeque;

use sluicegate_spec::units::{Unit, UnitRange};

use super::{BaselineInput, Stages, Unplaced};

/// Modules with weights per layer: four attention projections, three in the feed-forward part, two
/// norms.
const MODULES_PER_LAYER: u64 = 9;

/// Fills each device up to its memory (`device_map="sequential"`).
pub(super) fn sequential(input: &BaselineInput) -> Result<Stages, Unplaced> {
    stages(input, &places(input, &sizes(input)))
}

/// Fills each device but the last up to a balanced budget (`device_map="auto"` and `"balanced"`).
pub(super) fn balanced(input: &BaselineInput) -> Result<Stages, Unplaced> {
    stages(input, &places(input, &budgets(input)))
}

pub(super) fn sizes(input: &BaselineInput) -> Vec<u64> {
    input.devices.iter().map(|(_, size)| size.0).collect()
}

/// An even share of the weights plus one and a quarter of the largest layer; the last device gets
/// all its memory.
pub(super) fn budgets(input: &BaselineInput) -> Vec<u64> {
    let mut budgets = sizes(input);
    let num_used = budgets.iter().filter(|size| **size > 0).count();
    if num_used == 0 {
        return budgets;
    }
    let total: u128 = input.weight_bytes.iter().map(|bytes| u128::from(bytes.0)).sum();
    let num_modules =
        MODULES_PER_LAYER * input.num_layers() as u64 + if input.tied { 3 } else { 4 };
    let largest = u128::from(input.layer_weight(0)).max(total / u128::from(num_modules));
    let budget = total / num_used as u128 + largest * 5 / 4;
    let budget = u64::try_from(budget).unwrap_or(u64::MAX);
    for size in budgets.iter_mut().filter(|size| **size > 0).take(num_used - 1) {
        *size = (*size).min(budget);
    }
    budgets
}

/// A part of the model that is placed as a whole, or split.
#[derive(Debug, Clone, Copy)]
enum Module {
    /// Everything but the head.
    Model,
    Embed,
    Layers,
    Layer(usize),
    /// The norm before a tied head.
    Norm,
    Head,
}

impl Module {
    fn bytes(self, input: &BaselineInput) -> u64 {
        let layers = || (0..input.num_layers()).map(|layer_idx| input.layer_weight(layer_idx));
        let sum = |parts: &mut dyn Iterator<Item = u64>| parts.fold(0, u64::saturating_add);
        match self {
            Self::Model => sum(&mut layers().chain([input.weight(0)])),
            Self::Embed => input.weight(0),
            Self::Layers => sum(&mut layers()),
            Self::Layer(layer_idx) => input.layer_weight(layer_idx),
            Self::Norm if input.tied => input.head_weight(),
            Self::Head if !input.tied => input.head_weight(),
            Self::Norm | Self::Head => 0,
        }
    }

    /// Returns the parts of a module that can be split.
    fn parts(self, input: &BaselineInput) -> Vec<Self> {
        match self {
            Self::Model => vec![Self::Embed, Self::Layers, Self::Norm],
            Self::Layers => (0..input.num_layers()).map(Self::Layer).collect(),
            Self::Embed | Self::Layer(_) | Self::Norm | Self::Head => Vec::new(),
        }
    }

    /// Returns the size of the largest part that cannot be split.
    fn largest(self, input: &BaselineInput) -> u64 {
        let parts = self.parts(input);
        let of_parts = parts.iter().map(|part| part.largest(input)).max();
        of_parts.unwrap_or_else(|| self.bytes(input))
    }
}

/// Returns the index of each unit's device; none for offloaded units.
pub(super) fn places(input: &BaselineInput, caps: &[u64]) -> Vec<Option<usize>> {
    let mut places = vec![None; input.weight_bytes.len()];
    let mut queue = VecDeque::from([Module::Model, Module::Head]);
    let mut device = 0;
    let mut used: u64 = 0;
    while let Some(module) = queue.pop_front() {
        let bytes = module.bytes(input);
        let fits = caps.get(device).is_none_or(|cap| {
            let kept = if device == 0 { largest(&queue, input) } else { 0 };
            let needed = u128::from(used) + u128::from(bytes) + u128::from(kept);
            needed <= u128::from(*cap)
        });
        if fits {
            used = used.saturating_add(bytes);
            let place = (device < caps.len()).then_some(device);
            put(module, input, place, &mut places);
            if input.tied && matches!(module, Module::Model | Module::Embed) {
                queue.retain(|other| !matches!(other, Module::Head));
                put(Module::Head, input, place, &mut places);
            }
            continue;
        }
        let parts = module.parts(input);
        if parts.is_empty() {
            queue.push_front(module);
            device += 1;
            used = 0;
        }
        for part in parts.into_iter().rev() {
            queue.push_front(part);
        }
    }
    places
}

fn largest(queue: &VecDeque<Module>, input: &BaselineInput) -> u64 {
    queue.iter().map(|module| module.largest(input)).max().unwrap_or(0)
}

fn put(module: Module, input: &BaselineInput, place: Option<usize>, places: &mut [Option<usize>]) {
    match module {
        Module::Model | Module::Layers => {
            for part in module.parts(input) {
                put(part, input, place, places);
            }
        }
        Module::Embed => places[0] = place,
        Module::Layer(layer_idx) => places[layer_idx + 1] = place,
        Module::Head => places[input.num_layers() + 1] = place,
        // The norm's few kilobytes go with the head.
        Module::Norm => {}
    }
}

/// Merges neighbouring units on one device into a stage.
fn stages(input: &BaselineInput, places: &[Option<usize>]) -> Result<Stages, Unplaced> {
    let mut stages = Stages::new();
    for (unit_idx, place) in places.iter().enumerate() {
        let units = UnitRange { start: unit_idx, end: unit_idx + 1 };
        let unit: Unit = units.first(input.num_layers());
        let device = place.ok_or(Unplaced::DoesNotFit { unit })?;
        let (device, _) = input.devices[device];
        match stages.last_mut() {
            Some((last, units)) if *last == device => units.end = unit_idx + 1,
            _ => stages.push((device, units)),
        }
    }
    Ok(stages)
}
