//! Who runs next, on which pages. Pure: plain data in, plain data out; no tensor, device, clock,
//! thread, channel, file or log.
//!
//! Owns groups of sequences and hands out their pages. Knows no grammar: who goes on, and with
//! which tokens, it is told.

mod admission;
pub mod bounds;
mod chunk;
pub mod config;
pub mod depth;
mod filling;
mod forecast;
pub mod group;
mod lengths;
mod ordering;
pub mod output;
#[expect(clippy::module_inception, reason = "the scheduler itself, beside what it is made of")]
pub mod scheduler;
pub mod stats;
mod step;

pub use bounds::{OrderBounds, OutOfBounds};
pub use config::{AdmitError, SchedulerConfig};
pub use depth::Depth;
pub use group::Job;
pub use output::{SampledGroup, SchedulerOutput};
pub use scheduler::Scheduler;
pub use stats::{PageStats, SchedulerStats};
pub use step::{Onward, StepOutcome};

#[cfg(test)]
mod tests;
