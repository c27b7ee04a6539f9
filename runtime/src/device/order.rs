//! Orders as stages get them: the scheduler's plain data made into index tensors where it arrives.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use sluicegate_core::messages::{
    AncestorsOrder, CopyOrder, GroupSampling, MicrobatchOrder, RowOrder, TableOrder,
};
use sluicegate_model::{
    placed::{Named, Placed},
    step::{Ancestors, Step, StepRow, StepTable, TailCopies},
};
use sluicegate_placement::TransferKind;
use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS};

use super::payload::{Payload, PayloadSize};

/// A microbatch's order on one device.
///
/// Every copy is made from the plain data, so index tensors never travel from device to device.
#[derive(Debug, Clone)]
pub struct Order {
    pub step: Step,
    pub sampling: Arc<[GroupSampling]>,
    rows: Arc<[RowOrder]>,
}

impl Named for Order {
    const NAME: &'static str = "order";
}

impl Order {
    /// An order as it leaves the scheduler, on the host.
    ///
    /// # Errors
    /// candle's, if an index tensor cannot be made.
    pub fn on_host(
        order: MicrobatchOrder,
        sampling: Vec<GroupSampling>,
    ) -> candle_core::Result<Placed<Self>> {
        let rows: Arc<[RowOrder]> = order.rows.into();
        let step = make_step(&rows, &Device::Cpu)?;
        Ok(Placed::new(Self { step, sampling: sampling.into(), rows }, DeviceId::Host))
    }
}

impl Payload for Order {
    const KIND: TransferKind = TransferKind::Order;

    /// Per token its id and position; per row its span, position and page tables; what sampling
    /// needs. Slots follow from the page tables and do not cross.
    fn size(&self) -> PayloadSize {
        let table = |table: &TableOrder| 4 + 4 * table.pages.len();
        let row = |row: &RowOrder| {
            12 + 8 * row.tokens.len() + row.tables.iter().map(table).sum::<usize>()
        };
        let rows: usize = self.rows.iter().map(row).sum();
        PayloadSize::plain(rows + self.sampling.iter().map(GroupSampling::num_bytes).sum::<usize>())
    }

    fn copy_to(&self, device: &Device) -> candle_core::Result<Self> {
        let step = make_step(&self.rows, device)?;
        Ok(Self { step, sampling: self.sampling.clone(), rows: self.rows.clone() })
    }
}

/// A reorder as it leaves the scheduler, on the host.
///
/// # Errors
/// candle's, if an index tensor cannot be made.
pub fn ancestors_on_host(order: AncestorsOrder) -> candle_core::Result<Placed<Ancestors>> {
    let copies = |copies: CopyOrder| {
        if copies.rows.is_empty() {
            return Ok(None);
        }
        candle_core::Result::Ok(Some(TailCopies {
            tail_pages: indices(copies.tail_pages, &Device::Cpu)?,
            rows: indices(copies.rows, &Device::Cpu)?,
            target_pages: indices(copies.target_pages, &Device::Cpu)?,
        }))
    };
    let ancestors = Ancestors {
        epoch: order.epoch,
        parents: indices(order.parents, &Device::Cpu)?,
        copies: order.copies.into_iter().map(copies).collect::<candle_core::Result<_>>()?,
    };
    Ok(Placed::new(ancestors, DeviceId::Host))
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
                pages: table.pages.to_vec(),
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
    use super::*;
    use sluicegate_core::messages::GroupId;

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
        let ancestors = ancestors_on_host(order).unwrap();
        let site = sluicegate_model::placed::Site {
            operation: "read",
            unit: None,
            with: "test",
            device: DeviceId::Host,
        };
        let copies = &ancestors.at(&site).unwrap().copies;
        assert!(copies[0].is_none() && copies[1].as_ref().unwrap().rows.dims() == [1]);
    }
}
