//! Stand-ins for NVIDIA's libraries: a CUDA program runs, unchanged, on GPUs that exist only in
//! memory.
//!
//! One shared library stands for the driver, the CUDA runtime, cuBLAS, cuRAND, NCCL and NVML. The variable
//! `SLUICEGATE_EMULATED_GPUS` describes the machine. Kernels are executed from their PTX, and
//! devices punish what hardware punishes: memory of another device or out of bounds, use after
//! free, contexts that are not current, work that is waited for by nobody. What it can show and what
//! not: `docs/gpu.md`. It is a test instrument, which no program of ours is linked with.

#![allow(
    clippy::cast_possible_truncation,
    reason = "results are rounded to the type in which they are kept"
)]
#![allow(clippy::many_single_char_names, reason = "matrices are called as BLAS calls them")]

mod abi;
mod counts;
mod error;
mod fat_binary;
mod installed;
mod machine;
mod memory;
mod mistakes;
mod nccl;
mod orders;
mod pinned;
mod product;
mod program;
mod queue;
mod races;
mod random;
mod work;
mod world;

pub use machine::{Fault, FaultKind, Machine, MachineError, Model, VARIABLE};
pub use mistakes::{Mistake, MistakeKind};
