//! Runs the kernels of a CUDA program without a GPU.
//!
//! A [`Module`] is PTX text, as `cuModuleLoadData` takes it; a [`Kernel`] is read out of it when it
//! is first wanted. [`Kernel::launch`] executes a grid, block by block, a warp at a time: each
//! instruction in all lanes that are at it, those furthest behind first. Global memory is the
//! caller's, who may refuse any access. Knows no driver, no streams and no devices.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "instructions take a part of their operands"
)]

mod arith;
mod assigned;
mod block;
mod calls;
mod carry;
mod convert;
mod dataflow;
mod decode;
mod error;
mod fast;
mod float;
mod general;
mod inst;
mod kernel;
mod lanes;
mod launch;
mod lexer;
mod local;
mod matrix;
mod memory;
mod module;
mod moves;
mod order;
mod packed;
mod parser;
mod registers;
mod shared;
mod step;
mod types;
mod vector;
mod warp;

pub use error::{Fault, KernelError, LaunchError, ParseError, Use};
pub use kernel::{Kernel, Param};
pub use launch::Launch;
pub use memory::Memory;
pub use module::Module;
pub use order::Order;
