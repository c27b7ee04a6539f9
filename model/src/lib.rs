//! One decoder, sharded by layer range, on one device.
//!
//! Reads models from GGUF files and Hugging Face directories, and runs the units of a shard on the
//! device that holds them. Knows no stages and moves nothing between devices.

pub mod source;
pub mod gguf;
pub mod mapped;
pub mod config;
pub mod weights;
pub mod tokenizer;
pub mod chat;
pub mod open;
pub mod profile;
pub mod units;
pub mod placed;
pub mod step;
pub mod family;
pub mod shard;
mod decoder;
mod embedding;
mod attention;
pub mod kv_pages;
mod rope;
mod mlp;
mod norm;
mod linear;
mod rows;
mod simd;
pub mod threads;
pub mod cpu_features;
pub mod error;
