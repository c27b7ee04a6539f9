//! Kernels, written for these tests and those of candle, against what the host computes.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "tests take a part of their operands"
)]

mod calls;
mod candle;
mod cases;
mod checks;
mod control;
mod dense;
mod edges;
mod faults;
mod matrix;
mod operations;
mod packed;
mod quantised;
mod rows;
mod support;
