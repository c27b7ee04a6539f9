//! NVIDIA's libraries, found and loaded when they are first needed.
//!
//! cudarc, as candle builds it, links to the driver, cuBLAS, cuRAND and the CUDA runtime, and a
//! program that is linked to them does not start where one is missing. So this crate defines the
//! functions that are linked to: each jumps to where [`load`] found the library's own one, and
//! fails with an error before that. A program with CUDA starts anywhere, and finds the libraries
//! itself, those in Python packages, too (`docs/adr/0007-cuda-loaded-when-needed.md`).
//!
//! Owns the search, the table of functions, and what the kernels that are linked in were compiled
//! for. It calls nothing on a device.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod fat_binary;
mod image;
mod import;
mod kernels;
mod load;
mod search;

pub use image::{Capability, Image, ImageError, check_images};
pub use kernels::linked_images;
pub use load::{LoadError, Loaded, load};
