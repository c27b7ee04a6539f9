//! Finds and loads NVIDIA's libraries when they are first needed.
//!
//! cudarc, as candle builds it, links to the driver, cuBLAS, cuRAND and the CUDA runtime, and a
//! program linked to them does not start if one is missing. So this crate defines the linked
//! functions itself. Each jumps to the library's own function once [`load`] has found it, and fails
//! with an error before that. A program with CUDA support starts anywhere, and finds the libraries
//! itself, even in Python packages (`docs/adr/0007-cuda-loaded-when-needed.md`).
//!
//! Owns the search, the table of functions, and the list of devices for which the linked kernels
//! were compiled. Of the functions it calls none but those of [`nccl`], which nothing is linked to.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod fat_binary;
mod image;
mod import;
mod kernels;
mod load;
pub mod nccl;
mod search;

pub use image::{Capability, Image, ImageError, check_images};
pub use kernels::linked_images;
pub use load::{LoadError, Loaded, load};
