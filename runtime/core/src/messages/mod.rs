//! What travels between the host and the stages, as plain data with one encoding.

pub mod batch;
pub mod ids;
pub mod masks;
pub mod params;
pub mod sampled;
pub mod sampling;
pub mod stamp;
pub mod times;
pub mod wire;

pub use batch::{AncestorsOrder, Batch, CopyOrder, RowOrder, StageBatch, TableOrder};
pub use ids::{GroupId, MicrobatchId, RequestId, SequenceId};
pub use masks::{MaskBits, MaskRow, Masks};
pub use params::{Method, Multinomial, Penalties, SamplingParams};
pub use sampled::{Choice, GroupChoices, RowError, Sampled, Token, TopToken};
pub use sampling::{GroupSampling, RandomKey, RowSampling, TokenCount};
pub use stamp::{MaskError, MaskRule, Stamp};
pub use times::{Interval, MaskTimes, StageTimes};

#[cfg(test)]
mod tests;
