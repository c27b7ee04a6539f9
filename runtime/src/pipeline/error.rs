//! Why a stage stopped.

use std::fmt;

use sluicegate_core::messages::MicrobatchId;
use sluicegate_model::{
    error::{ForwardError, LoadError},
    threads::UnknownCore,
};
use sluicegate_placement::StageId;
use sluicegate_spec::{device::DeviceId, placed::Misplaced, units::LayerRange};

use crate::device::{Loss, SampleError, TransferError};

/// What went wrong in a stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("loading its weights failed")]
    Load(#[from] LoadError),
    #[error("computing failed")]
    Forward(#[from] ForwardError),
    #[error("a transfer failed")]
    Transfer(#[from] TransferError),
    #[error("sampling failed")]
    Sample(#[from] SampleError),
    #[error("a device of an earlier stage has not computed what this one was given")]
    Unproven(#[source] candle_core::Error),
    #[error("a value is away from home")]
    Misplaced(#[from] Misplaced),
    #[error("a microbatch is of incarnation {found} of the pipeline, wanted {wanted}")]
    Incarnation { wanted: u32, found: u32 },
    #[error("a microbatch reached the last stage without logits")]
    NoLogits,
    #[error("it panicked: {0}")]
    Panicked(String),
    #[error("its device cannot be made current in its thread")]
    Bind(#[source] candle_core::Error),
    #[error("its thread cannot be pinned")]
    Pin(#[from] UnknownCore),
    #[error("its thread could not be started")]
    Spawn(#[source] std::io::Error),
}

/// A stage that stopped, and why.
#[derive(Debug)]
pub struct StageFailure {
    pub stage: StageId,
    pub device: DeviceId,
    pub layers: LayerRange,
    /// What it was computing, if it was.
    pub microbatch: Option<MicrobatchId>,
    pub error: Box<StageError>,
    /// What cannot be used any more, where it is a GPU that has failed for good.
    pub loss: Option<Loss>,
}

impl StageFailure {
    /// Whether another try may go better.
    pub fn may_pass(&self) -> bool {
        self.loss.is_none() && self.error.may_pass()
    }
}

impl StageError {
    /// Whether another try may go better, if the device lives: a panic, or an operation that it did
    /// not do. What is wrong with the orders or the plan stays wrong.
    fn may_pass(&self) -> bool {
        match self {
            Self::Panicked(_)
            | Self::Forward(ForwardError::Tensor { .. })
            | Self::Transfer(TransferError::Copy { .. })
            | Self::Sample(
                SampleError::Device(_) | SampleError::Transfer(TransferError::Copy { .. }),
            ) => true,
            Self::Load(_)
            | Self::Forward(_)
            | Self::Transfer(_)
            | Self::Sample(_)
            | Self::Unproven(_)
            | Self::Misplaced(_)
            | Self::Incarnation { .. }
            | Self::NoLogits
            | Self::Bind(_)
            | Self::Pin(_)
            | Self::Spawn(_) => false,
        }
    }
}

impl fmt::Display for StageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, layers, device, loss, .. } = self;
        write!(f, "stage {} (layers {layers} on {device}) failed", stage.0)?;
        loss.as_ref().map_or(Ok(()), |loss| write!(f, "; {loss}"))
    }
}

impl std::error::Error for StageFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.error)
    }
}
