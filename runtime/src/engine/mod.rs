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
mod outputs;
mod rows;
mod step;

pub use admission::AdmittedRequest;
pub use builder::EngineBuilder;
pub(crate) use core::FailureSlot;
pub use error::{BuildError, EngineFailure, GenerationError, SubmitError};
pub use handle::Engine;

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
    /// Ends the thread; running requests fail.
    Shutdown,
}
