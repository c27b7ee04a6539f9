//! Activations in the forms that the kernels read: f32, or quantised to bytes.

use candle_core::quantized::{GgmlType, k_quants::BlockQ8K};
use half::f16;

use crate::threads::Threads;

/// The form in which a kernel reads its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    F32,
    /// Blocks of 32 bytes.
    Bytes,
    /// ggml's `Q8_K`: blocks of 256 bytes.
    WideBytes,
}

/// Thirty-two activations as signed bytes with one scale.
///
/// Source: ggml's `Q8_1` (`quantize_row_q8_1` in `ggml-quants.c`), whose two numbers are f16; they
/// are held as f32 here, after that rounding.
#[derive(Debug, Clone, Copy)]
pub(super) struct ByteBlock {
    pub(super) scale: f32,
    /// The sum of the values times the scale.
    pub(super) scaled_sum: f32,
    /// The sum of the values.
    pub(super) sum: i32,
    pub(super) values: [i8; 32],
}

impl ByteBlock {
    const ZERO: Self = Self { scale: 0.0, scaled_sum: 0.0, sum: 0, values: [0; 32] };

    fn quantize(values: &[f32; 32]) -> Self {
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let mut block = Self::ZERO;
        for (byte, value) in block.values.iter_mut().zip(values) {
            #[expect(clippy::cast_possible_truncation, reason = "at most 127 by the scale")]
            let rounded = (value * inverse).round() as i8;
            *byte = rounded;
        }
        let sum: i32 = block.values.iter().map(|byte| i32::from(*byte)).sum();
        let scale = f16::from_f32(scale);
        block.sum = sum;
        block.scaled_sum = (f16::from_f32(sum as f32) * scale).to_f32();
        block.scale = scale.to_f32();
        block
    }
}

/// The input of a product, in every form that one of its kernels asks for.
pub(super) struct Activations<'a> {
    pub(super) num_tokens: usize,
    /// `[tokens, width]`.
    pub(super) values: &'a [f32],
    /// `[tokens, width / 32]`, or empty.
    pub(super) bytes: Vec<ByteBlock>,
    /// `[tokens, width / 256]`, or empty.
    pub(super) wide_bytes: Vec<BlockQ8K>,
}

impl<'a> Activations<'a> {
    /// Prepares `values`, `[tokens, width]`. `width` is a multiple of the blocks asked for.
    pub(super) fn new(values: &'a [f32], width: usize, forms: &[Form], threads: &Threads) -> Self {
        let num_tokens = values.len().checked_div(width).unwrap_or(0);
        let mut bytes = Vec::new();
        if forms.contains(&Form::Bytes) {
            bytes.resize(num_tokens * (width / 32), ByteBlock::ZERO);
            threads.for_chunks(&mut bytes, width / 32, |token, blocks| {
                let (chunks, _) = values[token * width..][..width].as_chunks();
                for (block, chunk) in blocks.iter_mut().zip(chunks) {
                    *block = ByteBlock::quantize(chunk);
                }
            });
        }
        let mut wide_bytes = Vec::new();
        if forms.contains(&Form::WideBytes) {
            wide_bytes.resize(num_tokens * (width / 256), BlockQ8K::zeros());
            threads.for_chunks(&mut wide_bytes, width / 256, |token, blocks| {
                BlockQ8K::from_float(&values[token * width..][..width], blocks);
            });
        }
        Self { num_tokens, values, bytes, wide_bytes }
    }
}
