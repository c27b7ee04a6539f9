//! Gemma 3, including the language model of the vision models.

use super::{
    Activation, Defaults, EmbeddingScale, Family, HeadNorm, HubName, LayerNorms, NormWeights,
    QueryScale, RotaryRows, WindowRule, llama,
};
use crate::{architecture::Architecture, tensors::Role};

pub(super) const FAMILY: Family = Family {
    runs_as: Some(Architecture::Gemma3),
    hub: &[
        HubName::new("Gemma3ForCausalLM", "gemma3_text"),
        HubName { is_nested: true, ..HubName::new("Gemma3ForConditionalGeneration", "gemma3") },
    ],
    gguf: Some("gemma3"),
    defaults: Defaults {
        hidden: Some(2304),
        intermediate: Some(9216),
        num_layers: Some(26),
        num_heads: Some(8),
        num_kv_heads: Some(4),
        head_dim: Some(256),
        vocab: Some(262_208),
        max_positions: 131_072,
        norm_eps: 1e-6,
        theta: 1_000_000.0,
        tied: true,
        activation: ("hidden_activation", &["gelu_pytorch_tanh"]),
    },
    windows: WindowRule::AllButEvery { pattern: 6, usual: 4096 },
    query_scale: QueryScale::Stated { usual: 256.0, layers_of_largest: 62 },
    local_theta: Some(10_000.0),
    head_norm: HeadNorm::Present,
    layer_norms: LayerNorms::BeforeAndAfter,
    activation: Activation::GeluTanh,
    embedding_scale: EmbeddingScale::SqrtHidden,
    gguf_rows: RotaryRows::Halves,
    hub_norms: NormWeights::LessOne,
    // With a vision part the language model is one module deeper, with two spellings.
    hub_prefixes: &["model.", "language_model.model.", "model.language_model."],
    hub_names: &[(Role::MlpNorm, "pre_feedforward_layernorm.weight")],
    ..llama::FAMILY
};
