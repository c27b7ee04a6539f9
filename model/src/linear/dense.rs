//! Kernels for weights stored as numbers: f32, f16, bf16.
//!
//! Weights stay in their stored type. Rows in f16 and bf16 are converted to f32 in a scratch buffer
//! just before their products, which are the same as those of f32 weights.

use std::{borrow::Cow, ops::Range, sync::Arc};

use candle_core::{
    CpuStorage, DType, Result, Storage, Tensor, bail,
    quantized::{GgmlDType, QTensor},
};
use half::{bf16, f16, slice::HalfFloatSliceExt};

use super::{
    activations::{Activations, Form},
    cpu::Kernel,
    tile::Product,
};
use crate::threads::Columns;

/// A dense matrix `[out, in]`, contiguous, on the CPU.
pub(super) struct Dense {
    source: Source,
    num_rows: usize,
    width: usize,
}

enum Source {
    Tensor(Tensor),
    /// From a GGUF file: numbers wrapped in a quantised tensor.
    Wrapped(Arc<QTensor>),
}

/// Rows of a matrix in their stored type.
#[derive(Clone, Copy)]
enum Stored<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

impl Dense {
    pub(super) fn new(matrix: &Tensor) -> Result<Self> {
        let (num_rows, width) = matrix.dims2()?;
        if !matches!(matrix.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            bail!("no kernel for a matrix of type {:?}", matrix.dtype());
        }
        Ok(Self { source: Source::Tensor(matrix.contiguous()?), num_rows, width })
    }

    pub(super) fn wrapped(matrix: Arc<QTensor>) -> Result<Self> {
        let (num_rows, width) = matrix.shape().dims2()?;
        let dense = Self { source: Source::Wrapped(matrix), num_rows, width };
        dense.with(|_| ())?;
        Ok(dense)
    }

    /// Calls `work` with the stored numbers.
    fn with<R>(&self, work: impl FnOnce(Stored<'_>) -> R) -> Result<R> {
        let len = self.num_rows * self.width;
        match &self.source {
            Source::Tensor(matrix) => {
                let (storage, layout) = matrix.storage_and_layout();
                let Storage::Cpu(storage) = &*storage else { bail!("matrix is not on the CPU") };
                let span = layout.start_offset()..layout.start_offset() + len;
                Ok(work(match storage {
                    CpuStorage::F32(values) => Stored::F32(&values[span]),
                    CpuStorage::F16(values) => Stored::F16(&values[span]),
                    CpuStorage::BF16(values) => Stored::BF16(&values[span]),
                    _ => bail!("no kernel for a matrix of type {:?}", matrix.dtype()),
                }))
            }
            Source::Wrapped(matrix) => {
                let data = matrix.data()?;
                Ok(work(match matrix.dtype() {
                    GgmlDType::F32 => Stored::F32(numbers(&data, len)?),
                    GgmlDType::F16 => Stored::F16(numbers(&data, len)?),
                    GgmlDType::BF16 => Stored::BF16(numbers(&data, len)?),
                    other => bail!("no kernel for a dense matrix of type {other:?}"),
                }))
            }
        }
    }
}

/// Types for which every bit pattern is valid.
trait Number {}
impl Number for f32 {}
impl Number for f16 {}
impl Number for bf16 {}

fn numbers<T: Number>(data: &[u8], len: usize) -> Result<&[T]> {
    // SAFETY: every bit pattern is a value of f32, f16 and bf16.
    let (before, numbers, after) = unsafe { data.align_to::<T>() };
    if !before.is_empty() || !after.is_empty() || numbers.len() != len {
        bail!("matrix holds {} bytes, wanted {len} numbers, aligned", data.len());
    }
    Ok(numbers)
}

impl Stored<'_> {
    /// Returns the numbers in `span` as f32.
    fn read(&self, span: Range<usize>) -> Cow<'_, [f32]> {
        match self {
            Self::F32(values) => Cow::Borrowed(&values[span]),
            Self::F16(values) => Cow::Owned(values[span].to_f32_vec()),
            Self::BF16(values) => {
                Cow::Owned(values[span].iter().map(|value| value.to_f32()).collect())
            }
        }
    }
}

impl Kernel for Dense {
    fn num_rows(&self) -> usize {
        self.num_rows
    }

    fn form(&self) -> Form {
        Form::F32
    }

    fn fill(
        &self,
        rows: Range<usize>,
        input: &Activations<'_>,
        output: &mut Columns<'_, f32>,
    ) -> Result<()> {
        let span = rows.start * self.width..rows.end * self.width;
        self.with(|stored| {
            let rows = &stored.read(span);
            Product { rows, input: input.values, width: self.width }.fill(output);
        })
    }
}
