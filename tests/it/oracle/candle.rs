//! candle's own models of GGUF files.

use std::{collections::HashMap, fs::File};

use candle_core::{
    DType, Device, Tensor,
    quantized::gguf_file::{Content, Value},
};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{
    gemma2, gemma3, quantized_gemma3, quantized_llama, quantized_phi3, quantized_qwen2,
    quantized_qwen3,
};
use sluicegate_spec::files::ModelFiles;

use super::safetensors::one_by_one;

/// A model of candle's, whichever.
pub(super) type Model = Box<dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor>>;

/// Opens candle's model of a file.
pub(super) fn candle(files: &ModelFiles) -> Model {
    let (content, mut file) = open(files);
    match architecture(&content).as_str() {
        // There is no quantised model.
        "gemma2" => {
            let weights = gemma_weights(&content, &mut file);
            let mut model = gemma2::Model::new(false, &gemma2_config(&content), weights).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        // The quantised model gates with SiLU where the family has GELU, so the other one of the
        // same weights is the oracle. It computes with dequantised weights.
        "gemma3" => {
            let weights = gemma_weights(&content, &mut file);
            let model = gemma3::Model::new(false, &gemma3_config(&content), weights).unwrap();
            Box::new(one_by_one(model))
        }
        _ => candle_rounding(files).expect("every other family has a quantised model"),
    }
}

/// Opens candle's model that rounds activations where weights are quantised; none of Gemma 2.
///
/// For Gemma 3 it has the wrong gate: it tells how far rounding moves logits, and no more.
pub(super) fn candle_rounding(files: &ModelFiles) -> Option<Model> {
    let (content, mut file) = open(files);
    let (reader, cpu) = (&mut file, &Device::Cpu);
    Some(match architecture(&content).as_str() {
        "gemma2" => return None,
        "llama" => {
            let mut model = quantized_llama::ModelWeights::from_gguf(content, reader, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        "qwen2" => {
            let mut model = quantized_qwen2::ModelWeights::from_gguf(content, reader, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        "qwen3" => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, reader, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        "gemma3" => {
            let mut model =
                quantized_gemma3::ModelWeights::from_gguf(content, reader, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        "phi3" => {
            let mut model =
                quantized_phi3::ModelWeights::from_gguf(false, content, reader, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        other => panic!("no oracle for {other}"),
    })
}

fn open(files: &ModelFiles) -> (Content, File) {
    let mut file = File::open(files.path()).unwrap();
    (Content::read(&mut file).unwrap(), file)
}

fn architecture(content: &Content) -> String {
    content.metadata["general.architecture"].to_string().unwrap().clone()
}

/// The values of an architecture's keys.
struct Keys<'a> {
    content: &'a Content,
    architecture: &'static str,
}

impl Keys<'_> {
    fn entry(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(&format!("{}.{key}", self.architecture))
    }

    fn number(&self, key: &str) -> usize {
        self.entry(key).unwrap().to_u32().unwrap() as usize
    }

    fn real(&self, key: &str) -> f64 {
        f64::from(self.entry(key).unwrap().to_f32().unwrap())
    }

    fn vocab(&self) -> usize {
        self.content.tensor_infos["token_embd.weight"].shape.dims()[0]
    }
}

fn gemma2_config(content: &Content) -> gemma2::Config {
    let keys = Keys { content, architecture: "gemma2" };
    gemma2::Config {
        attention_bias: false,
        head_dim: keys.number("attention.key_length"),
        hidden_activation: Activation::GeluPytorchTanh,
        hidden_size: keys.number("embedding_length"),
        intermediate_size: keys.number("feed_forward_length"),
        num_attention_heads: keys.number("attention.head_count"),
        num_hidden_layers: keys.number("block_count"),
        num_key_value_heads: keys.number("attention.head_count_kv"),
        rms_norm_eps: keys.real("attention.layer_norm_rms_epsilon"),
        rope_theta: keys.real("rope.freq_base"),
        vocab_size: keys.vocab(),
        final_logit_softcapping: Some(keys.real("final_logit_softcapping")),
        attn_logit_softcapping: Some(keys.real("attn_logit_softcapping")),
        query_pre_attn_scalar: keys.number("attention.key_length"),
        sliding_window: Some(keys.number("attention.sliding_window")),
        max_position_embeddings: 512,
    }
}

fn gemma3_config(content: &Content) -> gemma3::Config {
    let keys = Keys { content, architecture: "gemma3" };
    let (number, real) = (|key| keys.number(key), |key| keys.real(key));
    gemma3::Config {
        attention_bias: false,
        head_dim: number("attention.key_length"),
        hidden_activation: Activation::GeluPytorchTanh,
        hidden_size: number("embedding_length"),
        intermediate_size: number("feed_forward_length"),
        num_attention_heads: number("attention.head_count"),
        num_hidden_layers: number("block_count"),
        num_key_value_heads: number("attention.head_count_kv"),
        rms_norm_eps: real("attention.layer_norm_rms_epsilon"),
        rope_theta: real("rope.freq_base"),
        // What the family's files say, and what they leave to their readers.
        rope_local_base_freq: 10_000.0,
        sliding_window_pattern: keys
            .entry("attention.sliding_window_pattern")
            .map_or(6, |pattern| pattern.to_u32().unwrap() as usize),
        vocab_size: keys.vocab(),
        final_logit_softcapping: None,
        attn_logit_softcapping: None,
        query_pre_attn_scalar: number("attention.key_length"),
        sliding_window: number("attention.sliding_window"),
        // Each layer takes memory for as many.
        max_position_embeddings: 512,
    }
}

/// The weights as f32, by their names in a safetensors file, whose norms lack one.
fn gemma_weights(content: &Content, file: &mut File) -> VarBuilder<'static> {
    let names = content.tensor_infos.keys();
    let tensors: HashMap<String, Tensor> = names
        .map(|name| {
            let tensor = content.tensor(file, name, &Device::Cpu).unwrap();
            let tensor = tensor.dequantize(&Device::Cpu).unwrap();
            let is_norm = name.contains("norm");
            (gemma_name(name), if is_norm { (tensor - 1.0).unwrap() } else { tensor })
        })
        .collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn gemma_name(name: &str) -> String {
    let stem = name.strip_suffix(".weight").unwrap();
    let name = match stem.split('.').collect::<Vec<_>>()[..] {
        ["token_embd"] => "embed_tokens".to_owned(),
        ["output_norm"] => "norm".to_owned(),
        ["blk", layer, part] => {
            let part = match part {
                "attn_norm" => "input_layernorm",
                "attn_q" => "self_attn.q_proj",
                "attn_k" => "self_attn.k_proj",
                "attn_v" => "self_attn.v_proj",
                "attn_output" => "self_attn.o_proj",
                "attn_q_norm" => "self_attn.q_norm",
                "attn_k_norm" => "self_attn.k_norm",
                "post_attention_norm" => "post_attention_layernorm",
                "ffn_norm" => "pre_feedforward_layernorm",
                "post_ffw_norm" => "post_feedforward_layernorm",
                "ffn_gate" => "mlp.gate_proj",
                "ffn_up" => "mlp.up_proj",
                "ffn_down" => "mlp.down_proj",
                other => panic!("no name for {other}"),
            };
            format!("layers.{layer}.{part}")
        }
        _ => panic!("no name for {stem}"),
    };
    format!("model.{name}.weight")
}
