//! One decoder, sharded by layer range, on one device.
//!
//! Reads models from GGUF files and Hugging Face directories, and runs the units of a shard on the
//! device that holds them. Knows no stages and moves nothing between devices.

pub mod chat;
pub mod config;
pub mod error;
pub mod gguf;
pub mod mapped;
pub mod open;
pub mod placed;
pub mod source;
pub mod step;
pub mod tokenizer;
pub mod units;
pub mod weights;
