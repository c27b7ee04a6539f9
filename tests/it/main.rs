//! The integration tests, one binary.

mod beams;
mod ledger;
mod outlines_bug;
mod outputs;
mod sampling;
mod stages;
mod stamps;
mod tidy;
