//! Llama 2 and 3, and the models derived from them.

use super::{
    Activation, Defaults, Differs, EmbeddingScale, Family, FeedForwardKeys, HeadNorm, HubName,
    LayerNorms, NormWeights, QkvBias, QueryScale, RotaryRows, RotaryShare, WindowRule,
};
use crate::architecture::Architecture;

/// The base of the other families, which only state their differences.
pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Llama),
    hub: &[HubName::new("LlamaForCausalLM", "llama")],
    gguf: Some("llama"),
    defaults: Defaults {
        hidden: None,
        intermediate: None,
        num_layers: None,
        num_heads: None,
        num_kv_heads: None,
        head_dim: None,
        vocab: None,
        max_positions: 2048,
        norm_eps: 1e-6,
        theta: 10_000.0,
        tied: false,
        activation: ("hidden_act", &["silu", "swish"]),
    },
    windows: WindowRule::Never,
    gguf_window: None,
    feed_forward: FeedForwardKeys::Dense,
    query_scale: QueryScale::HeadDim,
    rotary_share: RotaryShare::Whole,
    caps: None,
    local_theta: None,
    qkv_bias: QkvBias::Absent,
    head_norm: HeadNorm::Absent,
    layer_norms: LayerNorms::Before,
    activation: Activation::Silu,
    embedding_scale: EmbeddingScale::One,
    differs: Differs::Nowhere,
    gguf_rows: RotaryRows::Interleaved,
    hub_norms: NormWeights::Plain,
    hub_prefixes: &["model."],
    hub_names: &[],
    fused: &[],
};
