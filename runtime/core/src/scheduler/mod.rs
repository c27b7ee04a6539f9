//! Who runs next, on which pages. Pure: plain data in, plain data out; no tensor, device, clock,
//! thread, channel, file or log.
//!
//! Owns sequences, pages and beams. Knows no text and no grammar: the engine says which rows go on.

mod admission;
pub mod beam;
pub mod bounds;
mod chunk;
pub mod config;
pub mod depth;
mod filling;
mod forecast;
pub mod group;
mod lengths;
mod memory;
pub mod order;
pub mod pages;
mod prefix;
mod row;
#[expect(clippy::module_inception, reason = "the scheduler itself, beside what it is made of")]
pub mod scheduler;
pub mod stats;

pub use bounds::{OrderBounds, OutOfBounds};
pub use config::{AdmitError, SchedulerConfig};
pub use depth::Depth;
pub use group::{Child, GroupId, Job};
pub use order::{
    AncestorsOrder, CopyOrder, MicrobatchId, MicrobatchOrder, RowOrder, TableOrder, Turn,
};
pub use scheduler::Scheduler;
pub use stats::{PageStats, SchedulerStats};

#[cfg(test)]
mod tests;
