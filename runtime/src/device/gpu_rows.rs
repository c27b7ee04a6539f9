//! Logits sampled in the memory of a GPU.

use std::ops::Range;

use candle_core::Tensor;
use sluicegate_core::messages::{GroupChoices, GroupSampling, MaskRow};
use sluicegate_model::{
    home::Executor,
    sampling::{PackedOrders, SamplingOrders},
    step::Logits,
};
use sluicegate_placement::TransferKind;
use sluicegate_spec::{
    device::DeviceId,
    placed::{Named, Placed, Site},
    units::Unit,
};

use super::{
    link::TransferError,
    payload::num_bytes,
    upload::{Indices, Uploaded, Uploader},
};
use crate::sampler::{Sampler, orders::GroupOrders};

/// Samples what a GPU has computed, and reads no more than the tokens.
#[derive(Debug)]
pub struct GpuSampler {
    sampler: Sampler,
    uploader: Uploader,
    device: DeviceId,
    valid: Option<Placed<ValidTokens>>,
}

/// Logits of consecutive rows of a microbatch.
#[derive(Debug, Clone)]
pub struct GpuRows {
    /// `[rows, vocab]`, f32.
    logits: Tensor,
    first_row: usize,
    executor: Executor,
}

/// Why rows were not sampled.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error("the device failed")]
    Device(#[from] candle_core::Error),
}

impl GpuRows {
    /// Logits where the last stage is at home; none where there are none.
    ///
    /// # Errors
    /// [`TransferError`] if they are elsewhere.
    pub fn new(
        logits: &Placed<Logits>,
        device: DeviceId,
        executor: &Executor,
    ) -> Result<Self, TransferError> {
        let logits = logits.at(&site(device))?.0.clone();
        Ok(Self { logits, first_row: 0, executor: executor.clone() })
    }

    /// A copy of some rows: sampling changes them.
    ///
    /// # Errors
    /// The device's, if it has no room.
    pub fn copy(&self, rows: Range<usize>) -> candle_core::Result<Self> {
        let logits = self.logits.narrow(0, rows.start - self.first_row, rows.len())?.copy()?;
        Ok(Self { logits, first_row: rows.start, executor: self.executor.clone() })
    }
}

impl GpuSampler {
    pub fn new(sampler: Sampler, uploader: Uploader, device: DeviceId) -> Self {
        Self { sampler, uploader, device, valid: None }
    }

    /// Samples groups whose rows are among these, and waits for it. Returns the size of what was
    /// read as well.
    ///
    /// # Errors
    /// [`SampleError`] if orders are not on the device, or it fails.
    pub fn sample(
        &mut self,
        rows: &GpuRows,
        groups: &[&GroupSampling],
        masks: &[Option<MaskRow>],
    ) -> Result<(Vec<GroupChoices>, usize), SampleError> {
        let groups = GroupOrders::new(groups, masks, rows.first_row);
        let orders = groups.orders();
        let found = if orders.is_empty() { Vec::new() } else { self.run(rows, orders)? };
        let found = orders.read(&found)?;
        let num_bytes = orders.num_found_bytes();
        Ok((groups.choices(&found, self.sampler.valid()), num_bytes))
    }

    fn run(
        &mut self,
        rows: &GpuRows,
        orders: &SamplingOrders<'_>,
    ) -> Result<Vec<u32>, SampleError> {
        let site = site(self.device);
        if self.valid.is_none() {
            self.valid = Some(self.uploader.upload(self.sampler.valid())?);
        }
        let valid = self.valid.as_ref().expect("it was uploaded before the first use");
        let valid = valid.at(&site).map_err(TransferError::from)?;
        let uploaded: Placed<SamplingWords> = self.uploader.upload(&orders.pack())?;
        let words = uploaded.at(&site).map_err(TransferError::from)?;
        let found = orders.sample(&rows.executor, &rows.logits, &words.words, &valid.0)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "tokens are read, and the ledger says so: the one wait of a step"
        )]
        Ok(found.to_vec1::<u32>()?)
    }
}

fn site(device: DeviceId) -> Site {
    Site { operation: "sample", unit: Some(Unit::Head), with: "logits", device }
}

/// A bit for each token that exists, where logits are sampled.
#[derive(Debug, Clone)]
struct ValidTokens(Tensor);

impl Named for ValidTokens {
    const NAME: &'static str = "valid tokens";
}

impl Uploaded for ValidTokens {
    const KIND: TransferKind = TransferKind::Order;
    type Plain = [u32];

    fn make(valid: &[u32], indices: &Indices) -> candle_core::Result<Self> {
        Ok(Self(indices.make(valid.to_vec())?))
    }

    fn num_bytes(&self) -> usize {
        num_bytes(&self.0)
    }
}

/// What is to be done to rows, where their logits are.
#[derive(Debug, Clone)]
struct SamplingWords {
    words: Tensor,
    num_mask_bytes: usize,
}

impl Named for SamplingWords {
    const NAME: &'static str = "sampling orders";
}

impl Uploaded for SamplingWords {
    const KIND: TransferKind = TransferKind::Order;
    type Plain = PackedOrders;

    fn make(orders: &PackedOrders, indices: &Indices) -> candle_core::Result<Self> {
        let PackedOrders { words, num_mask_bytes } = orders;
        Ok(Self { words: indices.make(words.clone())?, num_mask_bytes: *num_mask_bytes })
    }

    /// Without masks, which their own link has counted.
    fn num_bytes(&self) -> usize {
        num_bytes(&self.words) - self.num_mask_bytes
    }
}
