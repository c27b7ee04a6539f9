//! Qwen 3 with experts. For planning only.

use super::{Defaults, Family, FeedForwardKeys, HubName, MixtureKeys, MixtureLayers, qwen3};

pub(super) const KEYS: MixtureKeys = MixtureKeys {
    num_experts: &["num_experts", "num_local_experts"],
    intermediate: "moe_intermediate_size",
    shared: None,
    layers: MixtureLayers::Sparse,
};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("Qwen3MoeForCausalLM", "qwen3_moe")],
    gguf: Some("qwen3moe"),
    // Unlike Qwen 3's, its class derives the head size from the hidden size.
    defaults: Defaults { num_kv_heads: Some(4), head_dim: None, ..qwen3::FAMILY.defaults },
    feed_forward: FeedForwardKeys::Mixture(KEYS),
    ..qwen3::FAMILY
};
