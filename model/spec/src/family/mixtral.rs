//! Mixtral: Mistral with experts. For planning only.

use super::{Family, FeedForwardKeys, HubName, MixtureKeys, MixtureLayers, WindowRule, mistral};

pub(super) const KEYS: MixtureKeys = MixtureKeys {
    num_experts: &["num_local_experts"],
    intermediate: "intermediate_size",
    shared: None,
    layers: MixtureLayers::All,
};

pub(super) const FAMILY: Family = Family {
    runs_as: None,
    hub: &[HubName::new("MixtralForCausalLM", "mixtral")],
    // Its GGUF files use the name llama.
    gguf: None,
    windows: WindowRule::All { default: None },
    feed_forward: FeedForwardKeys::Mixture(KEYS),
    ..mistral::FAMILY
};
