//! A tiny model as a GGUF file, with llama.cpp's names, row order and norms.
//!
//! Source: `convert_hf_to_gguf.py` of llama.cpp.

mod rope;

use std::{fs::File, path::Path};

use candle_core::{
    Device, Tensor,
    quantized::{
        GgmlDType, QTensor,
        gguf_file::{self, Value},
    },
};

use super::{TinyModel, TinyTensor, tokenizer};

pub(super) fn write(model: &TinyModel, path: &Path, kind: impl Fn(&str) -> GgmlDType) {
    let mut tensors: Vec<(String, QTensor)> =
        model.tensors().into_iter().map(|tensor| converted(model, tensor, &kind)).collect();
    tensors.extend(rope::tensors(model).into_iter().map(|(name, values)| {
        let tensor = TinyTensor { name: name.to_owned(), shape: vec![values.len()], values };
        (name.to_owned(), quantized(tensor, GgmlDType::F32))
    }));
    let metadata = metadata(model);
    let metadata: Vec<(&str, &Value)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut file = File::create(path).expect("a temporary folder is writable");
    gguf_file::write(&mut file, &metadata, &tensors).expect("a temporary folder is writable");
}

/// The name that the file's architecture has in GGUF.
fn architecture(model: &TinyModel) -> &str {
    match model.config()["model_type"].as_str().expect("presets have a type") {
        // Mistral's files say llama.
        "mistral" => "llama",
        "gemma3_text" => "gemma3",
        other => other,
    }
}

fn converted(
    model: &TinyModel,
    mut tensor: TinyTensor,
    kind: &impl Fn(&str) -> GgmlDType,
) -> (String, QTensor) {
    let architecture = architecture(model);
    let name = name(&tensor.name, architecture);
    if architecture == "llama" {
        for (part, heads) in
            [("attn_q.", "num_attention_heads"), ("attn_k.", "num_key_value_heads")]
        {
            if name.contains(part) {
                interleave(&mut tensor, model.size(heads));
            }
        }
    }
    if architecture.starts_with("gemma") && name.contains("norm") {
        tensor.values.iter_mut().for_each(|value| *value += 1.0);
    }
    let kind = if tensor.shape.len() == 2 { kind(&name) } else { GgmlDType::F32 };
    let quantized = quantized(tensor, kind);
    (name, quantized)
}

fn quantized(tensor: TinyTensor, kind: GgmlDType) -> QTensor {
    #[expect(clippy::disallowed_methods, reason = "a file for tests is made on the host")]
    let values = Tensor::from_vec(tensor.values, tensor.shape, &Device::Cpu);
    QTensor::quantize(&values.expect("the formula fills the shape"), kind)
        .expect("the model's rows are whole blocks")
}

fn name(name: &str, architecture: &str) -> String {
    let (layer, rest) = match name.strip_prefix("model.layers.") {
        Some(rest) => rest.split_once('.').expect("a layer has parts"),
        None => {
            return match name {
                "model.embed_tokens.weight" => "token_embd.weight",
                "model.norm.weight" => "output_norm.weight",
                "lm_head.weight" => "output.weight",
                other => panic!("no GGUF name for {other}"),
            }
            .to_owned();
        }
    };
    let (part, suffix) = rest.rsplit_once('.').expect("weight or bias");
    let part = match part {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.qkv_proj" => "attn_qkv",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" if architecture.starts_with("gemma") => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        other => panic!("no GGUF name for {other}"),
    };
    format!("blk.{layer}.{part}.{suffix}")
}

/// Puts the two halves of each head's rows alternately.
fn interleave(tensor: &mut TinyTensor, num_heads: usize) {
    let half = tensor.shape[0] / num_heads / 2;
    let width: usize = tensor.shape[1..].iter().product();
    let source = tensor.values.clone();
    for (row, target) in tensor.values.chunks_exact_mut(width).enumerate() {
        let (head, within) = (row / (2 * half), row % (2 * half));
        let source_row = head * 2 * half + within % 2 * half + within / 2;
        target.copy_from_slice(&source[source_row * width..][..width]);
    }
}

