//! The names of tensors in each file format.
//!
//! Source: gguf-py/gguf/constants.py of llama.cpp, and the module names of transformers.

use crate::{
    family::Family,
    tensors::{Role, TensorId},
    units::Unit,
};

/// Returns the name in a GGUF file; for a fused matrix, that of the whole.
pub fn gguf(id: TensorId, family: &Family) -> String {
    let fused = family.fused_with(id.role);
    let stem = fused.map_or_else(|| usual_gguf_name(id.role), |fused| fused.gguf);
    match id.unit {
        Unit::Layer(layer_idx) => format!("blk.{layer_idx}.{stem}"),
        Unit::Embed | Unit::Head => stem.to_owned(),
    }
}

fn usual_gguf_name(role: Role) -> &'static str {
    match role {
        Role::Embedding => "token_embd.weight",
        Role::Head => "output.weight",
        Role::FinalNorm => "output_norm.weight",
        Role::InputNorm => "attn_norm.weight",
        Role::PostAttentionNorm => "post_attention_norm.weight",
        Role::MlpNorm => "ffn_norm.weight",
        Role::PostMlpNorm => "post_ffw_norm.weight",
        Role::Query => "attn_q.weight",
        Role::Key => "attn_k.weight",
        Role::Value => "attn_v.weight",
        Role::Output => "attn_output.weight",
        Role::QueryBias => "attn_q.bias",
        Role::KeyBias => "attn_k.bias",
        Role::ValueBias => "attn_v.bias",
        Role::QueryNorm => "attn_q_norm.weight",
        Role::KeyNorm => "attn_k_norm.weight",
        Role::Gate => "ffn_gate.weight",
        Role::Up => "ffn_up.weight",
        Role::Down => "ffn_down.weight",
    }
}

/// Returns the names in safetensors files, the usual one first; for a fused matrix, those of the
/// whole.
pub fn hub(id: TensorId, family: &Family) -> Vec<String> {
    if id.role == Role::Head {
        return ["lm_head.weight", "language_model.lm_head.weight"].map(str::to_owned).to_vec();
    }
    let own = family.hub_names.iter().find(|(role, _)| *role == id.role);
    let stem = match (family.fused_with(id.role), own) {
        (Some(fused), _) => fused.hub,
        (None, Some((_, name))) => name,
        (None, None) => usual_hub_name(id.role),
    };
    let stem = match id.unit {
        Unit::Layer(layer_idx) => format!("layers.{layer_idx}.{stem}"),
        Unit::Embed | Unit::Head => stem.to_owned(),
    };
    family.hub_prefixes.iter().map(|prefix| format!("{prefix}{stem}")).collect()
}

fn usual_hub_name(role: Role) -> &'static str {
    match role {
        Role::Embedding => "embed_tokens.weight",
        Role::Head => "lm_head.weight",
        Role::FinalNorm => "norm.weight",
        Role::InputNorm => "input_layernorm.weight",
        // This name is literally true for families with four norms. The others have two, and use it
        // for the norm before the feed-forward block.
        Role::PostAttentionNorm | Role::MlpNorm => "post_attention_layernorm.weight",
        Role::PostMlpNorm => "post_feedforward_layernorm.weight",
        Role::Query => "self_attn.q_proj.weight",
        Role::Key => "self_attn.k_proj.weight",
        Role::Value => "self_attn.v_proj.weight",
        Role::Output => "self_attn.o_proj.weight",
        Role::QueryBias => "self_attn.q_proj.bias",
        Role::KeyBias => "self_attn.k_proj.bias",
        Role::ValueBias => "self_attn.v_proj.bias",
        Role::QueryNorm => "self_attn.q_norm.weight",
        Role::KeyNorm => "self_attn.k_norm.weight",
        Role::Gate => "mlp.gate_proj.weight",
        Role::Up => "mlp.up_proj.weight",
        Role::Down => "mlp.down_proj.weight",
    }
}
