//! Opening the default model.

use super::*;
use crate::{
    config::{Architecture, RopeScaling},
    gguf::writer::Writer,
    source::{ModelSource, Silent},
    units::Unit,
    weights::{Role, TensorId},
};

#[test]
fn smollm2_opens_with_all_its_parts() {
    let files = ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap();
    let model = Model::open(&files).unwrap();
    let config = &model.config;
    assert_eq!((config.architecture, config.num_layers), (Architecture::Llama, 30));
    assert_eq!((config.hidden, config.intermediate, config.head_dim), (576, 1536, 64));
    assert_eq!((config.num_heads, config.num_kv_heads, config.vocab), (9, 3, 49_152));
    assert_eq!((config.rope.theta, &config.rope.scaling), (1e5, &RopeScaling::None));
    assert_eq!((config.tied, config.bos, config.eos.as_slice()), (true, Some(1), &[2][..]));
    assert_eq!(config.max_positions, 8192);
    assert!(model.chat.is_some());
    assert_eq!(model.name, "Smollm2 135M 8k Lc100K Mix1 Ep2");
    for layer_idx in 0..30 {
        let id = TensorId { unit: Unit::Layer(layer_idx), role: Role::Query };
        assert_eq!(model.weights.stored(id).unwrap().shape, [576, 576]);
    }
    let id = TensorId { unit: Unit::Layer(30), role: Role::Query };
    assert!(!model.weights.contains(id));
}

#[test]
fn more_tokens_than_logits_are_refused() {
    let writer = Writer::default()
        .text("general.architecture", "llama")
        .u32("llama.embedding_length", 8)
        .u32("llama.feed_forward_length", 8)
        .u32("llama.context_length", 8)
        .u32("llama.block_count", 1)
        .u32("llama.attention.head_count", 2)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32_tensor("token_embd.weight", &[2, 8], &[0.0; 16])
        .text("tokenizer.ggml.model", "gpt2")
        .texts("tokenizer.ggml.tokens", &["a", "b", "c"])
        .texts("tokenizer.ggml.merges", &[]);
    let error = Model::open(&ModelFiles::Gguf(writer.save().path().to_owned())).unwrap_err();
    assert!(error.to_string().contains("at most the 2 rows"), "{error}");
}
