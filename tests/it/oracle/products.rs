//! Each product with quantised weights by itself, against the dequantised weights in f64.
//!
//! Two kinds of activations go in. The first are whole numbers of steps in every block: rounding
//! them to bytes changes nothing, whatever the blocks' width, so the product must be that of the
//! dequantised weights as f32 adds it up, and one wrong bit of a stored block shows. The second are
//! any numbers: each is rounded by at most a step of its block, `1/127` of the largest there, which
//! bounds the product's error; and over many products the error's root mean square must be that of
//! roundings spread evenly over half a step up and down.

use std::sync::Arc;

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor, ggml_file::qtensor_from_ggml},
};
use sluicegate_model::{linear::Linear, threads::Threads, weights::Matrix};
use sluicegate_tests::steps::numbers;

use super::quantized::QUANTIZED;

const TOKENS: usize = 8;

/// What may be off, and by how much. Each is a share.
#[derive(Debug, Default)]
pub(super) struct Errors {
    /// Whole numbers in: the largest error, of the sum of the products' magnitudes.
    exact: f64,
    /// Any numbers in: the largest error, of what a whole step in each activation makes.
    bounded: f64,
    /// Any numbers in: the root mean square, of what evenly spread rounding makes.
    spread: f64,
}

/// The least that a wrong bit makes is sixteen times as much.
const EXACT: f64 = 4e-6;
/// A few activations may meet most of the weights, so the mean is of few.
const SPREAD: f64 = 1.5;

impl Errors {
    /// Fails unless everything is as f32 and the rounding of activations make it.
    #[track_caller]
    pub(super) fn check(&self, what: &str) {
        let is_sound = self.exact <= EXACT && self.bounded <= 1.0 && self.spread <= SPREAD;
        assert!(is_sound, "{what}: {self:?}");
    }
}

/// Activations `[TOKENS, width]`.
struct Activations {
    width: usize,
    values: Vec<f32>,
    /// How far a whole step of its block moves each.
    steps: Vec<f64>,
    /// Our products with a matrix, `[TOKENS, rows]`.
    products: Vec<Vec<f32>>,
}

impl Activations {
    fn new(values: Vec<f32>, matrix: &Arc<QTensor>) -> Self {
        let (_, width) = matrix.shape().dims2().unwrap();
        let steps = values.chunks(width).flat_map(|token| {
            token.chunks(matrix.dtype().block_size()).flat_map(|block| {
                let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
                std::iter::repeat_n(f64::from(largest) / 127.0, block.len())
            })
        });
        let linear =
            Linear::new(vec![Matrix::Quantized(Arc::clone(matrix))], None, Threads::inline());
        let input = tensor(values.clone(), width);
        let products = numbers(&linear.unwrap().forward(&input).unwrap());
        Self { width, steps: steps.collect(), values, products }
    }

    /// Of each token: values, steps, and the products with all rows.
    fn tokens(&self) -> impl Iterator<Item = (&[f32], &[f64], &[f32])> {
        let rows = self.values.chunks(self.width).zip(self.steps.chunks(self.width));
        rows.zip(&self.products).map(|((values, steps), products)| (values, steps, &products[..]))
    }
}

/// The products of one matrix, by our kernel.
pub(super) struct Products {
    whole: Activations,
    any: Activations,
}

impl Products {
    pub(super) fn new(matrix: &Arc<QTensor>) -> Self {
        let (_, width) = matrix.shape().dims2().unwrap();
        Self {
            whole: Activations::new(whole_numbers(width), matrix),
            any: Activations::new(any_numbers(3, TOKENS * width), matrix),
        }
    }

    /// Compares `rows` of the products with weights that are given as numbers.
    pub(super) fn errors(
        &self,
        rows: impl Iterator<Item = usize>,
        weights: impl Fn(usize) -> Vec<f32>,
    ) -> Errors {
        let mut errors = Errors::default();
        let (mut sum, mut num) = (0.0, 0);
        for row in rows {
            let weights = weights(row);
            for (values, _, products) in self.whole.tokens() {
                let size = total(&weights, values, |weight, value| (weight * value).abs());
                let off = off(&weights, values, products[row]);
                errors.exact = worse(errors.exact, off / size.max(f64::MIN_POSITIVE));
            }
            for (values, steps, products) in self.any.tokens() {
                let bound = total(&weights, steps, |weight, step| (weight * step).abs());
                let variance =
                    total(&weights, steps, |weight, step| (weight * step).powi(2) / 12.0);
                let off = off(&weights, values, products[row]);
                errors.bounded = worse(errors.bounded, off / bound.max(f64::MIN_POSITIVE));
                sum += off * off / variance.max(f64::MIN_POSITIVE);
                num += 1;
            }
        }
        errors.spread = worse(0.0, (sum / f64::from(num)).sqrt());
        errors
    }
}

/// How far a product is from that of the numbers.
fn off(weights: &[f32], values: &[f32], product: f32) -> f64 {
    let want = total(weights, values, |weight, value| weight * value);
    (f64::from(product) - want).abs()
}

fn total<T: Copy + Into<f64>>(weights: &[f32], values: &[T], f: impl Fn(f64, f64) -> f64) -> f64 {
    let pairs = weights.iter().zip(values);
    pairs.map(|(weight, value)| f(f64::from(*weight), (*value).into())).sum()
}

/// The larger of two errors; what is no number is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// Numbers in -1..1 that look random, with an outlier here and there.
fn any_numbers(seed: u32, num: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..num).map(|i| if i % 97 == 0 { 4.0 * next() } else { next() }).collect()
}

