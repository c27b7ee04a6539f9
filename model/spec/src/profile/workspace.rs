//! The memory of a unit while it runs.

use serde::{Deserialize, Serialize};

use super::product;
use crate::units::Bytes;

/// The peak memory that a unit needs while it runs and frees afterwards.
///
/// With f32 activations these are the figures of this runtime's own passes on a CPU with one thread;
/// each further thread of a stage may need `fixed_bytes` again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Activations, per token of the microbatch.
    pub bytes_per_token: Bytes,
    /// One token's scores, per position of the longest row.
    pub bytes_per_position: Bytes,
    /// Logits, per sampled row.
    pub bytes_per_row: Bytes,
    /// The page tables of a row, per position.
    #[serde(default)]
    pub bytes_per_row_position: Bytes,
    /// Scratch memory of kernels and of the sampler, independent of the microbatch.
    #[serde(default)]
    pub fixed_bytes: Bytes,
}

/// The largest microbatch for which a workspace is sized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// New tokens of all rows together.
    pub tokens: usize,
    pub rows: usize,
    /// Context of the longest row.
    pub positions: usize,
}

impl Workspace {
    /// Returns the memory that a microbatch of this shape needs.
    pub fn bytes(&self, shape: BatchShape) -> Bytes {
        let BatchShape { tokens, rows, positions } = shape;
        let parts = [
            (self.bytes_per_token, tokens),
            (self.bytes_per_position, positions),
            (self.bytes_per_row, rows),
            (self.bytes_per_row_position, rows.saturating_mul(positions)),
            (self.fixed_bytes, 1),
        ];
        Bytes(parts.iter().fold(0, |sum: u64, (bytes, count)| {
            sum.saturating_add(product(&[bytes.0, *count as u64]))
        }))
    }
}
