//! Runs one language model over all the GPUs of a machine, and lets through only the output that a
//! JSON Schema, a regex or a grammar allows. The one crate to embed.
//!
//! In reading order: a [`request::Request`] is admitted by the [`engine::Engine`], served by the
//! loop in [`serve`], ordered by its [`scheduler`], run by the [`pipeline`]'s stages, masked by the
//! [`masker`], sampled by the [`sampler`], and comes back as a [`stream::Generation`]. The
//! [`placement`] decided beforehand which device does what, and [`device`] is the only way from one
//! to another.

pub mod clock;
pub mod device;
pub mod engine;
pub mod masker;
pub mod pipeline;
pub mod sampler;
#[cfg(feature = "typed")]
pub mod typed;
pub mod vocabulary;

pub use engine::{
    Engine, OpenOptions,
    request::{self, Prompt, Request},
    stream::{self, Completion, Event, Generation, Output},
};
pub use sluicegate_constraint as constraint;
pub use sluicegate_core::{messages, scheduler, sequence, serve, simulate, timeline};
pub use sluicegate_model as model;
pub use sluicegate_placement as placement;
pub use sluicegate_spec as spec;
