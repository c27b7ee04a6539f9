//! Activations in the forms that kernels read: f32, or quantised to bytes.

use half::f16;

use crate::threads::Threads;

/// The form in which a kernel reads its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    F32,
    /// Bytes with a scale for every 32.
    ///
    /// Source: ggml's `Q8_1` (`quantize_row_q8_1` in `ggml-quants.c`). Its two f16 factors are
    /// rounded to f16 and then kept as f32 here.
    Bytes,
    /// Bytes with a scale for every 256.
    ///
    /// Source: ggml's `Q8_K` (`quantize_row_q8_K` in `ggml-quants.c`).
    WideBytes,
}

/// Thirty-two activations as signed bytes, none of them -128, with their scale.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct ByteBlock {
    pub(super) values: [[i8; 4]; 8],
    pub(super) scale: f32,
    /// The sum of the values; exact.
    pub(super) sum: f32,
    /// The sums of the first and the last sixteen values; exact.
    pub(super) half_sums: [f32; 2],
    /// The sum of the values times the scale.
    pub(super) scaled_sum: f32,
}

impl ByteBlock {
    const ZERO: Self =
        Self { values: [[0; 4]; 8], scale: 0.0, sum: 0.0, half_sums: [0.0; 2], scaled_sum: 0.0 };

    /// Rounds `values` times `factor` to bytes; `factor` must keep them within 127.
    #[inline(always)]
    fn round(values: &[f32; 32], factor: f32) -> Self {
        let mut block = Self::ZERO;
        let bytes = block.values.as_flattened_mut();
        for (byte, value) in bytes.iter_mut().zip(values) {
            // If `factor` overflowed, the product may be any number.
            #[expect(clippy::cast_possible_truncation, reason = "it is clamped")]
            let rounded = (value * factor).round().clamp(-127.0, 127.0) as i8;
            *byte = rounded;
        }
        let sum = |bytes: &[i8]| bytes.iter().map(|byte| i32::from(*byte)).sum::<i32>() as f32;
        block.half_sums = [sum(&bytes[..16]), sum(&bytes[16..])];
        block.sum = block.half_sums[0] + block.half_sums[1];
        block
    }

    fn quantize(values: &[f32; 32]) -> Self {
        let scale = largest(values) / 127.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let mut block = Self::round(values, inverse);
        let scale = f16::from_f32(scale);
        block.scale = scale.to_f32();
        block.scaled_sum = (f16::from_f32(block.sum) * scale).to_f32();
        block
    }

    /// Returns the factor for 256 values; its inverse is their scale.
    fn wide_factor(values: &[[f32; 32]]) -> f32 {
        let largest = values.iter().map(largest).fold(0.0, f32::max);
        if largest == 0.0 { 0.0 } else { 127.0 / largest }
    }

    fn quantize_wide(values: &[f32; 32], factor: f32) -> Self {
        let mut block = Self::round(values, factor);
        block.scale = if factor == 0.0 { 0.0 } else { 1.0 / factor };
        block.scaled_sum = block.scale * block.sum;
        block
    }
}

fn largest(values: &[f32; 32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The input of a product, in every form that one of its kernels needs.
pub(super) struct Activations<'a> {
    pub(super) num_tokens: usize,
    width: usize,
    /// `[tokens, width]`.
    pub(super) values: &'a [f32],
    /// `[width / 32, tokens]`, so that a kernel reads one block of many tokens in order. Empty if
    /// unused.
    bytes: Vec<ByteBlock>,
    wide_bytes: Vec<ByteBlock>,
}

impl<'a> Activations<'a> {
    /// Prepares `values`, `[tokens, width]`. `width` must be a multiple of the block sizes.
    pub(super) fn new(values: &'a [f32], width: usize, forms: &[Form], threads: &Threads) -> Self {
        let num_tokens = values.len().checked_div(width).unwrap_or(0);
        let mut input =
            Self { num_tokens, width, values, bytes: Vec::new(), wide_bytes: Vec::new() };
        if forms.contains(&Form::Bytes) {
            input.bytes = input.quantized(threads, |row, blocks| {
                for (block, values) in blocks.zip(row) {
                    *block = ByteBlock::quantize(values);
                }
            });
        }
        if forms.contains(&Form::WideBytes) {
            input.wide_bytes = input.quantized(threads, |row, blocks| {
                let factor = ByteBlock::wide_factor(row);
                for (block, values) in blocks.zip(row) {
                    *block = ByteBlock::quantize_wide(values, factor);
                }
            });
        }
        input
    }

    /// Returns the blocks of a form that was prepared: `[width / 32, tokens]`.
    pub(super) fn blocks(&self, form: Form) -> &[ByteBlock] {
        match form {
            Form::F32 => &[],
            Form::Bytes => &self.bytes,
            Form::WideBytes => &self.wide_bytes,
        }
    }

    /// Calls `quantize` with up to 256 values of one token and the blocks for them.
    fn quantized(
        &self,
        threads: &Threads,
        quantize: impl Fn(&[[f32; 32]], &mut dyn Iterator<Item = &mut ByteBlock>) + Sync,
    ) -> Vec<ByteBlock> {
        let num_tokens = self.num_tokens;
        let mut blocks = vec![ByteBlock::ZERO; num_tokens * (self.width / 32)];
        threads.for_chunks(&mut blocks, 8 * num_tokens, |chunk_idx, blocks| {
            let span = chunk_idx * 256..self.width.min(chunk_idx * 256 + 256);
            for (token, values) in self.values.chunks_exact(self.width).enumerate() {
                let (row, _) = values[span.clone()].as_chunks();
                quantize(row, &mut blocks[token..].iter_mut().step_by(num_tokens));
            }
        });
        blocks
    }
}
