//! Memory that a unit takes while it runs.

use serde::{Deserialize, Serialize};

use super::product;
use crate::units::Bytes;

/// Memory that a unit needs while it runs and gives back after, at its peak.
///
/// With f32 activations and cache it is what this runtime's own passes hold on a CPU, in one
/// thread; each further thread of a stage may take `fixed_bytes` again. Else keys and values are
/// taken to be gathered, as on an accelerator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Activations, for each token of the microbatch.
    pub bytes_per_token: Bytes,
    /// One token's scores, and keys and values where they are gathered, for each position of the
    /// longest row. Rows attend one after another.
    pub bytes_per_position: Bytes,
    /// Logits, for each row that is sampled.
    pub bytes_per_row: Bytes,
    /// Where a row's past lies, for each of its positions.
    #[serde(default)]
    pub bytes_per_row_position: Bytes,
    /// Scratch memory of kernels and of the sampler, whatever the microbatch.
    #[serde(default)]
    pub fixed_bytes: Bytes,
}

/// The largest microbatch that a workspace is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// New tokens of all rows together.
    pub tokens: usize,
    pub rows: usize,
    /// Context of the longest row.
    pub positions: usize,
}

impl Workspace {
    /// Memory that a microbatch of this shape needs.
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
