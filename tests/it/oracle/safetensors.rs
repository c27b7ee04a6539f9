//! Every family from safetensors against candle's own model.

use candle_core::{DType, Device, Tensor, quantized::GgmlDType};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma2, gemma3, llama, mistral, qwen2, qwen3};
use serde::de::DeserializeOwned;
use sluicegate_spec::config::Architecture;
use sluicegate_tests::tiny::{StoredType, TinyFiles, TinyModel};

use super::compare::{check_model, largest_error, pipe, run_ours, tokens};

const F32: StoredType = StoredType::F32;

fn config<T: DeserializeOwned>(model: &TinyModel) -> T {
    serde_json::from_value(model.config().clone()).unwrap()
}

/// The stored weights, which candle computes with in f32.
fn weights(files: &TinyFiles) -> VarBuilder<'static> {
    let path = files.directory().join("model.safetensors");
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

#[track_caller]
fn check_llama(model: &TinyModel, stored: StoredType) {
    let files = model.directory(stored);
    let config = config::<llama::LlamaConfig>(model).into_config(false);
    let theirs = llama::Llama::load(weights(&files), &config).unwrap();
    let mut cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu).unwrap();
    check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past, &mut cache));
}

#[test]
fn llama_equals_candle_in_every_stored_type() {
    for stored in [StoredType::F32, StoredType::F16, StoredType::BF16] {
        check_llama(&TinyModel::new(Architecture::Llama), stored);
    }
}

#[test]
fn tied_llama_equals_candle() {
    check_llama(&TinyModel::new(Architecture::Llama).tied(true), F32);
}

#[test]
fn llama_with_stretched_positions_equals_candle() {
    let scaling = serde_json::json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    check_llama(&TinyModel::new(Architecture::Llama).with("rope_scaling", scaling), F32);
}

#[test]
fn mistral_equals_candle_within_its_window() {
    // candle's model sees one position more than the window in a prompt, and all in decode.
    let model = TinyModel::new(Architecture::Mistral).with("sliding_window", 64);
    let files = model.directory(F32);
    let mut theirs = mistral::Model::new(&config(&model), weights(&files)).unwrap();
    check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past));
}

#[test]
fn qwen2_equals_candle_tied_and_untied() {
    // candle's model takes a window for every layer, whatever the configuration says.
    let model = TinyModel::new(Architecture::Qwen2).with("sliding_window", 64);
    for model in [model.clone(), model.tied(false)] {
        let files = model.directory(F32);
        let mut theirs = qwen2::ModelForCausalLM::new(&config(&model), weights(&files)).unwrap();
        check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past));
    }
}

#[test]
fn qwen3_equals_candle() {
    let model = TinyModel::new(Architecture::Qwen3);
    let files = model.directory(F32);
    let mut theirs = qwen3::ModelForCausalLM::new(&config(&model), weights(&files)).unwrap();
    check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past));
}

#[test]
fn gemma2_equals_candle_within_its_window() {
    // candle's model has the window in every layer.
    let model = TinyModel::new(Architecture::Gemma2).with("sliding_window", 64);
    let files = model.directory(F32);
    let mut theirs = gemma2::Model::new(false, &config(&model), weights(&files)).unwrap();
    check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past));
}

#[test]
fn gemma3_equals_candle_within_its_window() {
    // candle's mask lets a token of a prompt see one position more than the window.
    let model = TinyModel::new(Architecture::Gemma3).with("sliding_window", 64);
    let files = model.directory(F32);
    let theirs = gemma3::Model::new(false, &config(&model), weights(&files)).unwrap();
    check_model(&files.files, &mut one_by_one(theirs));
}

#[test]
fn every_family_is_the_same_in_gguf_past_its_window() {
    for architecture in Architecture::ALL {
        let model = TinyModel::new(architecture);
        let (hub, gguf) = (model.directory(F32), model.gguf(GgmlDType::F32));
        let tokens = tokens(26);
        let want = run_ours(&mut pipe(&hub.files, &[]), &tokens);
        let got = run_ours(&mut pipe(&gguf.files, &[]), &tokens);
        // Where a file holds a norm's weight less one, the sum is rounded.
        let error = largest_error(&got, &want);
        assert!(error <= 1e-5, "{architecture:?} is off by {error} of the largest logit");
    }
}

/// Feeds a model token by token: its cache of a window refuses the values of several.
pub(super) fn one_by_one(
    mut model: gemma3::Model,
) -> impl FnMut(&Tensor, usize) -> candle_core::Result<Tensor> {
    move |tokens, past| {
        let num = tokens.dim(1)?;
        let logits = (0..num).map(|i| model.forward(&tokens.narrow(1, i, 1)?, past + i));
        logits.last().expect("a step has tokens")
    }
}
