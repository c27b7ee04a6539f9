//! Placement rules of other runtimes, as baselines.
//!
//! Each rule decides as its system does, from what its system considers. The rules compute no
//! costs: the planner costs all placements by one model. Nothing here is used to place a model.

use sluicegate_spec::{
    device::DeviceId,
    units::{Bytes, Unit, UnitRange},
};

mod accelerate;
mod even;
mod first_fit;
mod proportional;

#[cfg(test)]
mod accelerate_tests;

/// A placement rule of another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Baseline {
    /// The same number of layers for each device.
    Even,
    /// Layers in proportion to memory.
    Proportional,
    /// Fills the first device, then the next.
    FirstFit,
    /// Weights in order, each device up to a balanced budget.
    AccelerateBalanced,
    /// Weights in order, each device up to its memory.
    AccelerateSequential,
}

/// The input of the rules: plain sizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineInput {
    /// Weights of each unit: embedding, layers, norm and head. A tied head holds only the norm.
    pub weight_bytes: Vec<Bytes>,
    /// Cache of each unit for the wanted tokens; zero for the first and the last.
    pub kv_bytes: Vec<Bytes>,
    /// The devices in order, each with its usable memory.
    pub devices: Vec<(DeviceId, Bytes)>,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
}

/// Why a rule places nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unplaced {
    #[error("there are no devices")]
    NoDevices,
    #[error("the model has no layers")]
    NoLayers,
    #[error("{found} layers for {num_devices} devices; the rule needs a layer for each")]
    TooFewLayers { found: usize, num_devices: usize },
    #[error("{unit} and what follows it fit on no device")]
    DoesNotFit { unit: Unit },
}

/// Stages in order.
pub type Stages = Vec<(DeviceId, UnitRange)>;

impl Baseline {
    pub const ALL: [Self; 5] = [
        Self::Even,
        Self::Proportional,
        Self::FirstFit,
        Self::AccelerateBalanced,
        Self::AccelerateSequential,
    ];

    /// Returns the name used in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::Proportional => "proportional",
            Self::FirstFit => "first_fit",
            Self::AccelerateBalanced => "accelerate_balanced",
            Self::AccelerateSequential => "accelerate_sequential",
        }
    }

    /// Returns the rule's stages: all units in order, no stage empty.
    ///
    /// They fit by the rule's own estimate only.
    ///
    /// # Errors
    /// The rule finds no placement.
    pub fn stages(self, input: &BaselineInput) -> Result<Stages, Unplaced> {
        if input.devices.is_empty() {
            return Err(Unplaced::NoDevices);
        }
        if input.num_layers() == 0 {
            return Err(Unplaced::NoLayers);
        }
        match self {
            Self::Even => even::stages(input),
            Self::Proportional => proportional::stages(input),
            Self::FirstFit => first_fit::stages(input),
            Self::AccelerateBalanced => accelerate::balanced(input),
            Self::AccelerateSequential => accelerate::sequential(input),
        }
    }
}

impl BaselineInput {
    pub fn num_layers(&self) -> usize {
        self.weight_bytes.len().saturating_sub(2)
    }

    fn weight(&self, unit_idx: usize) -> u64 {
        self.weight_bytes.get(unit_idx).map_or(0, |bytes| bytes.0)
    }

    fn layer_weight(&self, layer_idx: usize) -> u64 {
        self.weight(layer_idx + 1)
    }

    fn head_weight(&self) -> u64 {
        self.weight(self.num_layers() + 1)
    }

    /// Returns the bytes of a layer's weights and cache.
    fn layer_bytes(&self, layer_idx: usize) -> u64 {
        let kv = self.kv_bytes.get(layer_idx + 1).map_or(0, |bytes| bytes.0);
        self.layer_weight(layer_idx).saturating_add(kv)
    }

