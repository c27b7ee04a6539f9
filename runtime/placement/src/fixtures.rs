//! Models and plans with round numbers, for tests.

use std::ops::Range;

use sluicegate_spec::{
    config::KvGroup,
    device::DeviceId,
    profile::{ComputeType, ModelProfile, UnitKv, UnitProfile, Workspace},
    units::{Bytes, Unit, UnitRange},
};

use super::{
    cluster::Route,
    plan::{Plan, PlanFields, PlannedStage},
};

/// Makes a model of units with these weights: embedding, layers, head. Layers need `kv` bytes of
/// cache per token.
pub fn model(weights: &[u64], kv: u64, tied_embedding_bytes: u64) -> ModelProfile {
    let num_layers = weights.len() - 2;
    let unit = |(unit_idx, weight_bytes): (usize, &u64)| UnitProfile {
        unit: UnitRange { start: unit_idx, end: unit_idx + 1 }.first(num_layers),
        weight_bytes: Bytes(*weight_bytes),
        read_bytes: Bytes(*weight_bytes),
        experts: None,
        kv: (1..=num_layers)
            .contains(&unit_idx)
            .then_some(UnitKv { group_idx: 0, bytes_per_token: Bytes(kv) }),
        flops_per_token: 2 * weight_bytes,
        flops_per_position: 0,
        workspace: Workspace::default(),
    };
    let units: Vec<UnitProfile> = weights.iter().enumerate().map(unit).collect();
    assert_eq!(units.last().map(|unit| unit.unit), Some(Unit::Head));
    ModelProfile {
        num_layers,
        units,
        kv_groups: vec![KvGroup::Full],
        tied_embedding_bytes: Bytes(tied_embedding_bytes),
        hidden: 8,
        hidden_element_bytes: 4,
        kv_element_bytes: 4,
        vocab: 100,
        max_positions: 1024,
        compute: ComputeType::F32,
    }
}

/// Makes a plan of stages on logical CPU devices, with 100 bytes of weights per unit.
pub fn plan_of(stages: &[(u32, Range<usize>)]) -> Plan {
    let stage = |(device, units): &(u32, Range<usize>)| PlannedStage {
        device: DeviceId::Cpu(*device),
        units: UnitRange { start: units.start, end: units.end },
        weight_bytes: Bytes(100 * units.len() as u64),
        kv_bytes: Bytes(0),
        workspace_bytes: Bytes(0),
        cap_bytes: Bytes(1 << 20),
        input_route: Route::Host,
    };
    let fields = PlanFields {
        stages: stages.iter().map(stage).collect(),
        num_layers: 8,
        kv_tokens: 64,
        kv_groups: vec![KvGroup::Full],
        pages_per_group: vec![4],
        sequences: 8,
        batch: 8,
        chunk_tokens: 16,
        microbatches: 2,
        hidden: 8,
        hidden_element_bytes: 4,
        mask_words: 4,
    };
    Plan::try_from(fields).expect("the stages of a fixture cover its 8 layers")
}
