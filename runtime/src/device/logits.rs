//! Logits on a CPU, read by the sampler in the last stage's own thread.

use std::ops::Range;

use candle_core::{Storage, Tensor, bail};
use sluicegate_model::step::Logits;
use sluicegate_spec::{
    device::DeviceId,
    placed::{Placed, Site},
    units::Unit,
};

use super::link::TransferError;

/// Rows of logits in the sampler's memory, which is kept from one microbatch to the next.
#[derive(Debug, Default)]
pub struct LogitRows {
    values: Vec<f32>,
    width: usize,
}

impl LogitRows {
    /// Reads `[logit rows, vocab]`, f32, where the last stage is at home, in place of what was read
    /// before; no rows where there are no logits.
    ///
    /// # Errors
    /// [`TransferError`] if the logits are elsewhere, or cannot be read.
    pub fn read(
        &mut self,
        logits: Option<&Placed<Logits>>,
        device: DeviceId,
    ) -> Result<(), TransferError> {
        let Some(logits) = logits else {
            self.values.clear();
            return Ok(());
        };
        let site = Site { operation: "sample", unit: Some(Unit::Head), with: "sampler", device };
        let tensor = &logits.at(&site)?.0;
        self.copy(tensor).map_err(|error| TransferError::Copy {
            kind: sluicegate_placement::TransferKind::Tokens,
            source_device: device,
            target_device: device,
            error,
        })
    }

    /// Each row, to be changed.
    pub fn rows(&mut self, rows: Range<usize>) -> Vec<&mut [f32]> {
        let values = &mut self.values[rows.start * self.width..rows.end * self.width];
        // An empty vocabulary has no rows either.
        values.chunks_exact_mut(self.width.max(1)).collect()
    }

    fn copy(&mut self, tensor: &Tensor) -> candle_core::Result<()> {
        let (_, width) = tensor.dims2()?;
        self.width = width;
        self.values.clear();
        let (storage, layout) = tensor.storage_and_layout();
        let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
        else {
            bail!("wanted logits in a row in the host's memory, found {tensor:?}")
        };
        self.values.reserve_exact(end - start);
        self.values.extend_from_slice(&storage.as_slice()?[start..end]);
        Ok(())
    }
}
