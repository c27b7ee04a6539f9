//! What travels between the engine and the stages, and from stage to stage.

use sluicegate_core::{
    messages::{GroupId, Masks, MicrobatchId, Sampled, SequenceId, StageBatch, StageTimes},
    serve::{Answer, MatcherError},
};
use sluicegate_model::step::Hidden;
use sluicegate_placement::StageId;
use tracing::Span;

use super::error::StageFailure;
use crate::device::{InTransit, Proof, TransferError};

/// A microbatch on its way through the stages.
#[derive(Debug)]
pub struct Microbatch {
    /// Plain data, in band.
    pub batch: StageBatch,
    /// None before the first stage.
    pub hidden: Option<InTransit<Hidden>>,
    /// Of the stages that did not wait for their GPU: where there are logits, the last stage asks
    /// for them before it samples.
    pub proofs: Vec<Proof>,
    /// Its own, which follows from those of its sequences' requests.
    pub span: Span,
}

/// Masks on their way to the last stage.
pub type MasksInTransit = InTransit<Masks>;

/// What comes back to the scheduler.
#[derive(Debug)]
pub enum PipelineEvent {
    Sampled(InTransit<Sampled>),
    /// A mask could not be computed; the row that requires it fails at the last stage.
    MaskFailed {
        sequence: SequenceId,
        error: MatcherError,
    },
    /// A group's matchers have advanced, one for each continuation.
    Advanced {
        group: GroupId,
        answers: Vec<Result<Answer, MatcherError>>,
    },
    /// Masks do not reach the last stage; nothing constrained can go on.
    MasksLost(TransferError),
    /// When a stage worked on a microbatch, where its device was still at work when the stage handed
    /// it on.
    Timed {
        stage: StageId,
        microbatch: MicrobatchId,
        times: StageTimes,
    },
    StageFailed(StageFailure),
}
