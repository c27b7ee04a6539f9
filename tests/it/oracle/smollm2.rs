//! The default model against candle's own, by the links that [`super::quantized`] tells of.

use candle_core::Device;
use sluicegate_model::{
    source::{ModelSource, Silent},
    weights::Matrix,
};
use sluicegate_spec::files::ModelFiles;

use super::{
    compare::{open, tokens},
    dequantized::tensors,
    products::errors_of,
    quantized::Run,
};

fn files() -> ModelFiles {
    ModelSource::parse("smollm2").unwrap().resolve(&Silent).unwrap()
}

#[test]
fn smollm2_equals_candle() {
    let tokens: Vec<u32> = tokens(26).iter().map(|token| token * 190).collect();
    let run = Run::new(&files(), &tokens, &[11, 21]);
    run.check("SmolLM2");
}

#[test]
fn products_of_smollm2_are_exact_but_for_rounding() {
    check_products(&files(), 50);
}

/// Checks the products with every quantised matrix of a model.
#[track_caller]
pub(super) fn check_products(files: &ModelFiles, rows_each: usize) {
    let (weights, config) = open(files);
    let mut num_checked = 0;
    for (id, shape) in tensors(&weights, &config) {
        let [rows, width] = shape[..] else { continue };
        let matrix = weights.matrix(id, (rows, width), &Device::Cpu).unwrap();
        let Matrix::Quantized(matrix) = matrix else { continue };
        errors_of(&matrix, rows_each).check(&format!("{id:?}, {:?}", matrix.dtype()));
        num_checked += 1;
    }
    assert!(num_checked > 7 * config.num_layers, "only {num_checked} matrices");
}
