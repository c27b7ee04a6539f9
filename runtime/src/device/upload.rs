//! Batches as a stage's device needs them: index tensors, made of the plain data that came in band.

use candle_core::{Device, Tensor};
use sluicegate_core::messages::{AncestorsOrder, CopyOrder, RowOrder, TableOrder};
use sluicegate_model::step::{Ancestors, PageCopies, Step, StepRow, StepTable};
use sluicegate_placement::{Transfer, TransferKind};
use sluicegate_spec::{
    device::DeviceId,
    kv::PAGE_TOKENS,
    placed::{Named, Placed},
};
use tracing::{field, trace_span};

use super::{
    ledger::Ledger,
    link::TransferError,
    payload::{PayloadSize, num_bytes},
};

/// Makes index tensors on a stage's device, as the plan foresees, and counts them.
#[derive(Debug, Clone)]
pub struct Uploader {
    transfers: Vec<Transfer>,
    device: Device,
    ledger: Ledger,
}

/// What is made of plain data on a device.
pub trait Uploaded: Named + Sized {
    const KIND: TransferKind;
    type Plain: ?Sized;

    /// Makes it in the memory of `device`.
    ///
    /// # Errors
    /// The device's, if it has no room or the copy fails.
    fn make(plain: &Self::Plain, device: &Device) -> candle_core::Result<Self>;

    /// Bytes of its tensors.
    fn num_bytes(&self) -> usize;
}

impl Uploader {
    pub(super) fn new(transfers: Vec<Transfer>, device: Device, ledger: Ledger) -> Self {
        Self { transfers, device, ledger }
    }

    /// Makes index tensors on the stage's device. Where the plan has no such transfer they stay on
    /// the host, and the error comes from the operation that needs them.
    ///
    /// # Errors
    /// [`TransferError`] if they cannot be made.
    pub fn upload<T: Uploaded>(&self, plain: &T::Plain) -> Result<Placed<T>, TransferError> {
        let Some(transfer) = self.transfers.iter().find(|it| it.kind == T::KIND) else {
            let made = T::make(plain, &Device::Cpu);
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
        let made = T::make(plain, &self.device).map_err(TransferError::copy(transfer))?;
        let size = PayloadSize::plain(made.num_bytes());
        span.record("bytes", size.bytes);
        self.ledger.record(transfer, size);
        Ok(Placed::new(made, target_device))
    }
}

impl Uploaded for Step {
    const KIND: TransferKind = TransferKind::Order;
    type Plain = [RowOrder];

    fn make(rows: &[RowOrder], device: &Device) -> candle_core::Result<Self> {
        make_step(rows, device)
    }

    fn num_bytes(&self) -> usize {
        let tables = self.rows.iter().flat_map(|row| &row.tables).map(|table| &table.read_slots);
        let flat = [&self.tokens, &self.positions].into_iter().chain(&self.write_slots);
        flat.chain(&self.logit_tokens).chain(tables).map(num_bytes).sum()
    }
}

impl Uploaded for Ancestors {
    const KIND: TransferKind = TransferKind::Ancestors;
    type Plain = AncestorsOrder;

