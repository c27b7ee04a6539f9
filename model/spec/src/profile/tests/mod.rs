//! Profiles of opened models.

use super::*;
use crate::{
    config::{Architecture, Rope, RopeScaling},
    tensors::Role,
};

mod files;
mod published;

/// Sizes of SmolLM2-135M.
fn smol(tied: bool) -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        num_layers: 30,
        hidden: 576,
        intermediate: 1536,
        num_heads: 9,
        num_kv_heads: 3,
        head_dim: 64,
        vocab: 49152,
        max_positions: 8192,
        norm_eps: 1e-5,
        attention_scale: 0.125,
        score_cap: None,
        logit_cap: None,
        rope: Rope::new(1e5, RopeScaling::None),
        local_rope: None,
        windows: vec![None; 30],
        tied,
        bos: None,
        eos: vec![],
    }
}

fn total(profile: &ModelProfile) -> u64 {
    profile.units.iter().map(|unit| unit.weight_bytes.0).sum()
}

#[test]
fn shapes_give_the_parameter_count() {
    let profile = ModelProfile::new(&smol(true), |_| None, ElementBytes::default());
    // 134,515,008 is the number of parameters that the model card states.
    assert_eq!(total(&profile), 134_515_008 * 4);
    assert_eq!(profile.tied_embedding_bytes, Bytes(49152 * 576 * 4));
    assert_eq!(profile.units.len(), 32);
    assert_eq!(profile.units[31].weight_bytes, Bytes(576 * 4));
    assert_eq!(profile.units[31].read_bytes, Bytes(49152 * 576 * 4 + 576 * 4));

    let untied = ModelProfile::new(&smol(false), |_| None, ElementBytes::default());
    assert_eq!(total(&untied), (134_515_008 + 49152 * 576) * 4);
    assert_eq!(untied.tied_embedding_bytes, Bytes(0));
}

#[test]
fn stored_sizes_win_over_shapes() {
    let stored = |id: TensorId| match (id.unit, id.role) {
        (Unit::Layer(3), Role::Down) => Some(Bytes(1000)),
        (Unit::Layer(3), Role::InputNorm) => Some(Bytes(1)),
        _ => None,
    };
    let by_shape = ModelProfile::new(&smol(true), |_| None, ElementBytes::default());
    let profile = ModelProfile::new(&smol(true), stored, ElementBytes::default());
    let saved = by_shape.units[4].weight_bytes.0 - profile.units[4].weight_bytes.0;
    // The norm is held as f32, whatever its file says.
    assert_eq!(saved, 576 * 1536 * 4 - 1000);
    assert_eq!(profile.units[5], by_shape.units[5]);
}

#[test]
fn families_differ_by_their_extra_tensors() {
    let layer = |architecture| {
        let config = ModelConfig { architecture, ..smol(true) };
        let profile = ModelProfile::new(&config, |_| None, ElementBytes::default());
        profile.units[1].weight_bytes.0
    };
    let llama = layer(Architecture::Llama);
    assert_eq!(layer(Architecture::Mistral), llama);
    assert_eq!(layer(Architecture::Qwen2) - llama, (576 + 192 + 192) * 4);
    assert_eq!(layer(Architecture::Qwen3) - llama, (64 + 64) * 4);
    assert_eq!(layer(Architecture::Gemma3) - llama, (64 + 64 + 576 + 576) * 4);
}

#[test]
fn layers_name_their_kv_group() {
    let mut config = smol(true);
    config.windows = (0..30).map(|i| (i % 6 != 5).then_some(512)).collect();
    let profile = ModelProfile::new(&config, |_| None, ElementBytes::default());
    assert_eq!(profile.kv_groups, [KvGroup::Full, KvGroup::Window(512)]);
    let group = |layer_idx: usize| profile.units[layer_idx + 1].kv.expect("a layer").group_idx;
    assert_eq!((group(0), group(5), group(6)), (1, 0, 1));
    let bytes = profile.units[1].kv.expect("a layer").bytes_per_token;
    assert_eq!(bytes, Bytes(2 * 3 * 64 * 4));
    assert_eq!(profile.units[0].kv, None);
}

#[test]
fn huge_sizes_saturate() {
    let mut config = smol(false);
    config.hidden = usize::MAX;
    config.intermediate = usize::MAX;
    let profile = ModelProfile::new(&config, |_| None, ElementBytes::default());
    assert_eq!(profile.units[1].weight_bytes, Bytes(u64::MAX));
    let shape = BatchShape { tokens: usize::MAX, rows: 1, positions: 1 };
    assert_eq!(profile.units[1].workspace.bytes(shape), Bytes(u64::MAX));
}
