//! The rule against accelerate itself: what version 1.15.0 answered for eight models and machines,
//! measured by calling it on the models' modules without weights.

use sluicegate_spec::{
    device::DeviceId,
    units::{Bytes, UnitRange},
};

use super::{Baseline, BaselineInput, accelerate};

/// A model of equal layers.
struct Model {
    num_layers: usize,
    layer: u64,
    embed: u64,
    /// Norm and head, and what else is behind the layers.
    head: u64,
    tied: bool,
}

/// Where accelerate put a model.
struct Map {
    /// Of the layers, for each device.
    layers: &'static [usize],
    /// Layers on disk.
    offloaded: usize,
    /// The device of the head; none for the disk. The embedding is always on the first.
    head: Option<usize>,
}

const LLAMA_70B: Model = Model {
    num_layers: 80,
    layer: 1_711_308_800,
    embed: 2_101_346_304,
    head: 2_101_362_944,
    tied: false,
};
const LLAMA_8B: Model = Model {
    num_layers: 32,
    layer: 436_224_000,
    embed: 1_050_673_152,
    head: 1_050_681_600,
    tied: false,
};
const GEMMA_9B: Model =
    Model { num_layers: 42, layer: 396_390_400, embed: 1_835_008_002, head: 7_680, tied: true };
const MIXTRAL: Model = Model {
    num_layers: 32,
    layer: 2_902_540_288,
    embed: 262_144_000,
    head: 262_152_448,
    tied: false,
};

#[track_caller]
fn check(model: &Model, sizes: &[u64], sequential: &Map, balanced: &Map) {
    let mut weight_bytes = vec![Bytes(model.layer); model.num_layers + 2];
    weight_bytes[0] = Bytes(model.embed);
    weight_bytes[model.num_layers + 1] = Bytes(model.head);
    let devices = (0..).map(DeviceId::Cuda).zip(sizes.iter().map(|size| Bytes(*size)));
    let input = BaselineInput {
        kv_bytes: vec![Bytes(0); weight_bytes.len()],
        weight_bytes,
        devices: devices.collect(),
        tied: model.tied,
    };
    let rules = [
        (Baseline::AccelerateSequential, accelerate::sizes(&input), sequential),
        (Baseline::AccelerateBalanced, accelerate::budgets(&input), balanced),
    ];
    for (rule, caps, map) in rules {
        let places = accelerate::places(&input, &caps);
        let layers = &places[1..=model.num_layers];
        let on = |device| layers.iter().filter(|place| **place == device).count();
        let found: Vec<_> = (0..map.layers.len()).map(|device| on(Some(device))).collect();
        assert_eq!(found, map.layers, "{rule:?}");
        assert_eq!(on(None), map.offloaded, "{rule:?}");
        assert_eq!(places[0], Some(0), "{rule:?}");
        assert_eq!(places[model.num_layers + 1], map.head, "{rule:?}");
        assert_eq!(rule.stages(&input).is_ok(), map.head.is_some(), "{rule:?}");
    }
}

#[test]
fn llama70b_8x80gb() {
    let sequential = Map { layers: &[44, 36], offloaded: 0, head: Some(1) };
    let balanced = Map { layers: &[9, 11, 11, 11, 11, 11, 11, 5], offloaded: 0, head: Some(7) };
    check(&LLAMA_70B, &[80_000_000_000; 8], &sequential, &balanced);
}

#[test]
fn llama70b_2x80gb() {
    let sequential = Map { layers: &[44, 36], offloaded: 0, head: Some(1) };
    let balanced = Map { layers: &[40, 40], offloaded: 0, head: Some(1) };
    check(&LLAMA_70B, &[80_000_000_000; 2], &sequential, &balanced);
}

#[test]
fn llama8b_24_24_12gb() {
    let sequential = Map { layers: &[32], offloaded: 0, head: Some(0) };
    let balanced = Map { layers: &[8, 13, 11], offloaded: 0, head: Some(2) };
    check(&LLAMA_8B, &[24_000_000_000, 24_000_000_000, 12_000_000_000], &sequential, &balanced);
}

#[test]
fn llama8b_12_6_4gb_tight() {
    let sequential = Map { layers: &[22, 10], offloaded: 0, head: Some(1) };
    let balanced = Map { layers: &[8, 13, 9], offloaded: 2, head: None };
    check(&LLAMA_8B, &[12_000_000_000, 6_000_000_000, 4_000_000_000], &sequential, &balanced);
}

#[test]
fn gemma9b_tied_2x16gb() {
    let sequential = Map { layers: &[34, 8], offloaded: 0, head: Some(0) };
    let balanced = Map { layers: &[18, 24], offloaded: 0, head: Some(0) };
    check(&GEMMA_9B, &[16_000_000_000; 2], &sequential, &balanced);
}

#[test]
fn gemma9b_tied_10_10gb_tight() {
    let sequential = Map { layers: &[19, 23], offloaded: 0, head: Some(0) };
    let balanced = Map { layers: &[18, 24], offloaded: 0, head: Some(0) };
    check(&GEMMA_9B, &[10_000_000_000; 2], &sequential, &balanced);
}

#[test]
fn mixtral_4x24gb() {
    let sequential = Map { layers: &[7, 8, 8, 8], offloaded: 1, head: None };
    let balanced = Map { layers: &[7, 8, 8, 8], offloaded: 1, head: None };
    check(&MIXTRAL, &[24_000_000_000; 4], &sequential, &balanced);
}

#[test]
fn mixtral_5x24gb() {
    let sequential = Map { layers: &[7, 8, 8, 8, 1], offloaded: 0, head: Some(4) };
    let balanced = Map { layers: &[6, 7, 7, 7, 5], offloaded: 0, head: Some(4) };
    check(&MIXTRAL, &[24_000_000_000; 5], &sequential, &balanced);
}

#[test]
fn a_tied_head_returns_to_the_embedding() {
    let devices = (0..2).map(|ordinal| (DeviceId::Cuda(ordinal), Bytes(30)));
    let input = BaselineInput {
        weight_bytes: [10, 10, 10, 10, 1].map(Bytes).to_vec(),
        kv_bytes: vec![Bytes(0); 5],
        devices: devices.collect(),
        tied: true,
    };
    let stage = |ordinal, start, end| (DeviceId::Cuda(ordinal), UnitRange { start, end });
    let want = vec![stage(0, 0, 2), stage(1, 2, 4), stage(0, 4, 5)];
    assert_eq!(Baseline::AccelerateSequential.stages(&input), Ok(want));
}
