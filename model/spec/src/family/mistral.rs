//! Mistral: Llama with a window.

use super::{Defaults, Family, HubName, WindowRule, llama};
use crate::architecture::Architecture;

pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Mistral),
    hub: &[HubName::new("MistralForCausalLM", "mistral")],
    // Its GGUF files use the name llama.
    gguf: None,
    defaults: Defaults { num_kv_heads: Some(8), max_positions: 131_072, ..llama::FAMILY.defaults },
    windows: WindowRule::All { default: Some(4096) },
    ..llama::FAMILY
};
