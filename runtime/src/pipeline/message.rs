//! What travels between scheduler and stages.

use std::time::Instant;

use sluicegate_model::{
    placed::Placed,
    step::{Ancestors, Hidden},
};
use tracing::Span;

use super::error::StageFailure;
use crate::{
    device::{Order, Sampled},
    masker::{MaskerFailure, RowFailure},
    scheduler::{GroupId, MicrobatchId},
};

/// What a stage receives, in the order in which it must be done.
#[derive(Debug)]
pub enum StageMessage {
    /// Rows change places before the next microbatch.
    Ancestors(Placed<Ancestors>),
    Microbatch(Microbatch),
}

/// The rows of one step on their way through the stages.
#[derive(Debug)]
pub struct Microbatch {
    pub id: MicrobatchId,
    /// Which life of the pipeline it belongs to; a restarted pipeline has the next one.
    pub incarnation: u32,
    pub order: Placed<Order>,
    /// None before the first stage.
    pub hidden: Option<Placed<Hidden>>,
    /// Its own, which follows from those of its sequences' requests.
    pub span: Span,
    /// When each stage so far computed it.
    pub times: Vec<StageTimes>,
}

/// When a stage computed a microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageTimes {
    pub started: Instant,
    pub ended: Instant,
}

/// What comes back to the scheduler.
#[derive(Debug)]
pub enum PipelineEvent {
    Sampled(Placed<Sampled>),
    /// A mask could not be computed; the row that requires it fails at the last stage.
    MaskFailed {
        group: GroupId,
        failure: RowFailure,
    },
    /// Masks do not reach the last stage; nothing constrained can go on.
    MaskerFailed(MaskerFailure),
    StageFailed(StageFailure),
}
