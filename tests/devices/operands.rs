//! Tensors that are the same on the CPU, whole, and on a device under test as views into more.

use candle_core::{DType, Device, Result, Tensor};
use sluicegate_tests::draws::Draws;

/// An operand of an operation.
#[derive(Clone)]
pub(crate) struct Operand {
    /// On the CPU, contiguous.
    pub(crate) whole: Tensor,
    /// On the device, part of a larger tensor whose dimensions have another order.
    pub(crate) view: Tensor,
}

impl Operand {
    /// Values of both signs, none of them round.
    pub(crate) fn floats(
        draws: &mut Draws,
        shape: &[usize],
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::new(draws, shape, device, |draws, count| {
            on_cpu((0..count).map(|_| draws.float(4.0)).collect())?.to_dtype(dtype)
        })
    }

    /// Whole numbers below `end`.
    pub(crate) fn indices(
        draws: &mut Draws,
        shape: &[usize],
        end: usize,
        device: &Device,
    ) -> Result<Self> {
        Self::new(draws, shape, device, |draws, count| {
            on_cpu((0..count).map(|_| u32::try_from(draws.below(end)).unwrap()).collect())
        })
    }

    /// These whole numbers, whole on the device, too.
    pub(crate) fn listed(values: Vec<u32>, device: &Device) -> Result<Self> {
        let whole = on_cpu(values)?;
        Ok(Self { view: moved(&whole, device)?, whole })
    }

    /// A tensor of the same values that is whole on the device, too.
    pub(crate) fn contiguous(self) -> Result<Self> {
        Ok(Self { view: self.view.contiguous()?, ..self })
    }

    fn new(
        draws: &mut Draws,
        shape: &[usize],
        device: &Device,
        make: impl FnOnce(&mut Draws, usize) -> Result<Tensor>,
    ) -> Result<Self> {
        let order = draws.permutation(shape.len());
        let before: Vec<usize> = shape.iter().map(|_| draws.below(3)).collect();
        let stored: Vec<usize> =
            order.iter().map(|dim| shape[*dim] + before[*dim] + draws.below(2)).collect();
        let stored = make(draws, stored.iter().product())?.reshape(stored)?;
        let mut back = vec![0; order.len()];
        for (place, dim) in order.iter().enumerate() {
            back[*dim] = place;
        }
        let view = |stored: &Tensor| {
            let mut view = stored.permute(back.clone())?;
            for (dim, (before, size)) in before.iter().zip(shape).enumerate() {
                view = view.narrow(dim, *before, *size)?;
            }
            Ok::<_, candle_core::Error>(view)
        };
        Ok(Self { whole: view(&stored)?.contiguous()?, view: view(&moved(&stored, device)?)? })
    }
}

fn on_cpu<T: candle_core::WithDType>(values: Vec<T>) -> Result<Tensor> {
    let count = values.len();
    #[expect(clippy::disallowed_methods, reason = "a test makes its operands")]
    Tensor::from_vec(values, count, &Device::Cpu)
}

#[expect(clippy::disallowed_methods, reason = "a test compares two devices")]
pub(crate) fn moved(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    tensor.to_device(device)
}

/// All values, row by row.
pub(crate) fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    // In a GPU's memory a view is made whole first, or all of what it is a part of comes along.
    let tensor = moved(&tensor.contiguous()?, &Device::Cpu)?;
    #[expect(clippy::disallowed_methods, reason = "a test reads what it compares")]
    tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}
