//! The kernel for quantised weights of any format.
//!
//! Every format is read as runs of 32 weights, each weight `scale * (byte - offset) + min`. Eight
//! rows are unpacked together, one row per lane, and multiplied with many tokens while they are
//! unpacked. The products of a run's bytes are summed exactly, as integers; the runs of a row are
//! added in order. So a product has the same bits wherever its row and its token are.

use std::{marker::PhantomData, ops, sync::Arc};

use candle_core::{
    Result, bail,
    quantized::{GgmlDType, QTensor},
};

use super::{
    activations::{Activations, ByteBlock, Form},
    cpu::Kernel,
    formats::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0},
    k_formats::{Q2K, Q3K, Q4K, Q5K, Q6K},
};
use crate::{
    simd::{F32x8, Range, Words, prefetch},
    threads::Columns,
};

/// A format with blocks of `LEN` bytes for `RUNS` runs of 32 weights.
pub(super) trait Format<const LEN: usize, const RUNS: usize>: Send + Sync + 'static {
    const FORM: Form;
    const RANGE: Range;
    /// The offset subtracted from each byte.
    const OFFSET: f32 = 0.0;
    /// Whether there are minima to add.
    const MINS: bool = false;
    /// Whether each half of a run has its own scale and minimum.
    const SPLIT: bool = false;

    /// The unpacked data that the runs of a block share.
    type Unpacked;

    /// Unpacks one block of each of eight rows, as far as its runs share the work.
    fn unpack(rows: [&[u8; LEN]; 8]) -> Self::Unpacked;

    /// Returns a run of an unpacked block.
    fn run(unpacked: &Self::Unpacked, run_idx: usize) -> Run;
}

/// Thirty-two weights of each of eight rows.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The bytes of the weights, prepared by [`Words::prepare`].
    pub(super) words: [Words; 8],
    /// Of both halves; if the run is not split, only the first entry counts.
    pub(super) scales: [F32x8; 2],
    pub(super) mins: [F32x8; 2],
}

impl Run {
    pub(super) const ZERO: Self =
        Self { words: [Words::ZERO; 8], scales: [F32x8::ZERO; 2], mins: [F32x8::ZERO; 2] };

    /// Adds the products with `input` to `sums`.
    #[inline(always)]
    fn multiply<F: Format<LEN, RUNS>, const LEN: usize, const RUNS: usize>(
        &self,
        input: &ByteBlock,
        sums: F32x8,
    ) -> F32x8 {
        let [scale, second_scale] = self.scales;
        let [min, second_min] = self.mins;
        let input_scale = F32x8::splat(input.scale);
        if !F::SPLIT {
            let dot = dot::<F, LEN, RUNS, 8>(&self.words, &input.values, input.sum);
            let sums = dot.mul(scale).mul_add(input_scale, sums);
            let scaled_sum = F32x8::splat(input.scaled_sum);
            return if F::MINS { min.mul_add(scaled_sum, sums) } else { sums };
        }
        let [sum, second_sum] = input.half_sums;
        let (words, second_words) = halves(&self.words);
        let (values, second_values) = halves(&input.values);
        let first = dot::<F, LEN, RUNS, 4>(words, values, sum).mul(scale);
        let second = dot::<F, LEN, RUNS, 4>(second_words, second_values, second_sum);
        let mut products = second.mul_add(second_scale, first);
        if F::MINS {
            products = min.mul_add(F32x8::splat(sum), products);
            products = second_min.mul_add(F32x8::splat(second_sum), products);
        }
        products.mul_add(input_scale, sums)
    }
}

/// Returns the exact products of weights minus their offset.
#[inline(always)]
fn dot<F: Format<LEN, RUNS>, const LEN: usize, const RUNS: usize, const N: usize>(
    words: &[Words; N],
    input: &[[i8; 4]; N],
    input_sum: f32,
) -> F32x8 {
    let dot = Words::dot(words, input, input_sum, F::RANGE);
    if F::OFFSET == 0.0 {
        return dot;
    }
    // Both are whole numbers below 2^24.
    F32x8::splat(input_sum).mul_add(F32x8::splat(-F::OFFSET), dot)
}

