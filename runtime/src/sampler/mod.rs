//! From logits to tokens, at the last stage: penalties, then the mask, then the draw.
//!
//! Pure functions over plain slices. Knows no device, no channel and no grammar.

pub mod draw;
pub mod mask;
pub mod row;
pub mod sample;

pub use mask::{MaskBits, MaskRow};
pub use sample::Sampler;
pub use sluicegate_core::messages::{
    Choice, GroupChoices, GroupSampling, Likely, MaskError, MaskRule, Method, Multinomial,
    Penalties, RandomKey, RowError, RowSampling, SamplingParams, Stamp, TokenCount,
};
