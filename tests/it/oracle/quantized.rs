//! Every family from GGUF against candle's own quantised model.
//!
//! Products with quantised weights round the activations to bytes. A value within f32 noise of the
//! border between two bytes goes either way, and one such step moves the logits of a tiny model by
//! a hundredth: candle's model differs as much from itself when its prompt is cut otherwise. So
//! quantised models are compared in threes of shallow ones: most must agree as f32 ones do, and
//! none may be further off than such steps make it. An error in reading or computing moves all.

use std::fs::File;

use candle_core::{
    DType, Device, Tensor,
    quantized::{GgmlDType, gguf_file::Content},
};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma3, quantized_llama, quantized_qwen2, quantized_qwen3};
use sluicegate_model::{config::Architecture, source::ModelFiles};
use sluicegate_tests::tiny::{StoredType, TinyFiles, TinyModel};

use super::{
    compare::{check_model, error, logits, pipe, tokens},
    safetensors::one_by_one,
};

const NARROW: [GgmlDType; 5] =
    [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1, GgmlDType::Q8_0];
const WIDE: [GgmlDType; 5] =
    [GgmlDType::Q2K, GgmlDType::Q3K, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K];

/// A model of candle's, whichever.
pub(super) type Model = Box<dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor>>;

/// Opens candle's model of a file.
pub(super) fn candle(files: &ModelFiles) -> Model {
    let mut file = File::open(files.path()).unwrap();
    let content = Content::read(&mut file).unwrap();
    let architecture = content.metadata["general.architecture"].to_string().unwrap().clone();
    let cpu = &Device::Cpu;
    match architecture.as_str() {
        "llama" => {
            let mut model =
                quantized_llama::ModelWeights::from_gguf(content, &mut file, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        "qwen2" => {
            let mut model =
                quantized_qwen2::ModelWeights::from_gguf(content, &mut file, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        "qwen3" => {
            let mut model =
                quantized_qwen3::ModelWeights::from_gguf(content, &mut file, cpu).unwrap();
            Box::new(move |tokens, past| model.forward(tokens, past))
        }
        other => panic!("no oracle for {other}"),
    }
}

/// Types that hold numbers: activations are not rounded, all seven layers must agree.
#[track_caller]
fn check_exact(model: &TinyModel) {
    for kind in [GgmlDType::F32, GgmlDType::F16] {
        let files = model.gguf(kind);
        check_model(&files.files, &mut candle(&files.files));
    }
}

#[track_caller]
fn check_rounded(model: &TinyModel, kind: GgmlDType) {
    let shallow = model.clone().with("num_hidden_layers", 2);
    let errors = [1, 2, 3].map(|seed| largest_error(&shallow.clone().with_seed(seed).gguf(kind)));
    let num_equal = errors.iter().filter(|error| **error <= 1e-3).count();
    assert!(num_equal >= 2, "{kind:?}: shares of the largest logit {errors:?}");
    assert!(errors.iter().all(|error| *error <= 5e-2), "{kind:?}: {errors:?}");
}

fn largest_error(files: &TinyFiles) -> f32 {
    let (tokens, mut theirs, mut ours) =
        (tokens(6), candle(&files.files), pipe(&files.files, &[2]));
    [(0, 4), (4, 5), (5, 6)].into_iter().fold(0.0, |largest, (start, end)| {
        let want = logits(&mut theirs, &tokens[start..end], start);
        largest.max(error(&ours.last_logits(&tokens[start..end], start), &want))
    })
}

#[test]
fn llama_equals_candle_in_every_type() {
    let model = TinyModel::new(Architecture::Llama);
    check_exact(&model);
    for kind in NARROW {
        check_rounded(&model, kind);
    }
    let model = model.wide();
    for kind in WIDE {
        check_rounded(&model, kind);
    }
}

#[test]
fn tied_llama_equals_candle() {
    let model = TinyModel::new(Architecture::Llama).tied(true);
    check_exact(&model);
    check_rounded(&model, GgmlDType::Q4_1);
}

#[test]
fn mistral_equals_candle_within_its_window() {
    // candle's model knows no window.
    let model = TinyModel::new(Architecture::Mistral).with("sliding_window", 64);
    check_exact(&model);
    check_rounded(&model, GgmlDType::Q4_1);
}

#[test]
fn qwen2_equals_candle_tied_and_untied() {
    for model in [true, false].map(|tied| TinyModel::new(Architecture::Qwen2).tied(tied)) {
        check_exact(&model);
        check_rounded(&model, GgmlDType::Q8_0);
        check_rounded(&model.wide(), GgmlDType::Q6K);
    }
}

#[test]
fn qwen3_equals_candle() {
    let model = TinyModel::new(Architecture::Qwen3);
    check_exact(&model);
    check_rounded(&model, GgmlDType::Q5_1);
    check_rounded(&model.wide(), GgmlDType::Q4K);
}

#[test]
fn gemma3_equals_candle_within_its_window() {
    // candle's quantised model gates with SiLU where the family has GELU, so its other model of
    // the same weights is the oracle.
    let model = TinyModel::new(Architecture::Gemma3).with("sliding_window", 64);
    let files = model.directory(StoredType::F32);
    let path = files.directory().join("model.safetensors");
    let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let config = serde_json::from_value(model.config().clone()).unwrap();
    let theirs = gemma3::Model::new(false, &config, weights).unwrap();
    check_model(&model.gguf(GgmlDType::F32).files, &mut one_by_one(theirs));
}
