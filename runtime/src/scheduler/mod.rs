//! Who runs next, on which pages. Pure: plain data in, plain data out; no tensor, device, clock,
//! thread, channel, file or log.
//!
//! Owns sequences, pages and beams. Knows no text and no grammar: the engine says which rows go on.

pub mod beam;
pub mod config;
pub mod group;
pub mod order;
pub mod pages;
#[expect(clippy::module_inception, reason = "the scheduler itself, beside what it is made of")]
pub mod scheduler;

pub use config::{AdmitError, SchedulerConfig};
pub use group::{Child, GroupId, Job};
pub use order::{
    AncestorsOrder, CopyOrder, MicrobatchId, MicrobatchOrder, RowOrder, TableOrder, Turn,
};
pub use scheduler::Scheduler;

#[cfg(test)]
mod tests;