#[inline(always)]
fn halves<T>(whole: &[T; 8]) -> (&[T; 4], &[T; 4]) {
    let (Some(first), Some(last)) = (whole.first_chunk(), whole.last_chunk()) else {
        unreachable!("eight is twice four")
    };
    (first, last)
}

/// Chooses the kernel for a matrix of a quantised type.
pub(super) fn kernel(matrix: Arc<QTensor>) -> Result<Box<dyn Kernel>> {
    Ok(match matrix.dtype() {
        GgmlDType::Q4_0 => Box::new(Blocks::<Q4_0, 18, 1>::new(matrix)?),
        GgmlDType::Q4_1 => Box::new(Blocks::<Q4_1, 20, 1>::new(matrix)?),
        GgmlDType::Q5_0 => Box::new(Blocks::<Q5_0, 22, 1>::new(matrix)?),
        GgmlDType::Q5_1 => Box::new(Blocks::<Q5_1, 24, 1>::new(matrix)?),
        GgmlDType::Q8_0 => Box::new(Blocks::<Q8_0, 34, 1>::new(matrix)?),
        GgmlDType::Q2K => Box::new(Blocks::<Q2K, 84, 8>::new(matrix)?),
        GgmlDType::Q3K => Box::new(Blocks::<Q3K, 110, 8>::new(matrix)?),
        GgmlDType::Q4K => Box::new(Blocks::<Q4K, 144, 8>::new(matrix)?),
        GgmlDType::Q5K => Box::new(Blocks::<Q5K, 176, 8>::new(matrix)?),
        GgmlDType::Q6K => Box::new(Blocks::<Q6K, 210, 8>::new(matrix)?),
        other => bail!("no kernel for a matrix of type {other:?}"),
    })
}

struct Blocks<F, const LEN: usize, const RUNS: usize> {
    matrix: Arc<QTensor>,
    num_rows: usize,
    /// Blocks per row.
    num_blocks: usize,
    format: PhantomData<F>,
}

impl<F: Format<LEN, RUNS>, const LEN: usize, const RUNS: usize> Blocks<F, LEN, RUNS> {
    fn new(matrix: Arc<QTensor>) -> Result<Self> {
        let (num_rows, width) = matrix.shape().dims2()?;
        let num_blocks = width / (32 * RUNS);
        let found = matrix.data()?.len();
        if found != num_rows * num_blocks * LEN || width != num_blocks * 32 * RUNS {
            bail!("matrix holds {found} bytes, wanted {num_rows} x {num_blocks} blocks of {LEN}");
        }
        Ok(Self { matrix, num_rows, num_blocks, format: PhantomData })
    }
}

/// Tokens that share the unpacked weights.
const TOKENS: usize = 64;

impl<F: Format<LEN, RUNS>, const LEN: usize, const RUNS: usize> Kernel for Blocks<F, LEN, RUNS> {
    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn form(&self) -> Form {
        F::FORM
    }

    fn fill(
        &self,
        rows: ops::Range<usize>,
        input: &Activations<'_>,
        output: &mut Columns<'_, f32>,
    ) -> Result<()> {
        let data = self.matrix.data()?;
        let (blocks, _) = data.as_chunks::<LEN>();
        let mut buffer = [F32x8::ZERO; TOKENS];
        for first in rows.clone().step_by(8) {
            let num_rows = (rows.end - first).min(8);
            let group = RowGroup::new(blocks, self.num_blocks, first..first + num_rows);
            for token in (0..input.num_tokens).step_by(TOKENS) {
                let sums = &mut buffer[..(input.num_tokens - token).min(TOKENS)];
                let input =
                    Input { blocks: input.blocks(F::FORM), stride: input.num_tokens, token };
                products::<F, LEN, RUNS>(&group, &input, sums);
                for (i, sums) in sums.iter().enumerate() {
                    let products = &mut output.row(token + i)[first - rows.start..][..num_rows];
                    match products.first_chunk_mut() {
                        Some(products) => *products = sums.to_array(),
                        None => products.copy_from_slice(&sums.to_array()[..num_rows]),
                    }
                }
            }
        }
        Ok(())
    }
}

