//! Phi 3 from safetensors against candle's own model: plain, turned in part, and with `longrope`.
//!
//! candle's model multiplies frequencies by the divisors, takes short ones and long ones for the
//! keys of one cache, and leaves turned queries and keys as large as they are. So it is given the
//! reciprocals of the divisors that the whole context asks for, and rows of queries and keys that
//! are larger by the factor. That the divisors and the factor are the right ones is what the
//! fixtures of transformers show.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::phi3;
use serde_json::{Value, json};
use sluicegate_spec::{
    config::{Architecture, ModelConfig, RopeScaling},
    files::ModelFiles,
};
use sluicegate_tests::tiny::{StoredType, TinyModel};

use super::compare::check_model;

/// A tiny model with a window that candle's, which has none, does not come to.
fn tiny() -> TinyModel {
    TinyModel::new(Architecture::Phi3).with("sliding_window", 64)
}

/// candle's model, with rows of queries and keys that are larger by `factor`.
fn candle(model: &TinyModel, files: &ModelFiles, factor: f64) -> phi3::Model {
    let path = files.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
    for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains("qkv_proj")) {
        // Four heads of queries and two of keys, then two of values.
        let rows = tensor.dim(0).unwrap() / 8;
        let turned = (tensor.narrow(0, 0, 6 * rows).unwrap() * factor).unwrap();
        let values = tensor.narrow(0, 6 * rows, 2 * rows).unwrap();
        *tensor = Tensor::cat(&[turned, values], 0).unwrap();
    }
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let config = serde_json::from_value(model.config().clone()).unwrap();
    phi3::Model::new(&config, weights).unwrap()
}

#[track_caller]
fn check_plain(model: &TinyModel) {
    let files = model.directory(StoredType::F32);
    let mut theirs = candle(model, &files.files, 1.0);
    check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past));
}

#[test]
fn phi3_equals_candle_tied_and_untied() {
    let model = tiny().with("rope_scaling", Value::Null);
    for tied in [false, true] {
        check_plain(&model.clone().tied(tied));
    }
}

#[test]
fn phi3_with_heads_turned_in_part_equals_candle() {
    let model = tiny().with("rope_scaling", Value::Null);
    for share in [0.5, 0.75] {
        check_plain(&model.clone().with("partial_rotary_factor", share));
    }
}

#[test]
fn phi3_with_longrope_equals_candle_given_what_is_chosen() {
    // 512 positions against 128: the long divisors, and queries and keys that grow.
    check_longrope(&tiny(), "long_factor", (1.0 + 4_f64.ln() / 128_f64.ln()).sqrt());
    let short = tiny().with("original_max_position_embeddings", 512);
    check_longrope(&short, "short_factor", 1.0);
}

#[track_caller]
fn check_longrope(model: &TinyModel, chosen: &str, factor: f64) {
    let files = model.directory(StoredType::F32);
    let rope = ModelConfig::read(&files.files).unwrap().rope;
    let scaling = &model.config()["rope_scaling"];
    let factors: Vec<f64> =
        scaling[chosen].as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    let found = match rope.scaling {
        RopeScaling::Factors(found) => found.into_iter().map(f64::from).collect(),
        _ => vec![],
    };
    assert_eq!(found, factors);
    assert!((rope.magnitude.unwrap_or(1.0) - factor).abs() < 1e-12);
    let reciprocals: Vec<f64> = factors.iter().map(|factor| factor.recip()).collect();
    let theirs = json!({
        "type": "longrope", "short_factor": reciprocals, "long_factor": reciprocals,
    });
    // Without the original number candle takes the first list for all positions.
    let model = model
        .clone()
        .with("rope_scaling", theirs)
        .with("original_max_position_embeddings", Value::Null);
    let mut theirs = candle(&model, &files.files, factor);
    check_model(&files.files, &mut |tokens, past| theirs.forward(tokens, past));
}