    fn make(order: &AncestorsOrder, device: &Device) -> candle_core::Result<Self> {
        let copies = |copies: &CopyOrder| {
            if copies.rows.is_empty() {
                return Ok(None);
            }
            candle_core::Result::Ok(Some(PageCopies {
                tail_pages: indices(copies.tail_pages.clone(), device)?,
                rows: indices(copies.rows.clone(), device)?,
                target_pages: indices(copies.target_pages.clone(), device)?,
            }))
        };
        Ok(Self {
            epoch: order.epoch,
            parents: indices(order.parents.clone(), device)?,
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

fn make_step(rows: &[RowOrder], device: &Device) -> candle_core::Result<Step> {
    let tokens = rows.iter().flat_map(|row| row.tokens.iter().copied()).collect();
    let positions =
        rows.iter().flat_map(|row| as_u32(row.position..row.position + row.tokens.len()));
    let num_kv_groups = rows.first().map_or(0, |row| row.tables.len());
    let write_slots = (0..num_kv_groups).map(|kv_idx| {
        let slots = rows.iter().flat_map(|row| new_slots_of(row, kv_idx));
        indices(slots.collect(), device)
    });
    let mut start = 0;
    let mut step_rows = Vec::with_capacity(rows.len());
    let mut logit_tokens = Vec::new();
    for row in rows {
        let span = start..start + row.tokens.len();
        start = span.end;
        if row.wants_logits {
            logit_tokens.extend(as_u32(span.end - 1..span.end));
        }
        let table = |(kv_idx, table): (usize, &TableOrder)| {
            candle_core::Result::Ok(StepTable {
                first_position: table.first_position,
                read_slots: indices(slots_of(row, kv_idx), device)?,
            })
        };
        let tables =
            row.tables.iter().enumerate().map(table).collect::<candle_core::Result<_>>()?;
        step_rows.push(StepRow { span, past: row.position, tables });
    }
    let logit_tokens = Some(logit_tokens).filter(|tokens| !tokens.is_empty());
    Ok(Step {
        tokens: indices(tokens, device)?,
        positions: indices(positions.collect(), device)?,
        rows: step_rows,
        write_slots: write_slots.collect::<candle_core::Result<_>>()?,
        logit_tokens: logit_tokens.map(|tokens| indices(tokens, device)).transpose()?,
    })
}

/// The slot of every position from the table's first one to the row's last new one.
fn slots_of(row: &RowOrder, kv_idx: usize) -> Vec<u32> {
    let TableOrder { first_position, pages } = &row.tables[kv_idx];
    let num_slots = row.position + row.tokens.len() - first_position;
    let page_slots = |page: &u32| {
        let first = *page as usize * PAGE_TOKENS;
        as_u32(first..first + PAGE_TOKENS)
    };
    pages.iter().flat_map(page_slots).take(num_slots).collect()
}

/// The slots that take the row's new tokens.
fn new_slots_of(row: &RowOrder, kv_idx: usize) -> Vec<u32> {
    let mut slots = slots_of(row, kv_idx);
    slots.split_off(slots.len() - row.tokens.len())
}

fn as_u32(range: std::ops::Range<usize>) -> impl Iterator<Item = u32> {
    range.map(|index| u32::try_from(index).expect("positions and slots are below 2^32"))
}

#[expect(clippy::disallowed_methods, reason = "an index tensor is made where it arrives")]
fn indices(values: Vec<u32>, device: &Device) -> candle_core::Result<Tensor> {
    let len = values.len();
    Tensor::from_vec(values, len, device)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluicegate_core::messages::GroupId;

    use super::*;

    fn row(wants_logits: bool) -> RowOrder {
        RowOrder {
            group: GroupId(1),
            tokens: vec![5, 6],
            position: 0,
            tables: vec![TableOrder { first_position: 0, pages: Arc::new(vec![2]) }],
            wants_logits,
        }
    }

    #[test]
    fn no_index_tensor_is_empty() {
        let step = make_step(&[row(false), row(false)], &Device::Cpu).unwrap();
        assert!(step.logit_tokens.is_none());
        let step = make_step(&[row(false), row(true)], &Device::Cpu).unwrap();
        assert_eq!(step.logit_tokens.unwrap().dims(), [1]);

        let copies = CopyOrder { tail_pages: vec![3], rows: vec![0], target_pages: vec![1] };
        let nothing = CopyOrder { tail_pages: vec![3], ..CopyOrder::default() };
        let order = AncestorsOrder {
            group: GroupId(1),
            epoch: 1,
            parents: vec![0],
            copies: vec![nothing, copies],
        };
        let ancestors = Ancestors::make(&order, &Device::Cpu).unwrap();
        let copies = &ancestors.copies;
        assert!(copies[0].is_none() && copies[1].as_ref().unwrap().rows.dims() == [1]);
    }
}
