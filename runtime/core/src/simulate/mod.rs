//! The production serving loop under a virtual clock: what would happen, and whether it is right.
//!
//! Orders are made by [`Serve`](crate::serve::Serve) and executed by stages that take the time that
//! a [`Timing`] says. With shadow pages a stage also computes: each token's value is written at its
//! slot and read back through the order's page tables, so that a wrong page, ancestor, order or
//! stale copy changes the text, which [`alone`] knows from plain vectors. Pure: the clock is a
//! queue of events.

mod clock;
mod driver;
mod error;
mod fault;
mod full;
mod host;
mod last_stage;
mod matchers;
mod pipeline;
mod planned;
mod reference;
mod request;
mod run;
mod shadow;
mod timing;
mod value;
mod waits;

pub use driver::{MaskStart, Setup, simulate};
pub use error::SimulationError;
pub use fault::Fault;
pub use planned::Planned;
pub use reference::{Alone, alone};
pub use request::{Constraint, JumpForward, Search, SimulatedRequest};
pub use run::{EndReason, Full, RequestEnd, Run};
pub use timing::{Timing, Uniform};

#[cfg(test)]
mod admission_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod interleaving_tests;
#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
