//! What may cross a device border, and the functions that make it cross.

use std::fmt::Debug;

use candle_core::{Device, Tensor};
use sluicegate_core::messages::{Masks, Sampled, wire};
use sluicegate_model::step::Hidden;
use sluicegate_placement::{TransferKind, TransferRoute};
use sluicegate_spec::placed::Named;

use super::{
    loans::{Loan, Loans, Proof},
    moves::move_tensor,
};

/// Size of a value on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadSize {
    /// As it crosses.
    pub bytes: usize,
    /// As it would without being encoded.
    pub raw_bytes: usize,
}

impl PayloadSize {
    /// The size of a value that crosses as it is.
    pub fn plain(bytes: usize) -> Self {
        Self { bytes, raw_bytes: bytes }
    }
}

/// A value that crosses device borders. Each end of a link does its part of the way, in its own
/// thread and on its own device.
pub trait Payload: Named + Clone {
    const KIND: TransferKind;
    /// What the receiver can read.
    type Departed: Debug;

    /// Counted from the value itself.
    fn size(&self) -> PayloadSize;

    /// The sender's part.
    ///
    /// # Errors
    /// The device's, if it has no room or the copy fails.
    fn depart(&self, route: TransferRoute, loans: &Loans) -> candle_core::Result<Self::Departed>;

    /// What shows, later, that the sender's device has computed a value that nobody waited for.
    fn proof(_departed: &Self::Departed) -> Option<Proof> {
        None
    }

    /// The receiver's part: the value in the memory of its device.
    ///
    /// # Errors
    /// The device's, if it has no room or the copy fails.
    fn arrive(
        departed: Self::Departed,
        route: TransferRoute,
        device: &Device,
    ) -> candle_core::Result<Self>;
}

impl Payload for Hidden {
    const KIND: TransferKind = TransferKind::Hidden;
    type Departed = DepartedTensor;

    fn size(&self) -> PayloadSize {
        PayloadSize::plain(num_bytes(&self.0))
    }

    /// Views are made whole first: candle would move the whole storage of a view out of a GPU.
    fn depart(&self, route: TransferRoute, loans: &Loans) -> candle_core::Result<DepartedTensor> {
        let tensor = self.0.contiguous()?;
        Ok(match route {
            TransferRoute::HostMemory => DepartedTensor::Here(tensor.copy()?),
            TransferRoute::Download => DepartedTensor::Here(move_tensor(&tensor, &Device::Cpu)?),
            TransferRoute::Upload => DepartedTensor::Here(tensor),
            TransferRoute::Nccl => DepartedTensor::Lent(Box::new(loans.send(tensor)?)),
            TransferRoute::Peer => DepartedTensor::Lent(Box::new(loans.lend(tensor)?)),
            TransferRoute::HostStaged => DepartedTensor::Lent(Box::new(loans.stage(&tensor)?)),
        })
    }

    fn proof(departed: &DepartedTensor) -> Option<Proof> {
        match departed {
            DepartedTensor::Here(_) => None,
            DepartedTensor::Lent(loan) => Some(loan.proof()),
        }
    }

    fn arrive(
        departed: DepartedTensor,
        route: TransferRoute,
        device: &Device,
    ) -> candle_core::Result<Self> {
        Ok(Self(match (departed, route) {
            (DepartedTensor::Lent(loan), _) => loan.copy_to(device)?,
            (DepartedTensor::Here(tensor), TransferRoute::Upload) => move_tensor(&tensor, device)?,
            (DepartedTensor::Here(tensor), _) => tensor,
        }))
    }
}

/// A tensor between the ends of a link.
#[derive(Debug)]
pub enum DepartedTensor {
    /// In the host's memory.
    Here(Tensor),
    /// In memory of the sender's, or pinned memory of the host's, from which the receiver copies.
    Lent(Box<Loan>),
}

/// The sampler reads masks in the last stage's thread, also where that stage computes on a GPU.
impl Payload for Masks {
    const KIND: TransferKind = TransferKind::Mask;
    type Departed = Self;

    fn size(&self) -> PayloadSize {
        PayloadSize { bytes: wire::num_bytes(self), raw_bytes: self.raw_bytes() }
    }

    fn depart(&self, _route: TransferRoute, _loans: &Loans) -> candle_core::Result<Self> {
        Ok(through_encoding(self.clone()))
    }

    fn arrive(
        departed: Self,
        _route: TransferRoute,
        _device: &Device,
    ) -> candle_core::Result<Self> {
        Ok(departed)
    }
}

impl Payload for Sampled {
    const KIND: TransferKind = TransferKind::Tokens;
    type Departed = Self;

    fn size(&self) -> PayloadSize {
        PayloadSize::plain(wire::num_bytes(self))
    }

    fn depart(&self, _route: TransferRoute, _loans: &Loans) -> candle_core::Result<Self> {
        Ok(through_encoding(self.clone()))
    }

    fn arrive(
        departed: Self,
        _route: TransferRoute,
        _device: &Device,
    ) -> candle_core::Result<Self> {
        Ok(departed)
    }
}

/// Hands on a message as it is. In builds with debug assertions it goes through its encoding, so
/// that every test shows that nothing is lost.
pub(crate) fn through_encoding<T: wire::Message>(message: T) -> T {
    if cfg!(debug_assertions) && wire::num_bytes(&message) <= wire::MAX_BYTES {
        return wire::decode(&wire::encode(&message)).expect("what was encoded can be decoded");
    }
    message
}

pub(super) fn num_bytes(tensor: &Tensor) -> usize {
    tensor.elem_count() * tensor.dtype().size_in_bytes()
}
