//! Qwen 2 and 2.5: Llama with biases.

use super::{Defaults, Family, HubName, QkvBias, RotaryRows, WindowRule, llama};
use crate::architecture::Architecture;

pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Qwen2),
    hub: &[HubName::new("Qwen2ForCausalLM", "qwen2")],
    gguf: Some("qwen2"),
    defaults: Defaults { num_kv_heads: Some(32), max_positions: 32_768, ..llama::FAMILY.defaults },
    windows: WindowRule::Switched { first: 28, usual: 4096 },
    qkv_bias: QkvBias::Present,
    gguf_rows: RotaryRows::Halves,
    ..llama::FAMILY
};
