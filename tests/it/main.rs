//! The integration tests, one binary.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may fail where it stands, and its numbers are small"
)]

mod beams;
mod cores;
mod corpus;
mod gemma3;
mod isolation;
mod kv_types;
mod ledger;
mod masker;
mod odd_models;
mod oracle;
mod outlines_bug;
mod outputs;
mod predictions;
mod profiles;
mod replays;
mod sampling;
mod seeds;
mod serving;
mod soak;
mod stages;
mod stamps;
mod suite;
mod tidy;
mod timelines;
mod tokenizers;
mod typed;
mod vocabulary;
