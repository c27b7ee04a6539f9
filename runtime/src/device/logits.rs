//! Logits read by the sampler, in the last stage's own thread.

use candle_core::Device;
use sluicegate_model::{
    placed::{Placed, Site},
    step::Logits,
    units::Unit,
};

use super::link::TransferError;

/// Rows of logits in the sampler's memory.
#[derive(Debug)]
pub struct LogitRows {
    pub rows: Vec<Vec<f32>>,
    /// What had to be read out of a GPU's memory; zero on a CPU.
    pub copied_bytes: usize,
}

/// Reads `[logit rows, vocab]` where the last stage is at home.
///
/// # Errors
/// [`TransferError`] if the logits are elsewhere, or cannot be read.
pub fn read(
    logits: &Placed<Logits>,
    device: sluicegate_model::placed::DeviceId,
) -> Result<LogitRows, TransferError> {
    let site = Site { operation: "sample", unit: Some(Unit::Head), with: "sampler", device };
    let tensor = &logits.at(&site)?.0;
    let copied_bytes = match tensor.device() {
        Device::Cpu => 0,
        _ => tensor.elem_count() * tensor.dtype().size_in_bytes(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "sampling reads the logits, and the ledger says so"
    )]
    let rows = tensor.to_vec2().map_err(|error| TransferError::Copy {
        kind: crate::placement::TransferKind::Tokens,
        source_device: device,
        target_device: device,
        error,
    })?;
    Ok(LogitRows { rows, copied_bytes })
}
