//! `OLMoE`: experts, and norms over the queries and keys of all heads. For planning only.

use super::{
    Differs, Family, FeedForwardKeys, HeadNormWidth, HubName, MixtureKeys, llama, mixtral,
};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("OlmoeForCausalLM", "olmoe")],
    gguf: Some("olmoe"),
    feed_forward: FeedForwardKeys::Mixture(MixtureKeys {
        num_experts: &["num_experts", "num_local_experts"],
        ..mixtral::KEYS
    }),
    differs: Differs::HeadNorm(HeadNormWidth::AllHeads),
    ..llama::FAMILY
};
