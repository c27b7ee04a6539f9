//! Qwen 3: each head's query and key are normalised.

use super::{Defaults, Family, HeadNorm, HubName, RotaryRows, WindowRule, llama};
use crate::architecture::Architecture;

pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Qwen3),
    hub: &[HubName::new("Qwen3ForCausalLM", "qwen3")],
    gguf: Some("qwen3"),
    defaults: Defaults {
        num_kv_heads: Some(32),
        head_dim: Some(128),
        max_positions: 32_768,
        ..llama::FAMILY.defaults
    },
    windows: WindowRule::Switched { first: 28, usual: 4096 },
    head_norm: HeadNorm::Present,
    gguf_rows: RotaryRows::Halves,
    ..llama::FAMILY
};
