//! The integration tests, one binary.

mod beams;
mod gemma3;
mod ledger;
mod outlines_bug;
mod outputs;
mod sampling;
mod stages;
mod stamps;
mod tidy;
mod tokenizers;
