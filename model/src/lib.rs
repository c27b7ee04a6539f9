//! One decoder, sharded by layer range, on one device.
//!
//! Reads weights and tokenizers from GGUF files and Hugging Face directories, and runs the units of
//! a shard on the device that holds them. Knows no stages and moves nothing between devices.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "tests make small numbers of large ones"
    )
)]

/// NVIDIA's libraries; naming the crate here links it in.
#[cfg(feature = "cuda")]
pub use sluicegate_cuda as cuda;

pub mod attention;
mod cap;
pub mod chat;
pub mod cpu_features;
mod decoder;
mod embedding;
pub mod error;
mod heads;
pub mod home;
mod kernels;
pub mod kv_pages;
pub mod linear;
pub mod mlp;
pub mod norm;
pub mod open;
pub mod rope;
mod rows;
pub mod sampling;
pub mod shard;
mod simd;
pub mod softmax;
pub mod source;
pub mod step;
pub mod threads;
pub mod tokenizer;
#[cfg(test)]
mod warnings;
pub mod weights;
