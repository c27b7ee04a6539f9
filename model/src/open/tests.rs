//! Opening the default model, a tiny one, and broken ones.

use candle_core::Device;
use proptest::prelude::*;
use sluicegate_spec::{
    config::{Architecture, RopeScaling},
    gguf::writer::{Writer, save},
    tensors::{Role, TensorId},
    units::Unit,
};

use super::*;
use crate::{
    chat::Message,
    source::{ModelSource, Silent},
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

/// A whole model of one layer, four tokens and its own template.
fn tiny() -> Writer {
    let writer = Writer::default()
        .text("general.architecture", "llama")
        .u32("llama.embedding_length", 8)
        .u32("llama.feed_forward_length", 8)
        .u32("llama.context_length", 8)
        .u32("llama.block_count", 1)
        .u32("llama.attention.head_count", 2)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32_tensor("token_embd.weight", &[4, 8], &[0.0; 32])
        .f32_tensor("blk.0.attn_q.weight", &[8, 8], &[0.0; 64]);
    writer
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "llama-bpe")
        .texts("tokenizer.ggml.tokens", &["a", "b", "ab", "<s>"])
        .i32s("tokenizer.ggml.token_type", &[1, 1, 1, 3])
        .texts("tokenizer.ggml.merges", &["a b"])
        .u32("tokenizer.ggml.bos_token_id", 3)
        .text("tokenizer.chat_template", "{{ bos_token }}{{ messages[0].content }}")
}

fn query() -> TensorId {
    TensorId { unit: Unit::Layer(0), role: Role::Query }
}

#[test]
fn a_tiny_model_opens_and_works() {
    let file = tiny().save();
    let model = Model::open(&ModelFiles::Gguf(file.path().to_owned())).unwrap();
    let prompt = model.chat.unwrap().render(&[Message::new("user", "abba")], true).unwrap();
    assert_eq!(prompt, "<s>abba");
    assert_eq!(model.tokenizer.encode(&prompt, false).unwrap(), [3, 2, 1, 0]);
    assert_eq!(model.tokenizer.encode("ab", true).unwrap(), [3, 2]);
    assert!(model.weights.matrix(query(), (8, 8), &Device::Cpu).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn mutated_models_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = tiny().bytes();
        let header = tiny().header().len();
        for (at, byte) in changes {
            bytes[at.index(header)] = byte;
        }
        let file = save(&bytes);
        if let Ok(model) = Model::open(&ModelFiles::Gguf(file.path().to_owned())) {
            let (hidden, heads) = (model.config.hidden, model.config.num_heads);
            let shape = (heads * model.config.head_dim, hidden);
            let _ = model.weights.matrix(query(), shape, &Device::Cpu);
            let tokens = model.tokenizer.encode("<s>abba b", true);
            model.tokenizer.decode(&tokens.unwrap_or_default());
            if let Some(chat) = model.chat {
                let _ = chat.render(&[Message::new("user", "ab")], true);
            }
        }
    }
}

#[test]
fn tokens_beyond_the_embedding_do_not_refuse_the_model() {
    let mut writer = tiny();
    writer.tensors.clear();
    let writer = writer.f32_tensor("token_embd.weight", &[3, 8], &[0.0; 24]);
    let writer = writer.u32("tokenizer.ggml.eos_token_id", 3);
    let model = Model::open(&ModelFiles::Gguf(writer.save().path().to_owned())).unwrap();
    assert_eq!((model.config.vocab, model.tokenizer.vocab_size()), (3, 4));
    // Never drawn: what ends a sequence is among the logits.
    assert_eq!(
        (model.config.bos, &model.config.eos[..], model.tokenizer.eos()),
        (None, &[][..], &[][..])
    );
    assert_eq!(model.tokenizer.encode("abba", false).unwrap(), [2, 1, 0]);
    for (text, add_special) in [("a<s>", false), ("a", true)] {
        let error = model.tokenizer.encode(text, add_special).unwrap_err().to_string();
        assert!(error.contains("`<s>`") && error.contains("token 3"), "{error}");
    }
}

/// A model whose chat template is made of these bytes.
fn with_template(template: &[u8]) -> Model {
    let mut writer = tiny();
    writer.entries.retain(|entry| !String::from_utf8_lossy(entry).contains("chat_template"));
    let mut value = (template.len() as u64).to_le_bytes().to_vec();
    value.extend_from_slice(template);
    let file = writer.entry("tokenizer.chat_template", 8, &value).save();
    Model::open(&ModelFiles::Gguf(file.path().to_owned())).unwrap()
}

#[test]
fn a_bad_chat_template_does_not_block_the_model() {
    let messages = [Message::new("user", "ab")];
    for (template, wanted) in [
        (&b"{% for %}"[..], "does not parse"),
        (b"{% unheard of %}", "does not parse"),
        (b"caf\xE9", "not UTF-8"),
    ] {
        let model = with_template(template);
        assert_eq!(model.tokenizer.encode("ab", true).unwrap(), [3, 2]);
        let chat = model.chat.expect("there is a template, though a bad one");
        for chat in [chat.clone(), chat] {
            let error = chat.render(&messages, true).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
    let model = with_template(b"{% generation %}{{ messages[0].content }}{% endgeneration %}");
    assert_eq!(model.chat.unwrap().render(&messages, true).unwrap(), "ab");
}
