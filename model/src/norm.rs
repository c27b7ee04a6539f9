//! Root mean square normalisation, of whole rows or of each head.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use crate::{
    rows::{Rows, values},
    simd::dot,
    threads::Threads,
};

/// `x / sqrt(mean(x^2) + eps) * weight` over groups of `weight`'s width.
///
/// Source: Zhang and Sennrich 2019, section 4.
pub(crate) struct RmsNorm {
    /// `[width]`, f32.
    weight: Tensor,
    eps: f32,
    threads: Threads,
}

impl RmsNorm {
    /// Takes the weights, `[width]`.
    pub(crate) fn new(weight: Tensor, eps: f64, threads: Threads) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "computed in f32")]
        let eps = eps as f32;
        Self { weight, eps, threads }
    }

    /// Normalises `[tokens, n * width]`, f32, in groups of `width`.
    pub(crate) fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if input.device().is_cpu() {
            return input.apply_op2_no_bwd(&self.weight, self);
        }
        let (num_tokens, row_width) = input.dims2()?;
        let width = self.weight.dims1()?;
        let groups = input.contiguous()?.reshape((num_tokens * (row_width / width), width))?;
        candle_nn::ops::rms_norm(&groups, &self.weight, self.eps)?.reshape((num_tokens, row_width))
    }

    /// Returns the bytes of the weight.
    pub(crate) fn bytes(&self) -> u64 {
        (self.weight.elem_count() * DType::F32.size_in_bytes()) as u64
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
        self.threads.for_chunks(&mut output, rows.width, |row, output| {
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
