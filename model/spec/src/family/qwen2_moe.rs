//! Qwen 2 with experts, one of which every token uses. For planning only.

use super::{Defaults, Family, FeedForwardKeys, HubName, MixtureKeys, qwen2, qwen3_moe};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("Qwen2MoeForCausalLM", "qwen2_moe")],
    gguf: Some("qwen2moe"),
    defaults: Defaults { num_kv_heads: None, ..qwen2::FAMILY.defaults },
    feed_forward: FeedForwardKeys::Mixture(MixtureKeys {
        shared: Some("shared_expert_intermediate_size"),
        ..qwen3_moe::KEYS
    }),
    ..qwen2::FAMILY
};
