use std::{num::NonZero, sync::Arc};

use candle_core::{
    DType, Device, Module, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
};

use super::Linear;
use crate::{threads::Threads, weights::Matrix};

const TYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
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

/// Values in -1..1 that look random, with an outlier here and there.
fn values(seed: u32, rows: usize, width: usize) -> Tensor {
    let mut state = seed;
    let values: Vec<f32> = (0..rows * width)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (state >> 8) as f32 / 8_388_608.0 - 1.0;
            if i % 97 == 0 { 4.0 * value } else { value }
        })
        .collect();
    tensor(values, rows, width)
}

#[expect(clippy::disallowed_methods, reason = "test input")]
fn tensor(values: Vec<f32>, rows: usize, width: usize) -> Tensor {
    Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "test output")]
fn bits(tensor: &Tensor) -> Vec<Vec<u32>> {
    let rows = tensor.to_vec2::<f32>().unwrap();
    rows.into_iter().map(|row| row.into_iter().map(f32::to_bits).collect()).collect()
}

fn largest(tensor: &Tensor) -> f32 {
    bits(tensor).concat().into_iter().fold(0.0, |max, bits| f32::from_bits(bits).abs().max(max))
}

fn quantized(dtype: GgmlDType, rows: usize, width: usize) -> Matrix {
    let weights = values(7, rows, width);
    Matrix::Quantized(Arc::new(QTensor::quantize(&weights, dtype).unwrap()))
}

fn threads(count: usize) -> Threads {
    Threads::new(NonZero::new(count).unwrap())
}

fn linear(matrices: &[Matrix], num_threads: usize) -> Linear {
    Linear::new(matrices.to_vec(), None, threads(num_threads)).unwrap()
}

/// Each row alone, in other batches and on other threads must have the same bits.
#[track_caller]
fn check_bits(matrices: &[Matrix], width: usize) {
    let input = values(3, 33, width);
    let single = linear(matrices, 1);
    let want: Vec<Vec<u32>> = (0..33)
        .map(|row| bits(&single.forward(&input.narrow(0, row, 1).unwrap()).unwrap()).remove(0))
        .collect();
    for num_threads in [1, 2, 3] {
        let linear = linear(matrices, num_threads);
        for (start, len) in [(0, 33), (0, 8), (5, 8), (30, 3), (32, 1), (1, 32)] {
            let input = input.narrow(0, start, len).unwrap();
            let got = bits(&linear.forward(&input).unwrap());
            assert!(got == want[start..start + len], "{num_threads} threads, {start}+{len}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_whatever_the_batch_and_the_threads() {
    for dtype in TYPES {
        check_bits(&[quantized(dtype, 70, 512)], 512);
    }
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let weights = values(9, 45, 83).to_dtype(dtype).unwrap();
        check_bits(&[Matrix::Dense(weights)], 83);
    }
}

#[test]
fn matrices_of_several_types_share_an_input() {
    let matrices: Vec<Matrix> = [GgmlDType::Q4K, GgmlDType::Q5_0, GgmlDType::F16, GgmlDType::Q6K]
        .iter()
        .enumerate()
        .map(|(i, dtype)| quantized(*dtype, 20 + 7 * i, 256))
        .collect();
    check_bits(&matrices, 256);
    let input = values(5, 6, 256);
    let together = bits(&linear(&matrices, 2).forward(&input).unwrap());
    let apart: Vec<_> = matrices
        .iter()
        .map(|matrix| bits(&linear(std::slice::from_ref(matrix), 1).forward(&input).unwrap()))
        .collect();
    for (row, together) in together.iter().enumerate() {
        let apart: Vec<u32> = apart.iter().flat_map(|part| part[row].clone()).collect();
        assert_eq!(*together, apart);
    }
}

#[test]
fn products_equal_those_of_candle() {
    for dtype in TYPES {
        let Matrix::Quantized(matrix) = quantized(dtype, 70, 512) else { unreachable!() };
        let theirs = QMatMul::from_arc(Arc::clone(&matrix)).unwrap();
        let ours = linear(&[Matrix::Quantized(matrix)], 2);
        for num_tokens in [1, 4, 9] {
            let input = values(3, num_tokens, 512);
            let want = theirs.forward(&input).unwrap();
            let difference = (ours.forward(&input).unwrap() - &want).unwrap();
            let (error, scale) = (largest(&difference), largest(&want));
            assert!(error <= 2e-5 * scale, "{dtype:?}, {num_tokens} tokens: {error} of {scale}");
        }
    }
}

#[test]
fn rows_of_an_odd_number_of_blocks_are_read_right() {
    for dtype in [GgmlDType::Q4_0, GgmlDType::Q4_1, GgmlDType::Q5_0, GgmlDType::Q5_1] {
        let matrix = quantized(dtype, 5, 96);
        let Matrix::Quantized(weights) = &matrix else { unreachable!() };
        let dense = weights.dequantize(&Device::Cpu).unwrap();
        let input = values(3, 2, 96);
        let want = input.matmul(&dense.t().unwrap()).unwrap();
        let difference = (linear(&[matrix], 1).forward(&input).unwrap() - &want).unwrap();
        // The input is quantised to bytes: half a step of 1/127 in each of 96 values.
        assert!(largest(&difference) <= 0.02 * largest(&want), "{dtype:?}");
    }
}

#[test]
fn a_bias_is_added_to_every_row() {
    let bias = values(1, 1, 10).squeeze(0).unwrap();
    let matrix = Matrix::Dense(values(2, 10, 16));
    let input = values(3, 3, 16);
    let plain = linear(std::slice::from_ref(&matrix), 1).forward(&input).unwrap();
    let biased = Linear::new(vec![matrix], Some(bias.clone()), Threads::inline()).unwrap();
    let want = plain.broadcast_add(&bias).unwrap();
    assert_eq!(bits(&biased.forward(&input).unwrap()), bits(&want));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let matrices = vec![Matrix::Dense(values(1, 4, 16)), Matrix::Dense(values(1, 4, 32))];
    assert!(Linear::new(matrices, None, Threads::inline()).is_err());
    let linear = linear(&[Matrix::Dense(values(1, 4, 16))], 1);
    assert!(linear.forward(&values(1, 2, 32)).is_err());
    let ids = values(1, 4, 16).to_dtype(DType::U32).unwrap();
    assert!(Linear::new(vec![Matrix::Dense(ids)], None, Threads::inline()).is_err());
}
