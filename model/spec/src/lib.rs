//! A model before it is loaded: its units, its configuration, the headers of its files, and the
//! cost of each unit. Plain data read from files; no tensors.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        reason = "tests make small numbers of large ones"
    )
)]

mod architecture;
pub mod config;
pub mod device;
pub mod epoch;
pub mod error;
pub mod family;
pub mod files;
pub mod gguf;
pub mod kv;
pub mod lfs;
pub mod mapped;
pub mod names;
pub mod placed;
pub mod profile;
pub mod safetensors;
pub mod tensors;
pub mod tokens;
pub mod units;
