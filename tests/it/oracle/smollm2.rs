//! The default model against candle's own.

use std::{collections::HashMap, fs};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama;
use serde_json::json;
use sluicegate_model::{
    config::ModelConfig,
    source::{ModelFiles, ModelSource, Silent},
    threads::Threads,
    units::Unit,
    weights::{Role, TensorId, Weights},
};
use sluicegate_tests::steps::Pipe;
use tempfile::TempDir;

use super::{
    compare::{check_model, error, logits, open, tokens},
    quantized::candle,
};

fn files() -> ModelFiles {
    ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap()
}

/// Logits along a prompt of eight tokens and four more.
fn run(mut logits: impl FnMut(&[u32], usize) -> Vec<f32>) -> Vec<Vec<f32>> {
    let tokens: Vec<u32> = tokens(12).iter().map(|token| token * 190).collect();
    let parts = [(0, 8)].into_iter().chain((8..12).map(|at| (at, at + 1)));
    parts.map(|(start, end)| logits(&tokens[start..end], start)).collect()
}

fn largest_error(got: &[Vec<f32>], want: &[Vec<f32>]) -> f32 {
    got.iter().zip(want).map(|(got, want)| error(got, want)).fold(0.0, f32::max)
}

/// In thirty layers the first activation that is rounded to another byte moves so many others that
/// two sound computations end up a fixed distance apart. A norm's epsilon, changed from 1e-5 by a
/// thousandth, shows how far: candle's model may be no further from ours than twice that.
#[test]
fn smollm2_is_as_near_to_candle_as_to_itself() {
    let files = files();
    let (weights, config) = open(&files);
    let nudged = ModelConfig { norm_eps: config.norm_eps * 1.001, ..config.clone() };
    let ours = |config: &ModelConfig| {
        let mut pipe = Pipe::new(&weights, config, &[11, 21], 1, &Threads::inline());
        run(|tokens, past| pipe.last_logits(tokens, past))
    };
    let got = ours(&config);
    let noise = largest_error(&ours(&nudged), &got);
    let mut theirs = candle(&files);
    let error = largest_error(&got, &run(|tokens, past| logits(&mut theirs, tokens, past)));
    assert!(noise < 0.06, "rounding alone moves logits by {noise}");
    assert!(error <= 2.0 * noise, "off by {error} of the largest logit, rounding by {noise}");
}

/// The same weights as numbers: nothing is rounded, and the logits agree as f32 allows.
#[test]
fn layers_of_smollm2_in_f16_equal_candle() {
    let (weights, config) = open(&files());
    let config = ModelConfig { num_layers: 7, ..config };
    let directory = TempDir::new().unwrap();
    let json = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab,
        "hidden_size": config.hidden,
        "intermediate_size": config.intermediate,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "max_position_embeddings": 512,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope.theta,
        "tie_word_embeddings": true,
        "hidden_act": "silu",
    });
    fs::write(directory.path().join("config.json"), json.to_string()).unwrap();
    let path = directory.path().join("model.safetensors");
    let tensors = tensors(&weights, &config);
    candle_core::safetensors::save(&tensors, &path).unwrap();

    let theirs_config: llama::LlamaConfig = serde_json::from_value(json).unwrap();
    let theirs_config = theirs_config.into_config(false);
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let theirs = llama::Llama::load(weights, &theirs_config).unwrap();
    let mut cache = llama::Cache::new(true, DType::F32, &theirs_config, &Device::Cpu).unwrap();
    let files = ModelFiles::Directory(directory.path().to_owned());
    check_model(&files, &mut |tokens, past| theirs.forward(tokens, past, &mut cache));
}

/// The weights as f16, by their names in a safetensors file.
fn tensors(weights: &Weights, config: &ModelConfig) -> HashMap<String, Tensor> {
    let (hidden, intermediate) = (config.hidden, config.intermediate);
    let queries = config.num_heads * config.head_dim;
    let keys = config.num_kv_heads * config.head_dim;
    let layer: [(&str, Role, &[usize]); 9] = [
        ("input_layernorm", Role::InputNorm, &[hidden]),
        ("self_attn.q_proj", Role::Query, &[queries, hidden]),
        ("self_attn.k_proj", Role::Key, &[keys, hidden]),
        ("self_attn.v_proj", Role::Value, &[keys, hidden]),
        ("self_attn.o_proj", Role::Output, &[hidden, queries]),
        ("post_attention_layernorm", Role::MlpNorm, &[hidden]),
        ("mlp.gate_proj", Role::Gate, &[intermediate, hidden]),
        ("mlp.up_proj", Role::Up, &[intermediate, hidden]),
        ("mlp.down_proj", Role::Down, &[hidden, intermediate]),
    ];
    let f16 = |unit, role, shape: &[usize]| {
        let tensor = weights.dense(TensorId { unit, role }, shape, &Device::Cpu).unwrap();
        tensor.to_dtype(DType::F16).unwrap()
    };
    let layers = (0..config.num_layers).flat_map(|layer_idx| {
        layer.iter().map(move |(name, role, shape)| {
            let name = format!("model.layers.{layer_idx}.{name}.weight");
            (name, f16(Unit::Layer(layer_idx), *role, shape))
        })
    });
    let embedding = f16(Unit::Embed, Role::Embedding, &[config.vocab, hidden]);
    let norm = f16(Unit::Head, Role::FinalNorm, &[hidden]);
    let ends = [("embed_tokens", embedding), ("norm", norm)]
        .map(|(name, tensor)| (format!("model.{name}.weight"), tensor));
    layers.chain(ends).collect()
}
