//! The token embedding.

use candle_core::{DType, Result, Tensor};
use half::{bf16, f16};
use sluicegate_spec::{family::EmbeddingScale, units::Bytes};

use crate::{home::Executor, linear::matrix_bytes, weights::Matrix};

/// The table, `[vocab, hidden]`, in its stored type.
pub(crate) struct Embedding {
    table: Matrix,
    scale: Option<f64>,
    executor: Executor,
}

impl Embedding {
    pub(crate) fn new(
        table: Matrix,
        scale: EmbeddingScale,
        hidden: usize,
        executor: Executor,
    ) -> Self {
        let scale = match scale {
            EmbeddingScale::One => None,
            EmbeddingScale::SqrtHidden => {
                Some(rounded_to_stored_type((hidden as f64).sqrt(), &table))
            }
        };
        Self { table, scale, executor }
    }

    /// Looks up `[tokens]`, u32: `[tokens, hidden]`, f32. Converts only the rows it reads.
    pub(crate) fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let rows = match &self.table {
            Matrix::Dense(table) if !table.device().is_cpu() => {
                #[expect(clippy::cast_possible_truncation, reason = "rows are f32")]
                let scale = self.scale.unwrap_or(1.0) as f32;
                return self.executor.kernels.select_rows(table, tokens, scale);
            }
            Matrix::Dense(table) => table.index_select(tokens, 0)?.to_dtype(DType::F32)?,
            Matrix::Quantized(table) => table.embedding(tokens)?,
        };
        match self.scale {
            None => Ok(rows),
            Some(scale) => rows * scale,
        }
    }

    pub(crate) fn bytes(&self) -> Bytes {
        matrix_bytes(&self.table)
    }
}

fn rounded_to_stored_type(scale: f64, table: &Matrix) -> f64 {
    // GGUF's reference multiplies in f32, whatever the table's type.
    let Matrix::Dense(table) = table else { return scale };
    match table.dtype() {
        DType::BF16 => bf16::from_f64(scale).to_f64(),
        DType::F16 => f16::from_f64(scale).to_f64(),
        _ => scale,
    }
}
