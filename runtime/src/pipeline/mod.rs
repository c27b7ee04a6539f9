//! Threads and bounded channels: one thread per stage, and nothing that decides.
//!
//! Stages execute numbered orders in the order in which they come. Closing the first channel shuts
//! the pipeline down, stage by stage.

pub mod error;
pub mod last_stage;
pub mod message;
#[expect(clippy::module_inception, reason = "the pipeline itself, beside what it is made of")]
pub mod pipeline;
mod rows;
pub mod stage;
mod stopwatch;
mod thread;

pub use error::{StageError, StageFailure};
pub use message::{MasksInTransit, Microbatch, PipelineEvent};
pub use pipeline::{MaskSender, Pipeline, PipelineConfig};
pub use stage::BeforeForward;
pub(crate) use thread::panic_message;
