//! Memory that a unit takes while it runs.

use serde::{Deserialize, Serialize};

use super::product;
use crate::units::Bytes;

/// Memory that a unit needs while it runs and gives back after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Activations, for each token of the microbatch.
    pub bytes_per_token: Bytes,
    /// Gathered keys and values and one token's scores, for each position of the longest row. Rows
    /// attend one after another.
    pub bytes_per_position: Bytes,
    /// Logits, for each row that is sampled.
    pub bytes_per_row: Bytes,
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
        let parts = [
            (self.bytes_per_token, shape.tokens),
            (self.bytes_per_position, shape.positions),
            (self.bytes_per_row, shape.rows),
        ];
        Bytes(parts.iter().fold(0, |sum: u64, (bytes, count)| {
            sum.saturating_add(product(&[bytes.0, *count as u64]))
        }))
    }
}
