//! Every family from GGUF, and how the logits of quantised weights are proven.
//!
//! Products with quantised weights round the activations to bytes. A value within f32 noise of the
//! border between two bytes goes either way, and one such step moves the logits of a tiny model by
//! a hundredth: candle's model differs as much from itself when its prompt is cut otherwise. No
//! tight bound on the logits of a whole run exists, so the proof has two links that each have one.
//!
//! 1. [`super::dequantized`]: what is read of the quantised file is, to the bit, the numbers that
//!    candle dequantises; on these numbers, as a file of f32, the whole model equals candle's.
//!    Only the kernels of the products are then left to be wrong.
//! 2. [`super::products`]: each quantised product by itself, whole numbers in, equals that of the
//!    same dequantised numbers; every stored bit counts. Other activations are off by no more than
//!    their rounding.
//!
//! What two sound links leave open is how they are joined: that a quantised model's products stand
//! where those of numbers do. So whole quantised runs are held to the exact ones here: ours may be
//! off by rounding, and that is as much as candle's quantised model is off, give or take. candle
//! has no quantised Gemma 2: there a bound on what rounding moves stands in for its model.

use candle_core::quantized::GgmlDType;
use serde_json::Value;
use sluicegate_spec::{config::Architecture, files::ModelFiles};
use sluicegate_tests::tiny::TinyModel;

use super::{
    candle::{candle, candle_rounding},
    compare::{check_model, largest_error, pipe, run_ours, run_theirs, spread, tokens},
    dequantized::{Dequantized, check_same_numbers},
};

/// Every type of blocks that GGUF files hold, those of 32 weights first.
pub(super) const QUANTIZED: [GgmlDType; 10] = [
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

/// Numbers: activations are not rounded.
const NUMBERS: [GgmlDType; 2] = [GgmlDType::F32, GgmlDType::F16];

/// Checks a family, all seven layers, in every type.
#[track_caller]
fn check(model: &TinyModel) {
    for kind in NUMBERS {
        let files = model.gguf(kind);
        check_model(&files.files, &mut candle(&files.files));
    }
    let wide = model.clone().wide();
    for kind in QUANTIZED {
        let model = if kind.block_size() == 32 { model } else { &wide };
        let files = model.gguf(kind);
        let errors = Run::new(&files.files, &tokens(26), &[2, 5]);
        errors.check(&format!("{kind:?}"));
    }
}

/// How far our logits are off on the same weights.
#[derive(Debug)]
pub(super) struct Run {
    /// As numbers, against candle's model: the largest difference, of the largest logit.
    exact: f32,
    /// Quantised, against the same weights as numbers: the root mean square, as a share.
    rounded: f64,
    /// The same of candle's model; none of Gemma 2.
    theirs_rounded: Option<f64>,
}

/// What rounding may move logits where candle has no model to compare with: a little more than the
/// 1.2 % that was measured.
const ROUNDED: f64 = 0.02;

impl Run {
    pub(super) fn new(files: &ModelFiles, tokens: &[u32], cuts: &[usize]) -> Self {
        let numbers = Dequantized::new(files);
        check_same_numbers(files, &numbers.files, tokens);
        let want = run_ours(&mut pipe(&numbers.files, cuts), tokens);
        let exact = largest_error(&want, &run_theirs(&mut candle(&numbers.files), tokens));
        let rounded = spread(&run_ours(&mut pipe(files, cuts), tokens), &want);
        let theirs = |files| Some(run_theirs(&mut candle_rounding(files)?, tokens));
        let theirs_rounded =
            theirs(files).zip(theirs(&numbers.files)).map(|(got, want)| spread(&got, &want));
        Self { exact, rounded, theirs_rounded }
    }

    /// By the root mean square, rounding may move our logits half as far again as candle's.
    #[track_caller]
    pub(super) fn check(&self, what: &str) {
        assert!(self.exact <= 1e-3, "{what}: {self:?}");
        let bound = match self.theirs_rounded {
            Some(theirs) => {
                assert!(theirs < 0.1, "{what}: rounding hides everything in {self:?}");
                1.5 * theirs
            }
            None => ROUNDED,
        };
        assert!(self.rounded <= bound, "{what}: {self:?}");
    }
}

#[test]
fn llama_equals_candle() {
    check(&TinyModel::new(Architecture::Llama));
}

#[test]
fn tied_llama_equals_candle() {
    check(&TinyModel::new(Architecture::Llama).tied(true));
}

#[test]
fn mistral_equals_candle_within_its_window() {
    // candle's model knows no window.
    check(&TinyModel::new(Architecture::Mistral).with("sliding_window", 64));
}

#[test]
fn qwen2_equals_candle() {
    check(&TinyModel::new(Architecture::Qwen2).tied(true));
}

#[test]
fn untied_qwen2_equals_candle() {
    check(&TinyModel::new(Architecture::Qwen2).tied(false));
}

#[test]
fn qwen3_equals_candle() {
    check(&TinyModel::new(Architecture::Qwen3));
}

#[test]
fn phi3_equals_candle_within_its_window() {
    // candle's model knows no window, and no rotary embedding but the plain one.
    let model = TinyModel::new(Architecture::Phi3).with("sliding_window", 64);
    check(&model.with("rope_scaling", Value::Null));
}

#[test]
fn gemma2_equals_candle_within_its_window() {
    // candle's model has the window in every layer.
    check(&TinyModel::new(Architecture::Gemma2).with("sliding_window", 64));
}

#[test]
fn gemma3_equals_candle_within_its_window() {
    // candle's mask lets a token of a prompt see one position more than the window.
    check(&TinyModel::new(Architecture::Gemma3).with("sliding_window", 64));
}
