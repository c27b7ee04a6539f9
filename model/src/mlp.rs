//! The gated feed-forward block.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use sluicegate_spec::{family::Activation, units::Bytes};

use crate::{
    home::Executor,
    linear::Linear,
    rows::Rows,
    simd::{exp, mul_add},
};

/// `down(activation(gate(x)) * up(x))`.
pub(crate) struct Mlp {
    gate_and_up: Linear,
    gated: Gated,
    down: Linear,
}

impl Mlp {
    /// Takes `[2 * intermediate, hidden]`, gate first, and `[hidden, intermediate]`.
    pub(crate) fn new(
        gate_and_up: Linear,
        down: Linear,
        activation: Activation,
        executor: Executor,
    ) -> Self {
        Self { gate_and_up, gated: Gated { activation, executor }, down }
    }

    /// The type in which it takes activations at no cost.
    pub(crate) fn input_type(&self) -> DType {
        self.gate_and_up.input_type()
    }

    /// Maps `[tokens, hidden]` to the same shape.
    pub(crate) fn forward(&self, input: Tensor) -> Result<Tensor> {
        let both = self.gate_and_up.forward(&input)?;
        drop(input);
        let gated = self.gated.forward(&both, self.down.input_type())?;
        drop(both);
        self.down.forward(&gated)
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes(self.gate_and_up.bytes().0 + self.down.bytes().0)
    }
}

/// `activation(gate) * up` of `[tokens, gate and up]`.
pub struct Gated {
    pub activation: Activation,
    pub executor: Executor,
}

impl Gated {
    /// Maps `[tokens, 2 * width]`, f32, to `[tokens, width]`: on a GPU of type `to`, and on a CPU f32.
    ///
    /// # Errors
    /// The width is odd, or the device fails.
    pub fn forward(&self, both: &Tensor, to: DType) -> Result<Tensor> {
        if both.device().is_cpu() {
            return both.apply_op1_no_bwd(self);
        }
        self.executor.kernels.gated(both, self.activation, to)
    }

    fn compute(&self, rows: &Rows<'_>, activation: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
        let width = rows.width / 2;
        let mut output = vec![0.0; rows.num * width];
        self.executor.threads.for_chunks(&mut output, width, |row, output| {
            let (gate, up) = rows.row(row).split_at(width);
            for ((output, gate), up) in output.iter_mut().zip(gate).zip(up) {
                *output = activation(*gate) * up;
            }
        });
        output
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const SQRT_2_OVER_PI: f32 = 0.797_884_6;
    let inner = SQRT_2_OVER_PI * x * mul_add(0.044_715 * x, x, 1.0);
    // (1 + tanh(inner)) / 2 is the logistic function of twice the argument.
    x / (1.0 + exp(-2.0 * inner))
}

impl CustomOp1 for Gated {
    fn name(&self) -> &'static str {
        "gated_activation"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = Rows::new(storage, layout)?;
        if rows.width % 2 != 0 || rows.width == 0 {
            bail!("gate and up together have width {}", rows.width);
        }
        let output = match self.activation {
            Activation::Silu => self.compute(&rows, silu),
            Activation::GeluTanh => self.compute(&rows, gelu_tanh),
        };
        Ok((CpuStorage::F32(output), Shape::from((rows.num, rows.width / 2))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_follow_their_formulas() {
        for step in -400_i16..=400 {
            let x = f32::from(step) * 0.05;
            let wide = f64::from(x);
            let want = wide / (1.0 + (-wide).exp());
            assert!((f64::from(silu(x)) - want).abs() < 2e-6, "silu({x})");
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3));
            let want = 0.5 * wide * (1.0 + inner.tanh());
            assert!((f64::from(gelu_tanh(x)) - want).abs() < 2e-6, "gelu({x})");
        }
    }
}
