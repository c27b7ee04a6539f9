//! The product on a CPU: splits the rows of the weights over the stage's threads.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, bail, quantized::GgmlDType};

use super::{
    activations::{Activations, Form},
    blocks,
    dense::Dense,
    k_quants,
};
use crate::{threads::Threads, weights::Matrix};

/// One matrix `[out, in]` in a stored type.
pub(super) trait Kernel: Send + Sync {
    fn num_rows(&self) -> usize;

    /// The form of input that [`Kernel::fill`] reads.
    fn form(&self) -> Form;

    /// Fills `output`, `[rows, tokens]`, with the products of `rows` and every token.
    ///
    /// The bits of a product depend on its row and its token, and on nothing else.
    fn fill(&self, rows: Range<usize>, input: &Activations<'_>, output: &mut [f32]) -> Result<()>;
}

/// Matrices that share an input, and the threads that multiply them.
pub(super) struct Product {
    kernels: Vec<Box<dyn Kernel>>,
    forms: Vec<Form>,
    width: usize,
    num_rows: usize,
    threads: Threads,
}

impl Product {
    pub(super) fn new(matrices: Vec<Matrix>, threads: Threads) -> Result<Self> {
        let widths: Vec<usize> = matrices
            .iter()
            .map(|matrix| match matrix {
                Matrix::Dense(matrix) => Ok(matrix.dims2()?.1),
                Matrix::Quantized(matrix) => Ok(matrix.shape().dims2()?.1),
            })
            .collect::<Result<_>>()?;
        let Some(width) = widths.first().copied() else { bail!("a product of no matrix") };
        if widths.iter().any(|other| *other != width) {
            bail!("matrices of one input differ in width: {widths:?}");
        }
        let kernels: Vec<_> = matrices.into_iter().map(kernel).collect::<Result<_>>()?;
        let forms = kernels.iter().map(|kernel| kernel.form()).collect();
        let num_rows = kernels.iter().map(|kernel| kernel.num_rows()).sum();
        Ok(Self { kernels, forms, width, num_rows, threads })
    }

    /// Fills the products of `rows` of all matrices, counted through, into `[rows, tokens]`.
    fn fill(&self, rows: Range<usize>, input: &Activations<'_>, output: &mut [f32]) -> Result<()> {
        let mut first = 0;
        for kernel in &self.kernels {
            let start = rows.start.max(first);
            let end = rows.end.min(first + kernel.num_rows());
            if start < end {
                let span =
                    (start - rows.start) * input.num_tokens..(end - rows.start) * input.num_tokens;
                kernel.fill(start - first..end - first, input, &mut output[span])?;
            }
            first += kernel.num_rows();
        }
        Ok(())
    }

    /// Rows that one thread takes at a time: a few turns for each thread, so that a late one costs
    /// little, and no more rows than fit a second-level cache.
    fn rows_per_turn(&self) -> usize {
        let turns = self.threads.count() * 6;
        (self.num_rows / turns).clamp(8, 64).next_multiple_of(4)
    }

    /// The products of `values`, `[tokens, width]`: `[tokens, rows]`.
    fn multiply(&self, values: &[f32]) -> Result<Vec<f32>> {
        let input = Activations::new(values, self.width, &self.forms, &self.threads);
        let num_tokens = input.num_tokens;
        let mut by_row = vec![0.0; num_tokens * self.num_rows];
        let rows_per_turn = self.rows_per_turn();
        let failed = AtomicBool::new(false);
        self.threads.for_chunks(&mut by_row, rows_per_turn * num_tokens, |turn, output| {
            let start = turn * rows_per_turn;
            let end = self.num_rows.min(start + rows_per_turn);
            if self.fill(start..end, &input, output).is_err() {
                failed.store(true, Ordering::Relaxed);
            }
        });
        if failed.load(Ordering::Relaxed) {
            bail!("a kernel could not read its weights");
        }
        Ok(if num_tokens == 1 { by_row } else { self.transpose(&by_row, num_tokens) })
    }

    /// `[rows, tokens]` to `[tokens, rows]`.
    fn transpose(&self, by_row: &[f32], num_tokens: usize) -> Vec<f32> {
        let mut by_token = vec![0.0; by_row.len()];
        // Sixteen tokens at a time share the cache lines that they are read from.
        self.threads.for_chunks(&mut by_token, 16 * self.num_rows, |block, output| {
            for (row, values) in by_row.chunks_exact(num_tokens).enumerate() {
                for (token, output) in output.chunks_exact_mut(self.num_rows).enumerate() {
                    output[row] = values[block * 16 + token];
                }
            }
        });
        by_token
    }
}

fn kernel(matrix: Matrix) -> Result<Box<dyn Kernel>> {
    let matrix = match matrix {
        Matrix::Dense(matrix) => return Ok(Box::new(Dense::new(&matrix)?)),
        Matrix::Quantized(matrix) => matrix,
    };
    match matrix.dtype() {
        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => Ok(Box::new(Dense::wrapped(matrix)?)),
        GgmlDType::Q4_0 | GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1 | GgmlDType::Q8_0 => {
            blocks::kernel(matrix)
        }
        _ => k_quants::kernel(matrix),
    }
}

impl CustomOp1 for Product {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (num_tokens, width) = layout.shape().dims2()?;
        if width != self.width {
            bail!("input has width {width}, the weights {}", self.width);
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("input is not contiguous");
        };
        let values = &storage.as_slice::<f32>()?[start..end];
        let output = self.multiply(values)?;
        Ok((CpuStorage::F32(output), Shape::from((num_tokens, self.num_rows))))
    }
}