fn metadata(model: &TinyModel) -> Vec<(String, Value)> {
    let config = model.config();
    let architecture = architecture(model);
    let number = |key: &str| u32::try_from(model.size(key)).expect("a tiny size");
    #[expect(clippy::cast_possible_truncation, reason = "the file holds f32")]
    let real = |key: &str| Value::F32(config[key].as_f64().expect("presets have it") as f32);
    let head_dim = Value::U32(number("head_dim"));
    let mut own = vec![
        ("block_count", Value::U32(number("num_hidden_layers"))),
        ("context_length", Value::U32(number("max_position_embeddings"))),
        ("embedding_length", Value::U32(number("hidden_size"))),
        ("feed_forward_length", Value::U32(number("intermediate_size"))),
        ("attention.head_count", Value::U32(number("num_attention_heads"))),
        ("attention.head_count_kv", Value::U32(number("num_key_value_heads"))),
        ("attention.key_length", head_dim.clone()),
        ("attention.value_length", head_dim),
        ("attention.layer_norm_rms_epsilon", real("rms_norm_eps")),
        ("rope.freq_base", real("rope_theta")),
    ];
    let windowed = ["mistral", "gemma2", "gemma3_text", "phi3"];
    let model_type = config["model_type"].as_str().expect("presets have a type");
    if windowed.contains(&model_type) && config["sliding_window"].is_u64() {
        own.push(("attention.sliding_window", Value::U32(number("sliding_window"))));
    }
    own.extend(rope::metadata(model));
    if architecture == "gemma2" {
        own.extend([
            ("attn_logit_softcapping", real("attn_logit_softcapping")),
            ("final_logit_softcapping", real("final_logit_softcapping")),
        ]);
    }
    if architecture == "gemma3" {
        let pattern = Value::U32(number("sliding_window_pattern"));
        own.extend([
            ("attention.sliding_window_pattern", pattern.clone()),
            ("rope.freq_base_swa", real("rope_local_base_freq")),
            // What candle's own model calls them.
            ("attention.sliding_window_type", pattern),
            ("rope.local_freq_base", real("rope_local_base_freq")),
        ]);
    }
    let mut metadata = vec![
        ("general.architecture".to_owned(), Value::String(architecture.to_owned())),
        ("general.dtype".to_owned(), Value::U32(0)),
    ];
    metadata.extend(own.into_iter().map(|(key, value)| (format!("{architecture}.{key}"), value)));
    metadata.extend(vocabulary(model));
    metadata
}

fn vocabulary(model: &TinyModel) -> Vec<(String, Value)> {
    let config = model.config();
    let token = |key: &str| {
        let token = config[key].as_u64().and_then(|token| u32::try_from(token).ok());
        Value::U32(token.expect("presets have it"))
    };
    let texts = tokenizer::texts();
    let kinds = (0..texts.len()).map(|i| Value::I32(if tokenizer::is_special(i) { 3 } else { 1 }));
    let kinds = Value::Array(kinds.collect());
    let merges = tokenizer::merges();
    let merges = merges.iter().map(|(left, right)| Value::String(format!("{left} {right}")));
    [
        ("model", Value::String("gpt2".to_owned())),
        ("pre", Value::String("gpt-2".to_owned())),
        ("tokens", Value::Array(texts.into_iter().map(Value::String).collect())),
        ("token_type", kinds),
        ("merges", Value::Array(merges.collect())),
        ("bos_token_id", token("bos_token_id")),
        ("eos_token_id", token("eos_token_id")),
        ("add_bos_token", Value::Bool(false)),
    ]
    .into_iter()
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .chain([("tokenizer.chat_template".to_owned(), Value::String(tokenizer::TEMPLATE.to_owned()))])
    .collect()
}
