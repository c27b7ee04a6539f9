//! The engine: requests in, text out.
//!
//! Owns the thread in which the scheduler runs, and what the scheduler does not know: text,
//! matchers, callers. Moves no tensor and computes nothing.

mod admission;
mod builder;
mod core;
mod error;
mod groups;
#[cfg(test)]
mod groups_tests;
mod handle;
mod limits;
mod metrics;
mod open;
mod outputs;
mod recorder;
mod recovery;
mod results;
mod rows;
mod step;
mod turns;

pub use admission::AdmittedRequest;
pub(crate) use admission::tokenise;
pub use builder::EngineBuilder;
pub(crate) use core::FailureSlot;
pub use error::{BuildError, EngineFailure, GenerationError, SubmitError};
pub use handle::Engine;
pub use limits::EngineLimits;
pub use metrics::Metrics;
pub use open::{OpenOptions, StartError};

use std::time::Instant;

use crossbeam_channel::Sender;
use sluicegate_core::timeline::Timeline;
use tokio::sync::mpsc::UnboundedSender;

use crate::{request::RequestId, stream::Event};

/// What the engine's thread is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Submit {
        request: RequestId,
        admitted: Box<AdmittedRequest>,
        events: UnboundedSender<Result<Event, GenerationError>>,
    },
    Cancel(RequestId),
    /// Says how things stand.
    Metrics(Sender<Metrics>),
    /// Hands out what was recorded.
    Timeline(Sender<Timeline>),
    /// Takes no more requests, and ends the thread when none is left; those that still run then, fail.
    Shutdown {
        deadline: Instant,
    },
}