/// Whole numbers of steps: -127 to 127, the largest in every 32 of them, times a power of two that
/// all of a wide block share. The first two tokens are nothing but the largest.
fn whole_numbers(width: usize) -> Vec<f32> {
    let any = any_numbers(5, TOKENS * width);
    let value = |(i, any): (usize, f32)| {
        let (token, at) = (i / width, i % width);
        let step = [1.0 / 64.0, 1.0, 0.25][(token + at / 256) % 3];
        let whole = match (token, at % 32) {
            (0, _) | (2..5, 7) => 127.0,
            (1, _) | (_, 7) => -127.0,
            _ => (any / 4.0 * 508.0).clamp(-127.0, 127.0).round(),
        };
        whole * step
    };
    any.into_iter().enumerate().map(value).collect()
}

#[expect(clippy::disallowed_methods, reason = "test input")]
fn tensor(values: Vec<f32>, width: usize) -> Tensor {
    Tensor::from_vec(values, ((), width), &Device::Cpu).unwrap()
}

/// The stored bytes of one row.
fn row_bytes(matrix: &QTensor, row: usize) -> Vec<u8> {
    let data = matrix.data().unwrap();
    let len = data.len() / matrix.shape().dims()[0];
    data[row * len..][..len].to_vec()
}

/// A row's weights, by candle.
#[expect(clippy::disallowed_methods, reason = "a test reads results on the host")]
fn dequantized(kind: GgmlDType, bytes: &[u8]) -> Vec<f32> {
    let width = bytes.len() / kind.type_size() * kind.block_size();
    let row = qtensor_from_ggml(kind, bytes, vec![1, width], &Device::Cpu).unwrap();
    let row = row.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
    row.to_vec1().unwrap()
}

/// Compares some rows of a matrix, spread over it.
pub(super) fn errors_of(matrix: &Arc<QTensor>, num_rows: usize) -> Errors {
    let step = matrix.shape().dims()[0].div_ceil(num_rows);
    let rows = (0..matrix.shape().dims()[0]).step_by(step);
    Products::new(matrix).errors(rows, |row| dequantized(matrix.dtype(), &row_bytes(matrix, row)))
}

fn random(kind: GgmlDType, rows: usize, num_blocks: usize) -> Arc<QTensor> {
    let width = num_blocks * kind.block_size();
    let weights = tensor(any_numbers(7, rows * width), width);
    Arc::new(QTensor::quantize(&weights, kind).unwrap())
}

#[test]
fn products_are_exact_but_for_the_rounding_of_activations() {
    for kind in QUANTIZED {
        for num_blocks in [1, 2, 3, 8] {
            let errors = errors_of(&random(kind, 70, num_blocks), 70);
            errors.check(&format!("{kind:?}, {num_blocks} blocks"));
        }
    }
}

/// Flips each bit of a stored block in turn: the products of the true block must be off from the
/// numbers of the false one.
#[test]
fn every_stored_bit_counts() {
    for kind in QUANTIZED {
        let matrix = random(kind, 2, 2);
        let products = Products::new(&matrix);
        let bytes = row_bytes(&matrix, 1);
        let weights = dequantized(kind, &bytes);
        let num_bits = kind.type_size() * 8;
        for bit in num_bits..2 * num_bits {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mutated = dequantized(kind, &bytes);
            assert!(mutated != weights, "{kind:?}: bit {bit} says nothing");
            let errors = products.errors(1..2, |_| mutated.clone());
            assert!(errors.exact > EXACT, "{kind:?}: bit {bit} passed with {errors:?}");
        }
    }
}

/// What a faulty kernel would make of one block.
type Fault<'a> = &'a dyn Fn(&mut [u8]);

#[test]
fn faults_in_one_block_are_found_by_any_numbers_too() {
    let flip_sign = |at: usize| move |block: &mut [u8]| block[at] ^= 0x80;
    let swap = |at: usize| move |block: &mut [u8]| block.swap(at, at + 1);
    let faults: [(GgmlDType, &str, Fault<'_>); 15] = [
        (GgmlDType::Q4_0, "scale negated", &flip_sign(1)),
        (GgmlDType::Q4_1, "scale negated", &flip_sign(1)),
        (GgmlDType::Q4_1, "min negated", &flip_sign(3)),
        (GgmlDType::Q5_0, "fifth bits moved", &swap(2)),
        (GgmlDType::Q5_1, "min negated", &flip_sign(3)),
        (GgmlDType::Q8_0, "scale negated", &flip_sign(1)),
        (GgmlDType::Q2K, "scales of 16 swapped", &swap(0)),
        (GgmlDType::Q2K, "min negated", &flip_sign(83)),
        (GgmlDType::Q3K, "scales of 16 swapped", &swap(96)),
        (GgmlDType::Q4K, "min negated", &flip_sign(3)),
        (GgmlDType::Q4K, "scales of 32 swapped", &swap(4)),
        (GgmlDType::Q5K, "min negated", &flip_sign(3)),
        (GgmlDType::Q5K, "scales of 32 swapped", &swap(4)),
        (GgmlDType::Q6K, "scales of 16 swapped", &swap(192)),
        (GgmlDType::Q6K, "dropped", &|block| block.fill(0)),
    ];
    for (kind, what, fault) in faults {
        let matrix = random(kind, 4, 4);
        let products = Products::new(&matrix);
        let errors = products.errors(0..4, |row| {
            let mut bytes = row_bytes(&matrix, row);
            fault(&mut bytes[..kind.type_size()]);
            dequantized(kind, &bytes)
        });
        let is_found = errors.exact > EXACT && errors.spread > SPREAD;
        assert!(is_found, "{kind:?}, {what}: {errors:?}");
    }
}