    /// Makes stages from the number of layers per device; devices without layers are left out. The
    /// embedding goes with the first stage, norm and head with the last.
    fn stages_of(&self, layers_per_device: &[usize]) -> Stages {
        let mut stages = Stages::new();
        let mut start = 0;
        let mut layer_idx = 0;
        for ((device, _), num_layers) in self.devices.iter().zip(layers_per_device) {
            if *num_layers > 0 {
                layer_idx += num_layers;
                stages.push((*device, UnitRange { start, end: layer_idx + 1 }));
                start = layer_idx + 1;
            }
        }
        if let Some((_, last)) = stages.last_mut() {
            last.end = self.weight_bytes.len();
        }
        stages
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Layers of 10 bytes and caches of 2 on devices of these sizes.
    fn input(num_layers: usize, devices: &[u64]) -> BaselineInput {
        let units = |layer: u64, end: u64| {
            let layers = std::iter::repeat_n(Bytes(layer), num_layers);
            [Bytes(end)].into_iter().chain(layers).chain([Bytes(end)]).collect()
        };
        let devices = (0..).map(DeviceId::Cuda).zip(devices.iter().map(|size| Bytes(*size)));
        BaselineInput {
            weight_bytes: units(10, 5),
            kv_bytes: units(2, 0),
            devices: devices.collect(),
            tied: false,
        }
    }

    /// Checks the stages, as `device: units`.
    #[track_caller]
    fn check(baseline: Baseline, input: &BaselineInput, want: &str) {
        let stage = |(device, UnitRange { start, end }): &(DeviceId, UnitRange)| {
            let DeviceId::Cuda(ordinal) = device else { panic!("a GPU") };
            format!("{ordinal}: {start}..{end}")
        };
        let found = match baseline.stages(input) {
            Ok(stages) => stages.iter().map(stage).collect::<Vec<_>>().join(", "),
            Err(unplaced) => unplaced.to_string(),
        };
        assert_eq!(found, want, "{}", baseline.name());
    }

    #[test]
    fn even_gives_the_rest_to_the_middle() {
        let check = |num_layers, num_devices, want| {
            check(Baseline::Even, &input(num_layers, &vec![1; num_devices]), want);
        };
        check(8, 2, "0: 0..5, 1: 5..10");
        check(4, 3, "0: 0..2, 1: 2..4, 2: 4..6");
        check(5, 3, "0: 0..3, 1: 3..5, 2: 5..7");
        check(22, 4, "0: 0..6, 1: 6..12, 2: 12..18, 3: 18..24");
        check(3, 1, "0: 0..5");
        check(2, 3, "2 layers for 3 devices; the rule needs a layer for each");
        check(0, 3, "the model has no layers");
        check(2, 0, "there are no devices");
    }

    #[test]
    fn proportional_goes_by_memory() {
        let check = |num_layers, devices: &[u64], want| {
            check(Baseline::Proportional, &input(num_layers, devices), want);
        };
        check(9, &[24, 12], "0: 0..7, 1: 7..11");
        check(10, &[24, 24, 12], "0: 0..5, 1: 5..9, 2: 9..12");
        // Equal remainders: the first device has the layer.
        check(3, &[1, 1], "0: 0..3, 1: 3..5");
        // Each has one at least, taken from the one with the most.
        check(4, &[1000, 1, 1], "0: 0..3, 1: 3..4, 2: 4..6");
        check(4, &[0, 0], "embed and what follows it fit on no device");
        check(2, &[1, 1, 1], "2 layers for 3 devices; the rule needs a layer for each");
        check(4, &[u64::MAX, u64::MAX], "0: 0..3, 1: 3..6");
    }

    #[test]
    fn first_fit_fills_the_first_device() {
        const MIB: u64 = 1 << 20;
        let mut input = input(4, &[612 * MIB, 612 * MIB, 612 * MIB]);
        let check = |input: &BaselineInput, want| check(Baseline::FirstFit, input, want);
        check(&input, "0: 0..6");
        // 100 MiB on each device above the margin of 512 MiB; 60 of the first hold both ends.
        input.weight_bytes = [20, 25, 25, 25, 25, 40].map(|it| Bytes(it * MIB)).to_vec();
        input.kv_bytes = [0, 10, 10, 10, 10, 0].map(|it| Bytes(it * MIB)).to_vec();
        check(&input, "0: 0..2, 1: 2..4, 2: 4..6");
        input.weight_bytes[5].0 += 10 * MIB;
        check(&input, "1: 0..3, 2: 3..6");
        input.devices.pop();
        check(&input, "layer 2 and what follows it fit on no device");
        // Above 25 GiB the margin is 2 %.
        input.devices = vec![(DeviceId::Cuda(0), Bytes(100 << 30)); 1];
        input.weight_bytes[1] = Bytes(98 << 30);
        check(&input, "embed and what follows it fit on no device");
    }

    proptest! {
        #[test]
        fn stages_are_all_units_in_order(
            weights in prop::collection::vec(0_u64..1000, 2..20),
            sizes in prop::collection::vec(0_u64..(1 << 30), 0..6),
            tied in any::<bool>(),
            scale in prop::sample::select(vec![1, 1 << 20, 1 << 60]),
        ) {
            let sizes = sizes.iter().map(|size| Bytes(*size));
            let input = BaselineInput {
                kv_bytes: weights.iter().map(|it| Bytes(it / 2)).collect(),
                weight_bytes: weights.iter().map(|it| Bytes(it.saturating_mul(scale))).collect(),
                devices: (0..).map(DeviceId::Cuda).zip(sizes).collect(),
                tied,
            };
            for baseline in Baseline::ALL {
                let Ok(stages) = baseline.stages(&input) else { continue };
                let mut next = 0;
                for (device, units) in stages {
                    prop_assert!(input.devices.iter().any(|(known, _)| *known == device));
                    prop_assert!(units.start == next && units.end > next, "{:?}", baseline);
                    next = units.end;
                }
                prop_assert_eq!(next, input.weight_bytes.len(), "{:?}", baseline);
            }
        }
    }
}
