//! Rotary position embedding, which pairs the halves of each head.
//!
//! Source: Su et al. 2021, section 3.4.2, in the arrangement of Hugging Face's `rotate_half`.

use candle_core::{CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, bail};
use sluicegate_spec::config::{Rope, RopeScaling};

use crate::{
    home::Executor,
    rows::{Rows, values},
    simd::mul_add,
};

/// The frequencies of one rotary embedding.
pub struct Rotary {
    /// `[1, rotated / 2]`, f32, where `rotated` dimensions of a head are rotated.
    frequencies: Tensor,
    /// The factor of cosines and sines.
    magnitude: Option<f64>,
    head_dim: usize,
    executor: Executor,
}

/// Cosines and sines of the positions of one step, `[tokens, rotated / 2]` each.
pub struct Angles {
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
    head_dim: usize,
    executor: Executor,
}

impl Rotary {
    /// The frequencies of a model, for heads of `head_dim` numbers.
    ///
    /// # Errors
    /// Its factors are for other heads, or the device fails.
    pub fn new(rope: &Rope, head_dim: usize, device: &Device, executor: Executor) -> Result<Self> {
        let frequencies = frequencies(rope, head_dim)?;
        let shape = (1, frequencies.len());
        #[expect(clippy::disallowed_methods, reason = "a table made while loading")]
        let frequencies = Tensor::from_vec(frequencies, shape, device)?;
        Ok(Self { frequencies, magnitude: rope.magnitude, head_dim, executor })
    }

    /// Computes the angles of `[tokens]`, u32.
    ///
    /// # Errors
    /// The device's.
    pub fn angles(&self, positions: &Tensor) -> Result<Angles> {
        let (head_dim, executor) = (self.head_dim, self.executor.clone());
        if !positions.device().is_cpu() {
            #[expect(clippy::cast_possible_truncation, reason = "angles are f32")]
            let magnitude = self.magnitude.unwrap_or(1.0) as f32;
            let (cos, sin) = executor.kernels.angles(positions, &self.frequencies, magnitude)?;
            return Ok(Angles { cos, sin, head_dim, executor });
        }
        let positions = positions.to_dtype(DType::F32)?.unsqueeze(1)?;
        let angles = positions.broadcast_mul(&self.frequencies)?;
        let (mut cos, mut sin) = (angles.cos()?, angles.sin()?);
        drop(angles);
        if let Some(magnitude) = self.magnitude {
            (cos, sin) = ((cos * magnitude)?, (sin * magnitude)?);
        }
        Ok(Angles { cos, sin, head_dim, executor })
    }
}

impl Angles {
    /// Rotates each head of `[tokens, heads * head_dim]`, f32; dimensions that are not rotated stay
    /// unchanged. On a CPU: a GPU does it while it writes heads to their places.
    pub(crate) fn rotate(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op3_no_bwd(&self.cos, &self.sin, self)
    }

    /// As [`Angles::rotate`], with candle's operations.
    #[cfg(test)]
    fn rotate_by_candle(&self, input: &Tensor) -> Result<Tensor> {
        let (num_tokens, width) = input.dims2()?;
        let (head_dim, turned) = (self.head_dim, 2 * self.cos.dim(1)?);
        let heads = input.contiguous()?.reshape((1, num_tokens, width / head_dim, head_dim))?;
        let rope = |heads: &Tensor| candle_nn::rotary_emb::rope_thd(heads, &self.cos, &self.sin);
        if turned == head_dim {
            return rope(&heads)?.reshape((num_tokens, width));
        }
        let rest = heads.narrow(candle_core::D::Minus1, turned, head_dim - turned)?;
        let turned = rope(&heads.narrow(candle_core::D::Minus1, 0, turned)?.contiguous()?)?;
        Tensor::cat(&[turned, rest], candle_core::D::Minus1)?.reshape((num_tokens, width))
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
        let head_dim = self.head_dim;
        let is_turnable = half > 0 && 2 * half <= head_dim && rows.width.is_multiple_of(head_dim);
        if rows.num != num_tokens || !is_turnable {
            bail!("rope of [{}, {}] by [{num_tokens}, {half}]", rows.num, rows.width);
        }
        let mut output = vec![0.0; rows.num * rows.width];
        self.executor.threads.for_chunks(&mut output, rows.width, |token, output| {
            let cos = &cos[token * half..][..half];
            let sin = &sin[token * half..][..half];
            let heads = rows.row(token).chunks_exact(head_dim);
            for (head, output) in heads.zip(output.chunks_exact_mut(head_dim)) {
                output[2 * half..].copy_from_slice(&head[2 * half..]);
                let (low, high) = head[..2 * half].split_at(half);
                let (low_out, high_out) = output[..2 * half].split_at_mut(half);
                for i in 0..half {
                    low_out[i] = mul_add(low[i], cos[i], -(high[i] * sin[i]));
                    high_out[i] = mul_add(low[i], sin[i], high[i] * cos[i]);
                }
            }
        });
        Ok((CpuStorage::F32(output), Shape::from((rows.num, rows.width))))
    }
}

