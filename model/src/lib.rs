//! One decoder, sharded by layer range, on one device.
//!
//! Reads models from GGUF files and Hugging Face directories, and runs the units of a shard on the
//! device that holds them. Knows no stages and moves nothing between devices.

pub mod config;
pub mod cpu_features;
pub mod placed;
pub mod profile;
pub mod step;
pub mod units;
pub mod weights;