/// The blocks of eight rows.
struct RowGroup<'a, const LEN: usize> {
    rows: [&'a [[u8; LEN]]; 8],
    /// All blocks after these rows.
    next: &'a [[u8; LEN]],
}

impl<'a, const LEN: usize> RowGroup<'a, LEN> {
    /// Takes up to eight rows; the last one is repeated to fill eight.
    fn new(blocks: &'a [[u8; LEN]], num_blocks: usize, rows: ops::Range<usize>) -> Self {
        let next = &blocks[rows.end * num_blocks..];
        let row =
            |r: usize| &blocks[(rows.start + r).min(rows.end - 1) * num_blocks..][..num_blocks];
        Self { rows: std::array::from_fn(row), next }
    }

    #[inline(always)]
    fn column(&self, block_idx: usize) -> [&'a [u8; LEN]; 8] {
        std::array::from_fn(|r| &self.rows[r][block_idx])
    }

    /// Prefetches one column's worth of the next eight rows: the processor does not recognise the
    /// pattern of eight interleaved streams.
    #[inline(always)]
    fn prefetch(&self, block_idx: usize) {
        if let Some(next) = self.next.get(block_idx * 8..block_idx * 8 + 8) {
            prefetch(next.as_flattened());
        }
    }
}

/// A range of the tokens.
struct Input<'a> {
    /// `[runs, tokens]`.
    blocks: &'a [ByteBlock],
    /// The number of all tokens.
    stride: usize,
    /// The first of these tokens.
    token: usize,
}

impl Input<'_> {
    /// Returns a run for `num_tokens` of the tokens.
    #[inline(always)]
    fn run(&self, run_idx: usize, num_tokens: usize) -> &[ByteBlock] {
        &self.blocks[run_idx * self.stride + self.token..][..num_tokens]
    }
}

/// Computes the products of eight rows with as many tokens as there are `sums`.
fn products<F: Format<LEN, RUNS>, const LEN: usize, const RUNS: usize>(
    group: &RowGroup<'_, LEN>,
    input: &Input<'_>,
    sums: &mut [F32x8],
) {
    sums.fill(F32x8::ZERO);
    if let [sum] = sums {
        // The sum of a single token stays in a register.
        let mut alone = *sum;
        each_run::<F, LEN, RUNS>(group, |run_idx, run| {
            alone = run.multiply::<F, LEN, RUNS>(&input.run(run_idx, 1)[0], alone);
        });
        *sum = alone;
        return;
    }
    each_run::<F, LEN, RUNS>(group, |run_idx, run| {
        let blocks = input.run(run_idx, sums.len());
        for (sum, block) in sums.iter_mut().zip(blocks) {
            *sum = run.multiply::<F, LEN, RUNS>(block, *sum);
        }
    });
}

/// Unpacks all runs of eight rows.
#[inline(always)]
fn each_run<F: Format<LEN, RUNS>, const LEN: usize, const RUNS: usize>(
    group: &RowGroup<'_, LEN>,
    mut work: impl FnMut(usize, &Run),
) {
    for block_idx in 0..group.rows[0].len() {
        group.prefetch(block_idx);
        let unpacked = F::unpack(group.column(block_idx));
        for run_idx in 0..RUNS {
            work(block_idx * RUNS + run_idx, &F::run(&unpacked, run_idx));
        }
    }
}
