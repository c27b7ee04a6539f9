//! Products with weight matrices, in whatever type the model's file stores them.
//!
//! On a CPU they use our kernels, which read the stored weights in place, compute in the stage's
//! own threads, and give each row the same bits whatever the batch. Elsewhere they use candle's.

mod activations;
mod blocks;
mod cpu;
mod dense;
mod formats;
mod k_formats;
mod tile;
#[cfg(feature = "cuda")]
mod wide;

use candle_core::{D, DType, Module, Result, Tensor, quantized::QMatMul};
use sluicegate_spec::units::Bytes;

use crate::{threads::Threads, weights::Matrix};

/// One or several weight matrices that are multiplied with the same input.
///
/// Maps `[tokens, in]` to `[tokens, out]`, f32, where `out` counts the rows of all matrices, one
/// after another.
pub struct Linear {
    backend: Backend,
    bias: Option<Tensor>,
    bytes: u64,
}

enum Backend {
    Cpu(cpu::Product),
    Device(Vec<DeviceMatrix>),
}

enum DeviceMatrix {
    Quantized(QMatMul),
    /// Transposed: `[in, out]`.
    Dense(Tensor),
    /// On a GPU, of 16 bits: `[out, in]`.
    #[cfg(feature = "cuda")]
    Wide(Tensor),
}

impl Linear {
    /// Takes matrices `[out, in]` of equal `in`, and a bias over all their rows.
    ///
    /// # Errors
    /// The matrices differ in `in` or have a type that no kernel reads.
    pub fn new(matrices: Vec<Matrix>, bias: Option<Tensor>, threads: Threads) -> Result<Self> {
        let mut bytes = bias.as_ref().map_or(0, |bias| bias.elem_count() as u64 * 4);
        let mut on_cpu = true;
        for matrix in &matrices {
            bytes += matrix_bytes(matrix).0;
            on_cpu &= matrix_device(matrix).is_cpu();
        }
        let backend = if on_cpu {
            Backend::Cpu(cpu::Product::new(matrices, threads)?)
        } else {
            let matrices = joined(matrices)?;
            Backend::Device(matrices.into_iter().map(DeviceMatrix::new).collect::<Result<_>>()?)
        };
        Ok(Self { backend, bias, bytes })
    }

    /// Multiplies `[tokens, in]`, f32 or [`Linear::input_type`].
    ///
    /// # Errors
    /// The input has another width, or the device fails.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let output = match &self.backend {
            Backend::Cpu(product) => input.contiguous()?.apply_op1_no_bwd(product)?,
            Backend::Device(matrices) => {
                let outputs: Vec<Tensor> =
                    matrices.iter().map(|matrix| matrix.forward(input)).collect::<Result<_>>()?;
                Tensor::cat(&outputs, D::Minus1)?
            }
        };
        match &self.bias {
            Some(bias) => output.broadcast_add(bias),
            None => Ok(output),
        }
    }

    /// The type in which it takes activations at no cost: that of weights of 16 bits on a GPU, else
    /// f32.
    pub fn input_type(&self) -> DType {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Device(matrices) => match &matrices[..] {
                [DeviceMatrix::Wide(matrix)] => matrix.dtype(),
                _ => DType::F32,
            },
            _ => DType::F32,
        }
    }

    /// Bytes of the weights held.
    pub fn bytes(&self) -> Bytes {
        Bytes(self.bytes)
    }
}

impl DeviceMatrix {
    fn new(matrix: Matrix) -> Result<Self> {
        Ok(match matrix {
            Matrix::Quantized(matrix) => Self::Quantized(QMatMul::from_arc(matrix)?),
            #[cfg(feature = "cuda")]
            Matrix::Dense(matrix)
                if matrix.device().is_cuda()
                    && matches!(matrix.dtype(), DType::F16 | DType::BF16) =>
            {
                Self::Wide(matrix.contiguous()?)
            }
            Matrix::Dense(matrix) => Self::Dense(matrix.t()?),
        })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Self::Quantized(matrix) => matrix.forward(input),
            #[cfg(feature = "cuda")]
            Self::Wide(matrix) => {
                let input = input.to_dtype(matrix.dtype())?.contiguous()?;
                input.apply_op2_no_bwd(matrix, &wide::WideProduct)
            }
            Self::Dense(matrix) => {
                input.to_dtype(matrix.dtype())?.matmul(matrix)?.to_dtype(DType::F32)
            }
        }
    }
}

/// Makes one of several dense matrices of the same type, so that there is one product.
fn joined(matrices: Vec<Matrix>) -> Result<Vec<Matrix>> {
    let dense = |matrix: &Matrix| match matrix {
        Matrix::Dense(matrix) => Some(matrix.clone()),
        Matrix::Quantized(_) => None,
    };
    match matrices.iter().map(dense).collect::<Option<Vec<Tensor>>>() {
        Some(parts)
            if parts.len() > 1 && parts.iter().all(|part| part.dtype() == parts[0].dtype()) =>
        {
            Ok(vec![Matrix::Dense(Tensor::cat(&parts, 0)?)])
        }
        _ => Ok(matrices),
    }
}

/// Returns the bytes of a matrix as it is kept.
pub(crate) fn matrix_bytes(matrix: &Matrix) -> Bytes {
    Bytes(match matrix {
        Matrix::Dense(matrix) => (matrix.elem_count() * matrix.dtype().size_in_bytes()) as u64,
        Matrix::Quantized(matrix) => matrix.storage_size_in_bytes() as u64,
    })
}

/// Returns the device of a matrix.
pub(crate) fn matrix_device(matrix: &Matrix) -> candle_core::Device {
    match matrix {
        Matrix::Dense(matrix) => matrix.device().clone(),
        Matrix::Quantized(matrix) => matrix.device(),
    }
}

#[cfg(test)]
mod tests;
