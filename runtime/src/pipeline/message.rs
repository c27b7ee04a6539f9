//! What travels between scheduler and stages.

use std::time::{Duration, Instant};

use sluicegate_core::{
    messages::{GroupId, MicrobatchId, SequenceId},
    serve::{Answer, MatcherError},
};
use sluicegate_model::{
    placed::Placed,
    step::{Ancestors, Hidden},
};
use tracing::Span;

use super::error::StageFailure;
use crate::{
    device::{Order, Sampled},
    masker::MaskerFailure,
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
    /// When each stage so far worked on it.
    pub times: Vec<StageTimes>,
}

/// When a stage worked on a microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageTimes {
    pub started: Instant,
    /// Its output was there: hidden values, or logits.
    pub computed: Instant,
    /// Its output was on its way to the next stage; the last one had masked and sampled.
    pub ended: Instant,
}

/// When something was done for a microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    pub from: Instant,
    pub until: Instant,
}

impl Interval {
    /// From a moment until now.
    pub fn since(from: Instant) -> Self {
        Self { from, until: Instant::now() }
    }

    pub fn duration(&self) -> Duration {
        self.until - self.from
    }
}

/// When a microbatch's masks were computed and waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskTimes {
    /// When the last stage, its logits ready, waited for them; none where it needs none.
    pub awaited: Option<Interval>,
    /// When each worker that had a part in them worked.
    pub filled: Vec<Interval>,
}

impl MaskTimes {
    /// How long the last stage waited.
    pub fn exposed(&self) -> Duration {
        self.awaited.map_or(Duration::ZERO, |awaited| awaited.duration())
    }
}

/// What comes back to the scheduler.
#[derive(Debug)]
pub enum PipelineEvent {
    Sampled(Placed<Sampled>),
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
    MaskerFailed(MaskerFailure),
    StageFailed(StageFailure),
}