/// Returns the radians per position of each rotated pair of a head's dimensions.
fn frequencies(rope: &Rope, head_dim: usize) -> Result<Vec<f32>> {
    let width = rope.width.unwrap_or(head_dim);
    let frequency = |pair: usize| rope.theta.powf(-2.0 * pair as f64 / width as f64);
    let plain = (0..width / 2).map(frequency);
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
            if factors.len() != width / 2 {
                bail!("{} rope factors for {width} numbers of a head", factors.len());
            }
            plain.zip(factors).map(|(value, factor)| narrow(value / f64::from(*factor))).collect()
        }
    })
}

/// Stretches long waves by `factor`, keeps short ones, and interpolates between.
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
        frequencies(&Rope::new(10_000.0, scaling), 8).unwrap()
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

    /// A head as it is, turned at position three.
    #[expect(clippy::disallowed_methods, reason = "a test makes what it turns, and reads it")]
    fn turned(rope: &Rope, head: &[f32]) -> Vec<f32> {
        let rotary = Rotary::new(rope, head.len(), &Device::Cpu, Executor::inline()).unwrap();
        let positions = Tensor::from_slice(&[3u32], 1, &Device::Cpu).unwrap();
        let input = Tensor::from_slice(head, (1, head.len()), &Device::Cpu).unwrap();
        let output = rotary.angles(&positions).unwrap().rotate(&input).unwrap();
        output.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_rest_of_a_head_that_is_turned_in_part_stays() {
        let head = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let whole = Rope::new(1e4, RopeScaling::None);
        let part = Rope { width: Some(4), ..whole.clone() };
        let got = turned(&part, &head);
        // The first four numbers are a head of that size.
        assert_eq!(got[..4], turned(&whole, &head[..4]));
        assert_eq!(got[4..], head[4..]);
        assert!(got[..4] != turned(&whole, &head)[..4]);
        let larger = turned(&Rope { magnitude: Some(1.5), ..part }, &head);
        for (larger, got) in larger[..4].iter().zip(&got) {
            assert!((larger - 1.5 * got).abs() < 1e-5, "{larger} is not 1.5 times {got}");
        }
        assert_eq!(larger[4..], head[4..]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test makes what it turns, and reads it")]
    fn candle_s_kernels_turn_the_same() {
        let numbers = Tensor::arange(0f32, 96.0, &Device::Cpu).unwrap();
        // Three tokens of two heads, behind what is not theirs.
        let input = numbers.reshape((3, 32)).unwrap().narrow(1, 8, 16).unwrap();
        let positions = Tensor::from_slice(&[0u32, 7, 300], 3, &Device::Cpu).unwrap();
        for width in [None, Some(6), Some(2)] {
            let rope = Rope { width, ..Rope::new(1e4, RopeScaling::None) };
            let rotary = Rotary::new(&rope, 8, &Device::Cpu, Executor::inline()).unwrap();
            let angles = rotary.angles(&positions).unwrap();
            let read =
                |tensor: Tensor| -> Vec<f32> { tensor.flatten_all().unwrap().to_vec1().unwrap() };
            let ours = read(angles.rotate(&input).unwrap());
            let theirs = read(angles.rotate_by_candle(&input).unwrap());
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert!((ours - theirs).abs() < 1e-4, "{width:?}: {ours} and {theirs}");
            }
        }
    }

    #[test]
    fn factors_for_another_head_size_are_refused() {
        let rope = Rope::new(1e4, RopeScaling::Factors(vec![1.0; 3]));
        assert!(frequencies(&rope, 8).is_err());
    }
}
