//! The serving loop: what happens in, what is to be done out. It has no thread, clock or channel,
//! so the engine and the simulation run the same one, and nobody waits inside it.
//!
//! In reading order: an [`Admitted`] request comes as an [`Input`]; [`Serve::on`] takes it and says
//! what is to be done as [`Action`]s; what a caller gets of it are [`Event`]s.

mod action;
mod group;
mod grow;
mod input;
mod journal;
mod limits;
mod metrics;
mod output;
mod patience;
mod recovery;
mod request;
mod rounds;
mod running;
#[expect(clippy::module_inception, reason = "the loop itself, beside what it is made of")]
mod serve;
mod step;

pub use action::{Action, Stop};
pub use input::{Answer, Input, MatcherError};
pub use journal::{Journal, Line, ReplayError, Replayed, replay};
pub use limits::Limits;
pub use metrics::Metrics;
pub use output::{Event, MaskWait, Output, OutputId, RequestError, Timings, Usage};
pub use request::Admitted;
pub use serve::{Serve, ServeConfig};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
