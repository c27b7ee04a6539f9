//! Root mean square normalisation, of whole rows or of each head.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use crate::{
    home::Executor,
    rows::{Rows, values},
    simd::dot,
};

/// `x / sqrt(mean(x^2) + eps) * weight` over groups of `weight`'s width.
///
/// Source: Zhang and Sennrich 2019, section 4.
pub struct RmsNorm {
    /// `[width]`, f32.
    weight: Tensor,
    eps: f32,
    executor: Executor,
}

impl RmsNorm {
    /// Takes the weights, `[width]`.
    pub fn new(weight: Tensor, eps: f64, executor: Executor) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "computed in f32")]
        let eps = eps as f32;
        Self { weight, eps, executor }
    }

    /// Normalises `[tokens, n * width]`, f32, in groups of `width`. On a GPU the result is of type
    /// `to`, and on a CPU f32.
    ///
    /// # Errors
    /// The width does not fit, or the device fails.
    pub fn forward(&self, input: &Tensor, to: DType) -> Result<Tensor> {
        if input.device().is_cpu() {
            return input.apply_op2_no_bwd(&self.weight, self);
        }
        Ok(self.executor.kernels.rms_norm(input, None, (&self.weight, self.eps), to)?.1)
    }

    /// Returns the sum of two `[tokens, width]`, f32, and that normalised.
    ///
    /// # Errors
    /// As [`RmsNorm::forward`].
    pub fn forward_sum(&self, input: Tensor, delta: Tensor, to: DType) -> Result<(Tensor, Tensor)> {
        if input.device().is_cpu() {
            let sum = (input + delta)?;
            let normed = self.forward(&sum, to)?;
            return Ok((sum, normed));
        }
        match self.executor.kernels.rms_norm(&input, Some(&delta), (&self.weight, self.eps), to)? {
            (Some(sum), normed) => Ok((sum, normed)),
            (None, _) => bail!("a norm of a sum returned no sum"),
        }
    }

    /// Its weights, `[width]`.
    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    pub(crate) fn eps(&self) -> f32 {
        self.eps
    }

    /// Returns the bytes of the weight.
    pub(crate) fn bytes(&self) -> u64 {
        (self.weight.elem_count() * DType::F32.size_in_bytes()) as u64
    }
}

/// Normalises where there is a norm; the result is f32.
pub(crate) fn normed(norm: Option<&RmsNorm>, input: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&input, DType::F32),
        None => Ok(input),
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = Rows::new(input, input_layout)?;
        let weight = values(weight, weight_layout)?;
        if weight.is_empty() || rows.width % weight.len() != 0 {
            bail!("rms_norm of width {} in groups of {}", rows.width, weight.len());
        }
        let mut output = vec![0.0; rows.num * rows.width];
        self.executor.threads.for_chunks(&mut output, rows.width, |row, output| {
            let groups = rows.row(row).chunks_exact(weight.len());
            for (group, output) in groups.zip(output.chunks_exact_mut(weight.len())) {
                let mean = dot(group, group) / weight.len() as f32;
                let factor = 1.0 / (mean + self.eps).sqrt();
                for ((output, value), weight) in output.iter_mut().zip(group).zip(weight) {
                    *output = value * factor * weight;
                }
            }
        });
        Ok((CpuStorage::F32(output), Shape::from((rows.num, rows.width))))
    }
}
