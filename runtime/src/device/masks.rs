//! Masks on their way to the last stage: bits only.

use candle_core::Device;
use sluicegate_model::placed::Named;

use super::payload::{Payload, PayloadSize};
use crate::{placement::TransferKind, sampler::MaskRow, scheduler::MicrobatchId};

/// The masks of one microbatch.
#[derive(Debug, Clone)]
pub struct Masks {
    pub microbatch: MicrobatchId,
    /// Per logit row; none where the row is free, or where its mask could not be computed.
    pub rows: Vec<Option<MaskRow>>,
}

impl Named for Masks {
    const NAME: &'static str = "mask";
}

impl Payload for Masks {
    const KIND: TransferKind = TransferKind::Mask;

    /// Four bytes per word of each constrained row.
    fn size(&self) -> PayloadSize {
        PayloadSize::plain(self.rows.iter().flatten().map(|row| 4 * row.words.len()).sum())
    }

    /// The words are copied, so that two logical devices share no memory. The sampler reads them in
    /// the last stage's thread, also where that stage computes on a GPU.
    fn copy_to(&self, _device: &Device) -> candle_core::Result<Self> {
        let copy = |row: &MaskRow| MaskRow { stamp: row.stamp, words: row.words.to_vec().into() };
        let rows = self.rows.iter().map(|row| row.as_ref().map(copy)).collect();
        Ok(Self { microbatch: self.microbatch, rows })
    }
}
