//! Rotary position embedding, by halves of each head.
//!
//! Source: Su et al. 2021, section 3.4.2, in the arrangement of Hugging Face's `rotate_half`.

use candle_core::{CpuStorage, CustomOp3, D, DType, Device, Layout, Result, Shape, Tensor, bail};
use sluicegate_spec::config::{Rope, RopeScaling};

use crate::{
    rows::{Rows, values},
    simd::mul_add,
    threads::Threads,
};

/// The frequencies of one rotary embedding.
pub(crate) struct Rotary {
    /// `[1, head_dim / 2]`, f32.
    frequencies: Tensor,
    threads: Threads,
}

/// Cosines and sines of the positions of one step, `[tokens, head_dim / 2]` each.
pub(crate) struct Angles {
    cos: Tensor,
    sin: Tensor,
    threads: Threads,
}

impl Rotary {
    pub(crate) fn new(
        rope: &Rope,
        head_dim: usize,
        device: &Device,
        threads: Threads,
    ) -> Result<Self> {
        let frequencies = frequencies(rope, head_dim)?;
        let shape = (1, frequencies.len());
        #[expect(clippy::disallowed_methods, reason = "a table made while loading")]
        let frequencies = Tensor::from_vec(frequencies, shape, device)?;
        Ok(Self { frequencies, threads })
    }

    /// Angles of `[tokens]`, u32.
    pub(crate) fn angles(&self, positions: &Tensor) -> Result<Angles> {
        let positions = positions.to_dtype(DType::F32)?.unsqueeze(1)?;
        let angles = positions.broadcast_mul(&self.frequencies)?;
        Ok(Angles { cos: angles.cos()?, sin: angles.sin()?, threads: self.threads.clone() })
    }
}

impl Angles {
    /// Turns each head of `[tokens, heads * head_dim]`, f32.
    pub(crate) fn rotate(&self, input: &Tensor) -> Result<Tensor> {
        if input.device().is_cpu() {
            return input.apply_op3_no_bwd(&self.cos, &self.sin, self);
        }
        let (num_tokens, width) = input.dims2()?;
        let head_dim = 2 * self.cos.dim(D::Minus1)?;
        let heads = input.contiguous()?.reshape((1, num_tokens, width / head_dim, head_dim))?;
        candle_nn::rotary_emb::rope_thd(&heads, &self.cos, &self.sin)?.reshape((num_tokens, width))
    }
}

impl CustomOp3 for Angles {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        cos: &CpuStorage,
        cos_layout: &Layout,
        sin: &CpuStorage,
        sin_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = Rows::new(input, input_layout)?;
        let (num_tokens, half) = cos_layout.shape().dims2()?;
        let (cos, sin) = (values(cos, cos_layout)?, values(sin, sin_layout)?);
        if rows.num != num_tokens || half == 0 || rows.width % (2 * half) != 0 {
            bail!("rope of [{}, {}] by [{num_tokens}, {half}]", rows.num, rows.width);
        }
        let mut output = vec![0.0; rows.num * rows.width];
        self.threads.for_chunks(&mut output, rows.width, |token, output| {
            let cos = &cos[token * half..][..half];
            let sin = &sin[token * half..][..half];
            let heads = rows.row(token).chunks_exact(2 * half);
            for (head, output) in heads.zip(output.chunks_exact_mut(2 * half)) {
                let (low, high) = head.split_at(half);
                let (low_out, high_out) = output.split_at_mut(half);
                for i in 0..half {
                    low_out[i] = mul_add(low[i], cos[i], -(high[i] * sin[i]));
                    high_out[i] = mul_add(low[i], sin[i], high[i] * cos[i]);
                }
            }
        });
        Ok((CpuStorage::F32(output), Shape::from((rows.num, rows.width))))
    }
}

/// Radians per position of each pair of a head's dimensions.
fn frequencies(rope: &Rope, head_dim: usize) -> Result<Vec<f32>> {
    let frequency = |pair: usize| rope.theta.powf(-2.0 * pair as f64 / head_dim as f64);
    let plain = (0..head_dim / 2).map(frequency);
    #[expect(clippy::cast_possible_truncation, reason = "the tables are f32")]
    let narrow = |frequency: f64| frequency as f32;
    Ok(match &rope.scaling {
        RopeScaling::None => plain.map(narrow).collect(),
        RopeScaling::Linear { factor } => plain.map(|value| narrow(value / factor)).collect(),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_positions,
        } => {
            let range = (*low_freq_factor, *high_freq_factor);
            let context = *original_max_positions as f64;
            plain.map(|value| narrow(llama3(value, *factor, range, context))).collect()
        }
        RopeScaling::Factors(factors) => {
            if factors.len() != head_dim / 2 {
                bail!("{} rope factors for heads of {head_dim}", factors.len());
            }
            plain.zip(factors).map(|(value, factor)| narrow(value / f64::from(*factor))).collect()
        }
    })
}

/// Stretches long waves by `factor`, keeps short ones, and blends those between.
///
/// Source: `_compute_llama3_parameters` in transformers' `modeling_rope_utils.py`.
fn llama3(frequency: f64, factor: f64, (low, high): (f64, f64), context: f64) -> f64 {
    let turns = context * frequency / std::f64::consts::TAU;
    if turns < low {
        return frequency / factor;
    }
    if turns > high {
        return frequency;
    }
    let blend = (turns - low) / (high - low);
    frequency * ((1.0 - blend) / factor + blend)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> Vec<f32> {
        frequencies(&Rope { theta: 10_000.0, scaling }, 8).unwrap()
    }

    #[test]
    fn frequencies_are_scaled_as_the_model_says() {
        assert_eq!(rope(RopeScaling::None), [1.0, 0.1, 0.01, 0.001]);
        assert_eq!(rope(RopeScaling::Linear { factor: 2.0 }), [0.5, 0.05, 0.005, 0.0005]);
        assert_eq!(
            rope(RopeScaling::Factors(vec![1.0, 2.0, 4.0, 8.0])),
            [1.0, 0.05, 0.0025, 0.000_125]
        );
        let llama3 = rope(RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: 160,
        });
        // 25 turns keep theirs, 2.5 lie half way, 0.25 and 0.025 are stretched.
        let turns = 16.0 / std::f64::consts::TAU;
        let blend = (turns - 1.0) / 3.0;
        let blended = 0.1 * ((1.0 - blend) / 8.0 + blend);
        assert_eq!(llama3, [1.0, blended as f32, 0.00125, 0.000_125]);
    }

    #[test]
    fn factors_for_another_head_size_are_refused() {
        let rope = Rope { theta: 1e4, scaling: RopeScaling::Factors(vec![1.0; 3]) };
        assert!(frequencies(&rope, 8).is_err());
    }
}
