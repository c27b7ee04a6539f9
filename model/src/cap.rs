//! Soft caps, which Gemma 2 uses for scores and logits.
//!
//! Source: Gemma Team 2024, arXiv:2408.00118, section 2, "Logit soft-capping".

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

use crate::simd::exp;

/// Applies `cap * tanh(x / cap)`. On a CPU it works in place, and `x` must not share its memory
/// with another tensor; elsewhere it takes as much memory again.
pub(crate) fn capped(x: Tensor, cap: f64) -> Result<Tensor> {
    if x.device().is_cpu() {
        x.inplace_op1(&Cap(cap))?;
        return Ok(x);
    }
    by_operations(x, cap)
}

fn by_operations(x: Tensor, cap: f64) -> Result<Tensor> {
    let scaled = (&x / cap)?;
    drop(x);
    let bounded = scaled.tanh()?;
    drop(scaled);
    bounded * cap
}

struct Cap(f64);

impl InplaceOp1 for Cap {
    fn name(&self) -> &'static str {
        "cap"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(numbers), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("caps are for contiguous f32");
        };
        cap_all(&mut numbers[start..end], self.0);
        Ok(())
    }
}

/// As [`capped`], in place.
pub(crate) fn cap_all(numbers: &mut [f32], cap: f64) {
    #[expect(clippy::cast_possible_truncation, reason = "the numbers are f32")]
    let cap = cap as f32;
    for number in numbers {
        // tanh(x) = 1 - 2 / (exp(2x) + 1)
        *number = cap - 2.0 * cap / (exp(*number * (2.0 / cap)) + 1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_follow_the_formula() {
        for step in -4000_i16..=4000 {
            let x = f32::from(step) * 0.1;
            let mut found = [x];
            cap_all(&mut found, 50.0);
            let want = 50.0 * (f64::from(x) / 50.0).tanh();
            assert!((f64::from(found[0]) - want).abs() < 1e-4, "{x}: {} {want}", found[0]);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "test input and output")]
    fn every_device_caps_alike() {
        let numbers: Vec<f32> = (-300_i16..300).map(|it| f32::from(it) * 0.37).collect();
        let input = || Tensor::new(numbers.as_slice(), &candle_core::Device::Cpu).unwrap();
        let values = |tensor: Tensor| tensor.to_vec1::<f32>().unwrap();
        let by_operations = values(by_operations(input(), 30.0).unwrap());
        for (got, want) in values(capped(input(), 30.0).unwrap()).into_iter().zip(by_operations) {
            assert!((got - want).abs() < 1e-4, "{got} {want}");
        }
    }
}
