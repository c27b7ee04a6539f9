//! Kernels for the quantised types with blocks of 256 weights, by candle's products of one row.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use candle_core::{
    Result, bail,
    quantized::{
        GgmlDType, GgmlType, QTensor,
        k_quants::{BlockQ2K, BlockQ3K, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8K},
    },
};

use super::{
    activations::{Activations, Form},
    cpu::Kernel,
};

/// Chooses the kernel for a matrix of 256-weight blocks.
pub(super) fn kernel(matrix: Arc<QTensor>) -> Result<Box<dyn Kernel>> {
    Ok(match matrix.dtype() {
        GgmlDType::Q2K => Box::new(WideBlocks::<BlockQ2K>::new(matrix)?),
        GgmlDType::Q3K => Box::new(WideBlocks::<BlockQ3K>::new(matrix)?),
        GgmlDType::Q4K => Box::new(WideBlocks::<BlockQ4K>::new(matrix)?),
        GgmlDType::Q5K => Box::new(WideBlocks::<BlockQ5K>::new(matrix)?),
        GgmlDType::Q6K => Box::new(WideBlocks::<BlockQ6K>::new(matrix)?),
        other => bail!("no kernel for a matrix of type {other:?}"),
    })
}

struct WideBlocks<B> {
    matrix: Arc<QTensor>,
    num_rows: usize,
    width: usize,
    block: PhantomData<fn() -> B>,
}

impl<B: GgmlType<VecDotType = BlockQ8K>> WideBlocks<B> {
    fn new(matrix: Arc<QTensor>) -> Result<Self> {
        let (num_rows, width) = matrix.shape().dims2()?;
        let found = blocks::<B>(&matrix.data()?)?.len();
        let wanted = num_rows * (width / B::BLCK_SIZE);
        if found != wanted {
            bail!("matrix holds {found} blocks of {:?}, wanted {wanted}", B::DTYPE);
        }
        Ok(Self { matrix, num_rows, width, block: PhantomData })
    }
}

/// Reads the bytes of a tensor as the blocks that candle allocated them as.
fn blocks<B: GgmlType>(data: &[u8]) -> Result<&[B]> {
    // SAFETY: the callers' `B` are candle's K-quant blocks: `repr(C)` structs of integers and f16,
    // without padding, for which every bit pattern is a value.
    let (before, blocks, after) = unsafe { data.align_to::<B>() };
    if !before.is_empty() || !after.is_empty() {
        bail!("{} bytes of {:?} do not align to its blocks", data.len(), B::DTYPE);
    }
    Ok(blocks)
}

impl<B: GgmlType<VecDotType = BlockQ8K>> Kernel for WideBlocks<B> {
    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn form(&self) -> Form {
        Form::WideBytes
    }

    fn fill(&self, rows: Range<usize>, input: &Activations<'_>, output: &mut [f32]) -> Result<()> {
        let data = self.matrix.data()?;
        let weights = blocks::<B>(&data)?;
        let num_blocks = self.width / B::BLCK_SIZE;
        for (row, products) in rows.zip(output.chunks_exact_mut(input.num_tokens)) {
            let weights = &weights[row * num_blocks..][..num_blocks];
            for (product, token) in products.iter_mut().zip(input.wide_bytes.chunks(num_blocks)) {
                *product = B::vec_dot(self.width, weights, token);
            }
        }
        Ok(())
    }
}
