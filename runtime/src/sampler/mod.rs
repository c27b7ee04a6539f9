//! From logits to tokens, at the last stage: penalties, then the mask, then the draw.
//!
//! Pure functions over plain slices, and, where a GPU samples, over what goes there and comes back.
//! Knows no device, no channel and no grammar.

pub mod draw;
pub mod mask;
pub mod orders;
pub mod outcome;
pub mod row;
pub mod sample;

pub use sample::Sampler;
pub use sluicegate_core::messages::{
    Choice, GroupChoices, GroupSampling, MaskBits, MaskError, MaskRow, MaskRule, Method,
    Multinomial, Penalties, RandomKey, RowError, RowSampling, SamplingParams, Stamp, Token,
    TokenCount, TopToken,
};
