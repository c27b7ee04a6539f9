use std::{num::NonZero, sync::Arc};

use candle_core::{
    DType, Device, Module, Tensor,
    quantized::{GgmlDType, QMatMul, QTensor},
};

use super::{
    Linear,
    activations::{Activations, ByteBlock, Form},
};
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
    let input = values(3, 70, width);
    let single = linear(matrices, 1);
    let want: Vec<Vec<u32>> = (0..70)
        .map(|row| bits(&single.forward(&input.narrow(0, row, 1).unwrap()).unwrap()).remove(0))
        .collect();
    for num_threads in [1, 2, 3] {
        let linear = linear(matrices, num_threads);
        let batches = (1..=17).map(|len| (2 * len, len));
        for (start, len) in batches.chain([(0, 70), (0, 64), (5, 65), (1, 32)]) {
            let input = input.narrow(0, start, len).unwrap();
            let got = bits(&linear.forward(&input).unwrap());
            assert!(got == want[start..start + len], "{num_threads} threads, {start}+{len}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_whatever_the_batch_and_the_threads() {
    for dtype in TYPES {
        for rows in [1, 8, 75] {
            check_bits(&[quantized(dtype, rows, 512)], 512);
        }
    }
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for rows in [1, 45] {
            let weights = values(9, rows, 83).to_dtype(dtype).unwrap();
            check_bits(&[Matrix::Dense(weights)], 83);
        }
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
        let Matrix::Quantized(matrix) = quantized(dtype, 70, 512) else {
            panic!("it was quantised")
        };
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

/// What a product should be by its inputs as they are stored, and a bound of its rounding.
struct Exact {
    value: f64,
    bound: f64,
}

/// Multiplies dequantised weights with dequantised activations.
///
/// The bound: a run of 32 weights is some `max |w| * sum |y|` at most, and each is rounded to 24
/// bits a few times on its way into the sum, and with the sum once for each run after it. Where
/// activations carry their sum as f16, twice rounded to 11 bits, that is times the run's minimum.
fn exact(weights: &[f32], blocks: &[ByteBlock], form: Form) -> Exact {
    let (mut value, mut magnitude, mut sums) = (0.0, 0.0, 0.0);
    for (weights, block) in weights.chunks(32).zip(blocks) {
        let input = block.values.as_flattened().iter();
        let input = input.map(|byte| f64::from(*byte) * f64::from(block.scale));
        let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let products = weights.iter().zip(input.clone()).map(|(w, y)| f64::from(*w) * y);
        value += products.sum::<f64>();
        magnitude += f64::from(largest) * input.clone().map(f64::abs).sum::<f64>();
        sums += f64::from(largest) * input.sum::<f64>().abs();
    }
    let of_sums = if form == Form::Bytes { sums / 1024.0 } else { 0.0 };
    let bound = magnitude * (blocks.len() + 8) as f64 / f64::from(1 << 23) + of_sums;
    Exact { value, bound }
}

#[track_caller]
fn check_exact(dtype: GgmlDType, rows: usize, width: usize) {
    let form = match dtype {
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::Q8_0 => {
            Form::Bytes
        }
        _ => Form::WideBytes,
    };
    let matrix = quantized(dtype, rows, width);
    let Matrix::Quantized(weights) = &matrix else { panic!("it was quantised") };
    let weights: Vec<Vec<u32>> = bits(&weights.dequantize(&Device::Cpu).unwrap());
    let input = values(3, 5, width);
    let got = bits(&linear(&[matrix], 1).forward(&input).unwrap());
    for (token, got) in got.iter().enumerate() {
        let input =
            bits(&input)[token].iter().map(|bits| f32::from_bits(*bits)).collect::<Vec<_>>();
        let input = Activations::new(&input, width, &[form], &Threads::inline());
        for (row, got) in got.iter().enumerate() {
            let weights: Vec<f32> = weights[row].iter().map(|bits| f32::from_bits(*bits)).collect();
            let want = exact(&weights, input.blocks(form), form);
            let error = (f64::from(f32::from_bits(*got)) - want.value).abs();
            assert!(
                error <= want.bound,
                "{dtype:?}, row {row}, token {token}: {error:e} off, {:e} allowed",
                want.bound
            );
        }
    }
}

#[test]
fn products_are_those_of_the_stored_numbers() {
    for dtype in TYPES.into_iter().skip(3) {
        check_exact(dtype, 11, 512);
        check_exact(dtype, 3, 768);
    }
    // An odd number of blocks in each row.
    for dtype in TYPES.into_iter().skip(3).take(5) {
        check_exact(dtype, 9, 96);
    }
}

#[test]
fn activations_are_rounded_by_half_a_step() {
    let input = bits(&values(3, 1, 512)).concat();
    let mut input: Vec<f32> = input.into_iter().map(f32::from_bits).collect();
    input[32..64].fill(0.0);
    input[64..96].fill(1e-42);
    for form in [Form::Bytes, Form::WideBytes] {
        let activations = Activations::new(&input, 512, &[form], &Threads::inline());
        for (block, values) in activations.blocks(form).iter().zip(input.chunks(32)) {
            let bytes = block.values.as_flattened();
            let sum = |bytes: &[i8]| bytes.iter().map(|byte| f32::from(*byte)).sum::<f32>();
            assert_eq!(block.sum.to_bits(), sum(bytes).to_bits());
            let halves = [sum(&bytes[..16]), sum(&bytes[16..])];
            assert_eq!(block.half_sums.map(f32::to_bits), halves.map(f32::to_bits));
            for (byte, value) in bytes.iter().zip(values) {
                assert!(*byte > i8::MIN);
                // Half a step, and the scale's own rounding to f16.
                let bound = 0.501 * block.scale + value.abs() / 2048.0 + 1e-41;
                let got = f32::from(*byte) * block.scale;
                assert!((got - value).abs() <= bound, "{value} became {got}");
            }
        }
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

/// Rows of 7B models and larger do not fit the block of a first-level cache.
#[test]
fn rows_wider_than_a_block_are_multiplied() {
    for dtype in TYPES {
        let matrix = quantized(dtype, 5, 8192);
        let Matrix::Quantized(stored) = &matrix else { unreachable!("it is quantised") };
        let weights = stored.dequantize(&Device::Cpu).unwrap();
        let input = values(3, 6, 8192);
        let output = linear(&[matrix], 1).forward(&input).unwrap();
        let reference = input.matmul(&weights.t().unwrap()).unwrap();
        let distance = largest(&(&output - &reference).unwrap()) / largest(&reference);
        assert!(distance < 0.02, "{dtype:?}: {distance}");
    }
}
