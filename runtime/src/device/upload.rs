//! Batches as a stage's device needs them: index tensors, made of the plain data that came in band.

#[cfg(feature = "cuda")]
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};
use sluicegate_core::messages::{AncestorsOrder, CopyOrder, RowOrder, TableOrder};
use sluicegate_model::step::{Ancestors, PageCopies, RowInput, Step, StepBuilder, TableInput};
use sluicegate_placement::{Transfer, TransferKind};
use sluicegate_spec::{
    device::DeviceId,
    placed::{Named, Placed},
};
use tracing::{field, trace_span};

#[cfg(feature = "cuda")]
use super::pinned::Uploads;
use super::{
    ledger::Ledger,
    link::TransferError,
    payload::{PayloadSize, num_bytes},
};

/// Makes index tensors on a stage's device, as the plan foresees, and counts them.
#[derive(Debug, Clone)]
pub struct Uploader {
    transfers: Vec<Transfer>,
    indices: Indices,
    ledger: Ledger,
}

/// What is made of plain data on a device.
pub trait Uploaded: Named + Sized {
    const KIND: TransferKind;
    type Plain: ?Sized;

    /// Makes its tensors of words.
    ///
    /// # Errors
    /// The device's, if it has no room or the copy fails.
    fn make(plain: &Self::Plain, indices: &Indices) -> candle_core::Result<Self>;

    /// Bytes of its tensors.
    fn num_bytes(&self) -> usize;
}

/// Makes index tensors on a device. Clones share the memory that copies to a GPU start from.
#[derive(Debug, Clone)]
pub struct Indices {
    device: Device,
    #[cfg(feature = "cuda")]
    pinned: Arc<Mutex<Uploads>>,
}

impl Indices {
    fn new(device: Device) -> Self {
        Self {
            device,
            #[cfg(feature = "cuda")]
            pinned: Arc::default(),
        }
    }

    /// A tensor of some words, `[words]`, u32. No thread waits until a GPU has copied them.
    ///
    /// # Errors
    /// The device's.
    #[expect(clippy::disallowed_methods, reason = "an index tensor is made where it arrives")]
    pub(super) fn make(&self, words: Vec<u32>) -> candle_core::Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Device::Cuda(device) = &self.device {
            let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
            return pinned.upload(&words, device);
        }
        let len = words.len();
        Tensor::from_vec(words, len, &self.device)
    }
}

impl Uploader {
    pub(super) fn new(transfers: Vec<Transfer>, device: Device, ledger: Ledger) -> Self {
        Self { transfers, indices: Indices::new(device), ledger }
    }

    /// Makes index tensors on the stage's device. Where the plan has no such transfer they stay on
    /// the host, and the error comes from the operation that needs them.
    ///
    /// # Errors
    /// [`TransferError`] if they cannot be made.
    pub fn upload<T: Uploaded>(&self, plain: &T::Plain) -> Result<Placed<T>, TransferError> {
        let Some(transfer) = self.transfers.iter().find(|it| it.kind == T::KIND) else {
            let made = T::make(plain, &Indices::new(Device::Cpu));
            let made = made.map_err(|error| TransferError::Copy {
                kind: T::KIND,
                source_device: DeviceId::Host,
                target_device: DeviceId::Host,
                error,
            })?;
            return Ok(Placed::new(made, DeviceId::Host));
        };
        let Transfer { kind, target_device, .. } = *transfer;
        let span = trace_span!("link.transfer", kind = %kind, bytes = field::Empty).entered();
        let made = T::make(plain, &self.indices).map_err(TransferError::copy(transfer))?;
        let size = PayloadSize::plain(made.num_bytes());
        span.record("bytes", size.bytes);
        self.ledger.record(transfer, size);
        Ok(Placed::new(made, target_device))
    }
}

impl Uploaded for Step {
    const KIND: TransferKind = TransferKind::Order;
    type Plain = [RowOrder];

    fn make(rows: &[RowOrder], indices: &Indices) -> candle_core::Result<Self> {
        make_step(rows, indices)
    }

    fn num_bytes(&self) -> usize {
        Step::num_bytes(self)
    }
}

impl Uploaded for Ancestors {
    const KIND: TransferKind = TransferKind::Ancestors;
    type Plain = AncestorsOrder;

    fn make(order: &AncestorsOrder, indices: &Indices) -> candle_core::Result<Self> {
        let copies = |copies: &CopyOrder| {
            if copies.rows.is_empty() {
                return Ok(None);
            }
            candle_core::Result::Ok(Some(PageCopies {
                tail_pages: indices.make(copies.tail_pages.clone())?,
                rows: indices.make(copies.rows.clone())?,
                target_pages: indices.make(copies.target_pages.clone())?,
            }))
        };
        Ok(Self {
            epoch: order.epoch,
            parents: indices.make(order.parents.clone())?,
            copies: order.copies.iter().map(copies).collect::<candle_core::Result<_>>()?,
        })
    }

    fn num_bytes(&self) -> usize {
        let copies = self.copies.iter().flatten().flat_map(|copies| {
            [&copies.tail_pages, &copies.rows, &copies.target_pages].map(num_bytes)
        });
        size_of_val(&self.epoch) + num_bytes(&self.parents) + copies.sum::<usize>()
    }
}

fn make_step(rows: &[RowOrder], indices: &Indices) -> candle_core::Result<Step> {
    let mut step = StepBuilder::new(rows.first().map_or(0, |row| row.tables.len()));
    for RowOrder { tokens, position, tables, wants_logits, .. } in rows {
        let end = tokens.len();
        let logits = if *wants_logits { end - 1..end } else { end..end };
        let row = RowInput { tokens, past: *position, logits };
        let tables = tables.iter().map(|TableOrder { first_position, pages }| TableInput {
            first_position: *first_position,
            pages,
        });
        step.push(&row, tables);
    }
    step.build(|words| indices.make(words))
}

#[cfg(test)]
mod tests {
    use sluicegate_core::messages::GroupId;

    use super::*;

    #[test]
    fn no_index_tensor_is_empty() {
        let copies = CopyOrder { tail_pages: vec![3], rows: vec![0], target_pages: vec![1] };
        let nothing = CopyOrder { tail_pages: vec![3], ..CopyOrder::default() };
        let order = AncestorsOrder {
            group: GroupId(1),
            epoch: 1,
            parents: vec![0],
            copies: vec![nothing, copies],
        };
        let ancestors = Ancestors::make(&order, &Indices::new(Device::Cpu)).unwrap();
        let copies = &ancestors.copies;
        assert!(copies[0].is_none() && copies[1].as_ref().unwrap().rows.dims() == [1]);
    }
}
