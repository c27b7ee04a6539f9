//! The engine: requests in, text out.
//!
//! Owns the thread that drives the serving loop, and what that does not know: matchers, stages,
//! callers, the clock. Decides nothing, moves no tensor and computes nothing.

mod admission;
mod builder;
mod driver;
mod error;
mod handle;
mod journal;
mod open;
mod recorder;
pub mod request;
mod send;
pub mod stream;

pub use builder::EngineBuilder;
pub(crate) use driver::FailureSlot;
pub use error::{BuildError, EngineFailure, GenerationError, SubmitError};
pub use handle::Engine;
pub use journal::RecordOptions;
pub use open::{OpenOptions, StartError};
pub use sluicegate_core::serve::{Limits, Metrics};

use std::time::Instant;

use crossbeam_channel::Sender;
use sluicegate_constraint::Compiled;
use sluicegate_core::{messages::RequestId, serve::Admitted, timeline::Timeline};
use stream::Event;
use tokio::sync::mpsc::UnboundedSender;

/// What the engine's thread is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Submit {
        request: RequestId,
        admitted: Box<Admitted>,
        /// None for free text.
        constraint: Option<Box<Compiled>>,
        events: UnboundedSender<Result<Event, GenerationError>>,
    },
    Cancel(RequestId),
    /// Says how things stand.
    Metrics(Sender<Metrics>),
    /// Hands out what was recorded.
    Timeline(Sender<Timeline>),
    /// Takes no more requests, and ends the thread when none is left; those that still run then,
    /// fail.
    Shutdown {
        deadline: Instant,
    },
}
