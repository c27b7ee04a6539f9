//! Phi 3, 3.5 and 4, which share one class: Llama with fused matrices, frequencies for long
//! contexts and, in the smallest Phi 4, partially rotated heads.
//!
//! Source: `configuration_phi3.py` and `modeling_phi3.py` of transformers, `phi3.cpp` of llama.cpp.

use super::{Defaults, Family, Fused, HubName, RotaryRows, RotaryShare, WindowRule, llama};
use crate::{architecture::Architecture, tensors::Role};

pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Phi3),
    hub: &[HubName::new("Phi3ForCausalLM", "phi3")],
    gguf: Some("phi3"),
    defaults: Defaults {
        hidden: Some(3072),
        intermediate: Some(8192),
        num_layers: Some(32),
        num_heads: Some(32),
        vocab: Some(32_064),
        max_positions: 4096,
        norm_eps: 1e-5,
        ..llama::FAMILY.defaults
    },
    // In transformers a token attends to `sliding_window` positions, itself included; the code of
    // the first models allowed one more. llama.cpp has no window for this family.
    windows: WindowRule::All { default: None },
    rotary_share: RotaryShare::Stated,
    gguf_rows: RotaryRows::Halves,
    fused: &[
        Fused {
            roles: &[Role::Query, Role::Key, Role::Value],
            hub: "self_attn.qkv_proj.weight",
            gguf: "attn_qkv.weight",
        },
        // Its GGUF name is elsewhere that of the second matrix alone.
        Fused {
            roles: &[Role::Gate, Role::Up],
            hub: "mlp.gate_up_proj.weight",
            gguf: "ffn_up.weight",
        },
    ],
    ..llama::FAMILY
};
