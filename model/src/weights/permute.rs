//! Restores the order of interleaved rotary rows.
//!
//! llama.cpp's converter reorders the rows of queries and keys of `llama` files so that the two
//! halves of a rotary pair are neighbours. Whole rows move, so quantised blocks stay whole. Source:
//! `permute` in `convert_hf_to_gguf.py` of llama.cpp.

use std::io;

use sluicegate_spec::{gguf::StoredKind, mapped::TensorBytes};

/// The rows of one matrix (or the elements of one bias), per head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RotaryRows {
    num_heads: usize,
    /// Rows in half a head.
    half: usize,
    row_bytes: usize,
}

impl RotaryRows {
    /// Checks that the rows form heads with two halves.
    ///
    /// # Errors
    /// The nearest valid shape.
    pub(super) fn new(
        shape: &[usize],
        kind: StoredKind,
        num_heads: usize,
    ) -> Result<Self, Vec<usize>> {
        let row_len: usize = shape.iter().skip(1).product();
        let pairs = num_heads.max(1) * 2;
        let rows = shape.first().copied().unwrap_or(0);
        if !rows.is_multiple_of(pairs) || !row_len.is_multiple_of(kind.block_len()) {
            let mut wanted = shape.to_vec();
            if let Some(rows) = wanted.first_mut() {
                *rows = rows.next_multiple_of(pairs);
            }
            return Err(wanted);
        }
        let row_bytes = row_len / kind.block_len() * kind.block_bytes();
        Ok(Self { num_heads, half: rows / pairs, row_bytes })
    }

    /// Returns a copy of the rows in Hugging Face's order.
    pub(super) fn restore(self, interleaved: &[u8]) -> io::Result<TensorBytes> {
        let Self { num_heads, half, row_bytes } = self;
        TensorBytes::copied(interleaved.len(), |restored| {
            for (target, row) in restored.chunks_exact_mut(row_bytes).enumerate() {
                let (head, in_head) = (target / (2 * half), target % (2 * half));
                debug_assert!(head < num_heads, "rows were counted per head");
                let (part, pair) = (in_head / half, in_head % half);
                let source = head * 2 * half + 2 * pair + part;
                row.copy_from_slice(&interleaved[source * row_bytes..][..row_bytes]);
            }
        })
    }
}
