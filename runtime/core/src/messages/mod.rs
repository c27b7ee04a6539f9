//! What travels between the host and the stages, as plain data.

pub mod batch;
pub mod ids;
pub mod params;
pub mod sampled;
pub mod sampling;
pub mod stamp;

pub use batch::{
    AncestorsOrder, CopyOrder, MicrobatchOrder, RowOrder, SampledGroup, TableOrder, Turn,
};
pub use ids::{GroupId, MicrobatchId, RequestId, SequenceId};
pub use params::{Method, Multinomial, Penalties, SamplingParams};
pub use sampled::{Choice, GroupChoices, Likely, RowError, Sampled};
pub use sampling::{GroupSampling, RandomKey, RowSampling, TokenCount};
pub use stamp::{MaskError, MaskRule, Stamp};
