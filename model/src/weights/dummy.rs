//! Untrained weights: seeded numbers in the shapes of a model, for measuring its memory and speed
//! before its weights are available.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sluicegate_spec::{
    profile::ComputeType,
    tensors::{Role, TensorId},
    units::Unit,
};

/// How many numbers before they repeat: a prime, so that no row of a matrix copies another.
const PERIOD: usize = 1_048_573;

/// Makes the numbers of any tensor.
#[derive(Debug)]
pub(super) struct Dummy {
    /// The configuration with the shapes.
    file: PathBuf,
    stored: ComputeType,
    /// `[PERIOD]`, between -1 and 1.
    numbers: Vec<f32>,
}

impl Dummy {
    pub(super) fn new(file: &Path, stored: ComputeType, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // An f32 has exactly 24 bits.
        let number = |bits: u32| (bits >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let numbers = (0..PERIOD).map(|_| number(random.next_u32())).collect();
        Self { file: file.to_owned(), stored, numbers }
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn stored(&self) -> ComputeType {
        self.stored
    }

    /// Returns `[out, in]` in the stored type, with variance 1 / in, so that activations neither
    /// grow nor vanish.
    pub(super) fn matrix(
        &self,
        id: TensorId,
        shape: (usize, usize),
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        match self.stored {
            ComputeType::F32 => self.filled(id, shape, device, |number| number),
            ComputeType::F16 => self.filled(id, shape, device, f16::from_f32),
            ComputeType::Bf16 => self.filled(id, shape, device, bf16::from_f32),
        }
    }

    fn filled<T: WithDType>(
        &self,
        id: TensorId,
        (num_rows, width): (usize, usize),
        device: &Device,
        convert: impl Fn(f32) -> T,
    ) -> candle_core::Result<Tensor> {
        let len = num_rows * width;
        // A uniform number between -a and a has the variance a² / 3.
        #[expect(clippy::cast_possible_truncation, reason = "a scale needs no more digits")]
        let scale = (3.0 / width.max(1) as f64).sqrt() as f32;
        let period: Vec<T> = self.numbers.iter().map(|number| convert(number * scale)).collect();
        let mut values = Vec::with_capacity(len);
        values.extend_from_slice(&period[first(id)..][..len.min(PERIOD - first(id))]);
        while values.len() < len {
            values.extend_from_slice(&period[..(len - values.len()).min(PERIOD)]);
        }
        #[expect(clippy::disallowed_methods, reason = "weights are made where they are loaded")]
        Tensor::from_vec(values, (num_rows, width), device)
    }
}

/// Returns `[len]`, f32, as [`super::Weights::dense`] does: norms change nothing, biases add
/// nothing.
pub(super) fn vector(role: Role, shape: &[usize], device: &Device) -> candle_core::Result<Tensor> {
    if role.is_norm() {
        return Tensor::ones(shape, DType::F32, device);
    }
    Tensor::zeros(shape, DType::F32, device)
}

/// Returns the start of a tensor's numbers, different for each tensor.
fn first(id: TensorId) -> usize {
    let unit = match id.unit {
        Unit::Embed => 0,
        Unit::Layer(layer_idx) => layer_idx + 2,
        Unit::Head => 1,
    };
    (unit * 31 + id.role as usize).wrapping_mul(65_537) % PERIOD
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOWN: TensorId = TensorId { unit: Unit::Layer(3), role: Role::Down };

    #[expect(clippy::disallowed_methods, reason = "a test reads what was made")]
    fn numbers(seed: u64, id: TensorId, shape: (usize, usize)) -> Vec<f32> {
        let dummy = Dummy::new(Path::new("config.json"), ComputeType::Bf16, seed);
        let tensor = dummy.matrix(id, shape, &Device::Cpu).unwrap();
        assert_eq!((tensor.dims2().unwrap(), tensor.dtype()), (shape, DType::BF16));
        tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn numbers_follow_from_seed_and_tensor_and_have_the_wanted_size() {
        let found = numbers(7, DOWN, (600, 2000));
        assert!(found == numbers(7, DOWN, (600, 2000)));
        assert!(found != numbers(8, DOWN, (600, 2000)));
        assert!(found != numbers(7, TensorId { role: Role::Up, ..DOWN }, (600, 2000)));
        let mean = found.iter().sum::<f32>() / 1.2e6;
        let variance = found.iter().map(|it| it * it).sum::<f32>() / 1.2e6;
        assert!(mean.abs() < 1e-4 && (variance * 2000.0 - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn numbers_come_again_after_a_prime_number_of_them() {
        let found = numbers(7, DOWN, (2, PERIOD));
        assert!(found[..PERIOD] == found[PERIOD..]);
        assert!(found[..2000] != found[2000..4000]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test reads what was made")]
    fn norms_are_ones_and_biases_zeros() {
        let numbers =
            |role| -> Vec<f32> { vector(role, &[3], &Device::Cpu).unwrap().to_vec1().unwrap() };
        assert_eq!(numbers(Role::InputNorm), [1.0; 3]);
        assert_eq!(numbers(Role::KeyBias), [0.0; 3]);
    }
}
