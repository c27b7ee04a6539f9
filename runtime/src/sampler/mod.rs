//! From logits to tokens, at the last stage: penalties, then the mask, then the draw.
//!
//! Pure functions over plain slices. Knows no device, no channel and no grammar.

pub mod draw;
pub mod mask;
pub mod order;
pub mod params;
pub mod row;
pub mod sample;

pub use mask::{MaskBits, MaskError, MaskRow, MaskRule, Stamp};
pub use order::{GroupSampling, RandomKey, RowSampling, TokenCount};
pub use params::{Method, Multinomial, Penalties, SamplingParams};
pub use sample::{Choice, GroupChoices, Likely, RowError, Sampler};
