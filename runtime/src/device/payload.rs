//! What may cross a device border, and the one function that makes it cross.

use candle_core::{Device, Tensor};
use sluicegate_model::{
    placed::Named,
    step::{Ancestors, Hidden, TailCopies},
};
use sluicegate_placement::TransferKind;

/// Size of a value on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadSize {
    /// As it crosses.
    pub bytes: usize,
    /// As it would without coding.
    pub raw_bytes: usize,
}

impl PayloadSize {
    pub fn plain(bytes: usize) -> Self {
        Self { bytes, raw_bytes: bytes }
    }
}

/// A value of one of the five kinds that cross device borders.
pub trait Payload: Named + Clone {
    const KIND: TransferKind;

    /// Counted from the value itself.
    fn size(&self) -> PayloadSize;

    /// A copy in the memory of `device`.
    ///
    /// # Errors
    /// The device's, if it has no room or the copy fails.
    fn copy_to(&self, device: &Device) -> candle_core::Result<Self>;
}

/// Copies a tensor into the memory of `device`, also where both are the same processor's.
///
/// Only the view is copied: candle would move a view's whole storage between CUDA devices. Two CUDA
/// devices are joined through host memory, because candle never enables peer access.
fn copy_tensor(tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    let tensor = tensor.contiguous()?;
    match (tensor.device(), device) {
        (Device::Cpu, Device::Cpu) => tensor.copy(),
        (Device::Cpu, _) | (_, Device::Cpu) => move_tensor(&tensor, device),
        _ => move_tensor(&move_tensor(&tensor, &Device::Cpu)?, device),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one caller: every transfer ends here")]
fn move_tensor(tensor: &Tensor, device: &Device) -> candle_core::Result<Tensor> {
    tensor.to_device(device)
}

fn num_bytes(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}

impl Payload for Hidden {
    const KIND: TransferKind = TransferKind::Hidden;

    fn size(&self) -> PayloadSize {
        PayloadSize::plain(num_bytes(&self.0))
    }

    fn copy_to(&self, device: &Device) -> candle_core::Result<Self> {
        Ok(Self(copy_tensor(&self.0, device)?))
    }
}

impl Payload for Ancestors {
    const KIND: TransferKind = TransferKind::Ancestors;

    fn size(&self) -> PayloadSize {
        let copies = self.copies.iter().flatten().flat_map(|copies| {
            [&copies.tail_pages, &copies.rows, &copies.target_pages].map(num_bytes)
        });
        PayloadSize::plain(
            size_of_val(&self.epoch) + num_bytes(&self.parents) + copies.sum::<usize>(),
        )
    }

    fn copy_to(&self, device: &Device) -> candle_core::Result<Self> {
        let copy = |copies: &TailCopies| {
            candle_core::Result::Ok(TailCopies {
                tail_pages: copy_tensor(&copies.tail_pages, device)?,
                rows: copy_tensor(&copies.rows, device)?,
                target_pages: copy_tensor(&copies.target_pages, device)?,
            })
        };
        let copies = self.copies.iter().map(|copies| copies.as_ref().map(copy).transpose());
        Ok(Self {
            epoch: self.epoch,
            parents: copy_tensor(&self.parents, device)?,
            copies: copies.collect::<candle_core::Result<_>>()?,
        })
    }
}
