//! Reading weights by what they are for, from GGUF or safetensors, without reading the rest.
//!
//! Owns the memory maps and the names that the formats give to each [`Role`].

use std::{collections::HashMap, sync::Arc};

use candle_core::{DType, Device, Tensor, quantized::QTensor};

use crate::{error::WeightError, units::Unit};

/// What a tensor is for within its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `[vocab, hidden]`: the embedding table.
    Embedding,
    /// `[vocab, hidden]`: the output head of an untied model.
    Head,
    /// `[hidden]`: the norm before the head.
    FinalNorm,
    /// `[hidden]`: before attention.
    InputNorm,
    /// `[hidden]`: after attention, before its residual (Gemma 3).
    PostAttentionNorm,
    /// `[hidden]`: before the feed-forward block.
    MlpNorm,
    /// `[hidden]`: after the feed-forward block, before its residual (Gemma 3).
    PostMlpNorm,
    /// `[heads * head_dim, hidden]`.
    Query,
    /// `[kv_heads * head_dim, hidden]`.
    Key,
    /// `[kv_heads * head_dim, hidden]`.
    Value,
    /// `[hidden, heads * head_dim]`.
    Output,
    /// `[heads * head_dim]` (Qwen 2).
    QueryBias,
    /// `[kv_heads * head_dim]` (Qwen 2).
    KeyBias,
    /// `[kv_heads * head_dim]` (Qwen 2).
    ValueBias,
    /// `[head_dim]` (Qwen 3, Gemma 3).
    QueryNorm,
    /// `[head_dim]` (Qwen 3, Gemma 3).
    KeyNorm,
    /// `[intermediate, hidden]`.
    Gate,
    /// `[intermediate, hidden]`.
    Up,
    /// `[hidden, intermediate]`.
    Down,
}

/// The address of one tensor of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId {
    pub unit: Unit,
    pub role: Role,
}

/// A weight matrix `[out, in]` as it is stored.
#[derive(Debug, Clone)]
pub enum Matrix {
    /// f32, f16 or bf16.
    Dense(Tensor),
    Quantized(Arc<QTensor>),
}

/// The weights of a model.
#[derive(Debug, Clone)]
pub struct Weights(Arc<HashMap<TensorId, Matrix>>);

impl Weights {
    /// Takes weights that are in memory.
    pub fn in_memory(tensors: HashMap<TensorId, Matrix>) -> Self {
        Self(Arc::new(tensors))
    }

    /// Reads a vector as f32.
    ///
    /// # Errors
    /// Where it is missing or has another shape.
    pub fn dense(
        &self,
        id: TensorId,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor, WeightError> {
        let failed = |source| WeightError::Tensor {
            file: "memory".into(),
            tensor: format!("{id:?}"),
            source,
        };
        let tensor = match self.find(id)? {
            Matrix::Dense(tensor) => tensor.to_dtype(DType::F32).map_err(failed)?,
            Matrix::Quantized(tensor) => tensor.dequantize(device).map_err(failed)?,
        };
        check(id, tensor.dims(), shape)?;
        Ok(tensor)
    }

    /// Reads a matrix in its stored type.
    ///
    /// # Errors
    /// Where it is missing or has another shape.
    pub fn matrix(
        &self,
        id: TensorId,
        (rows, width): (usize, usize),
        _device: &Device,
    ) -> Result<Matrix, WeightError> {
        let matrix = self.find(id)?.clone();
        let found = match &matrix {
            Matrix::Dense(tensor) => tensor.dims(),
            Matrix::Quantized(tensor) => tensor.shape().dims(),
        };
        check(id, found, &[rows, width])?;
        Ok(matrix)
    }

    fn find(&self, id: TensorId) -> Result<&Matrix, WeightError> {
        let embedding = TensorId { unit: Unit::Embed, role: Role::Embedding };
        self.0
            .get(&id)
            .or_else(|| (id.role == Role::Head).then(|| self.0.get(&embedding)).flatten())
            .ok_or_else(|| WeightError::Missing {
                file: "memory".into(),
                tensor: format!("{id:?}"),
            })
    }
}

fn check(id: TensorId, found: &[usize], wanted: &[usize]) -> Result<(), WeightError> {
    if found == wanted {
        return Ok(());
    }
    Err(WeightError::Shape {
        file: "memory".into(),
        tensor: format!("{id:?}"),
        wanted: wanted.to_vec(),
        found: found.to_vec(),
    })
}
