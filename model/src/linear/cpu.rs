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
};
use crate::{
    threads::{Columns, Threads},
    weights::Matrix,
};

/// One matrix `[out, in]` in a stored type.
pub(super) trait Kernel: Send + Sync {
    fn num_rows(&self) -> usize;

    /// The form of input that [`Kernel::fill`] reads.
    fn form(&self) -> Form;

    /// Fills `output`, `[tokens, rows]`, with the products of every token and `rows`.
    ///
    /// The bits of a product depend on its row and its token only.
    fn fill(
        &self,
        rows: Range<usize>,
        input: &Activations<'_>,
        output: &mut Columns<'_, f32>,
    ) -> Result<()>;
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

    /// Fills the products of `rows`, numbered across all matrices, into `[tokens, rows]`.
    fn fill(
        &self,
        rows: Range<usize>,
        input: &Activations<'_>,
        output: &mut Columns<'_, f32>,
    ) -> Result<()> {
        let mut first = 0;
        for kernel in &self.kernels {
            let start = rows.start.max(first);
            let end = rows.end.min(first + kernel.num_rows());
            if start < end {
                let mut output = output.part(start - rows.start..end - rows.start);
                kernel.fill(start - first..end - first, input, &mut output)?;
            }
            first += kernel.num_rows();
        }
        Ok(())
    }

    /// Returns the rows that a thread takes at a time: several turns per thread, so that a late one
    /// costs little, and no more rows than fit a second-level cache.
    fn rows_per_turn(&self) -> usize {
        let turns = self.threads.count() * 6;
        (self.num_rows / turns).clamp(8, 64).next_multiple_of(8)
    }

    /// Multiplies `values`, `[tokens, width]`: `[tokens, rows]`.
    fn multiply(&self, values: &[f32]) -> Result<Vec<f32>> {
        let input = Activations::new(values, self.width, &self.forms, &self.threads);
        let mut output = vec![0.0; input.num_tokens * self.num_rows];
        let failed = AtomicBool::new(false);
        let per_turn = self.rows_per_turn();
        self.threads.for_columns(&mut output, self.num_rows, per_turn, |rows, output| {
            if self.fill(rows, &input, output).is_err() {
                failed.store(true, Ordering::Relaxed);
            }
        });
        if failed.load(Ordering::Relaxed) {
            bail!("a kernel could not read its weights");
        }
        Ok(output)
    }
}

fn kernel(matrix: Matrix) -> Result<Box<dyn Kernel>> {
    let matrix = match matrix {
        Matrix::Dense(matrix) => return Ok(Box::new(Dense::new(&matrix)?)),
        Matrix::Quantized(matrix) => matrix,
    };
    match matrix.dtype() {
        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => Ok(Box::new(Dense::wrapped(matrix)?)),
        _ => blocks::kernel(matrix),
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
