//! The flow from a request to its text: placement, scheduling, stages and transfers.
//!
//! In reading order: a [`request::Request`] is admitted by the [`engine::Engine`], ordered by the
//! [`scheduler`], run by the [`pipeline`]'s stages, masked by the [`masker`], sampled by the
//! [`sampler`], and comes back as a [`stream::Generation`]. The [`placement`] decided beforehand
//! which device does what, and [`device`] is the only way from one to another.

pub mod device;
pub mod engine;
pub mod masker;
pub mod pipeline;
pub mod placement;
pub mod request;
pub mod sampler;
pub mod scheduler;
pub mod simulate;
pub mod stream;
pub mod timeline;
#[cfg(feature = "typed")]
pub mod typed;
pub mod vocabulary;

pub use engine::Engine;
pub use request::{Prompt, Request};
pub use stream::{Completion, Event, Generation, Output};
