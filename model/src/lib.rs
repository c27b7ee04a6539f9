//! One decoder, sharded by layer range, on one device.
//!
//! Reads models from GGUF files and Hugging Face directories, and runs the units of a shard on the
//! device that holds them. Knows no stages and moves nothing between devices.

pub mod config;
pub mod error;
pub mod family;
pub mod placed;
pub mod step;
pub mod threads;
pub mod units;
pub mod weights;

pub mod shard;

mod attention;
mod decoder;
mod embedding;
pub mod kv_pages;
mod linear;
mod mlp;
mod norm;
mod rope;
mod rows;
mod simd;
