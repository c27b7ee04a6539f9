//! The peak memory of a unit while it runs.
//!
//! Follows step by step what `shard.rs`, `decoder.rs`, `mlp.rs`, the attention and the kernels of
//! `linear` allocate and drop. A test measures the real peak (`tests/memory`).

use super::{
    Workspace,
    costing::Elements,
    outline::{LayerOutline, Outline},
    product,
};
use crate::{family::HeadNormWidth, units::Bytes};

/// The forward passes of a model's units.
#[derive(Clone, Copy)]
pub(super) struct Peak<'a> {
    pub(super) outline: &'a Outline,
    pub(super) elements: Elements,
    pub(super) num_kv_groups: usize,
}

/// How the matrices of a unit are stored, as far as it affects the kernels' memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// As f16 or bf16; the kernels convert them to f32.
    Half,
    Other,
}

/// The most rows of a half-precision matrix that one thread converts to f32 at a time.
const SCRATCH_ROWS: u64 = 64;
/// The visible positions of a new token, in a vector that may have doubled.
const VISIBLE_BYTES: u64 = 80;

impl Peak<'_> {
    pub(super) fn embed(&self) -> Workspace {
        // The rows before and after they are widened or scaled.
        let rows = self.activations(product(&[2, self.outline.hidden]));
        self.workspace(rows)
    }

    pub(super) fn layer(&self, layer: &LayerOutline, stored: Stored) -> Workspace {
        let outline = self.outline;
        let (hidden, queries, keys) = (outline.hidden, outline.query_width(), outline.kv_width());
        let inner = layer.feed_forward.active_width();
        let all = sum(&[queries, product(&[2, keys])]);
        let (query_norm, key_norm) = match outline.vectors.head_norm {
            HeadNormWidth::Absent => (0, 0),
            HeadNormWidth::OneHead | HeadNormWidth::AllHeads => (queries, keys),
        };
        let held = |elements: &[u64]| self.activations(sum(elements));
        let phases = [
            // The normed input, then queries, keys and values.
            sum(&[held(&[hidden]), self.product(hidden, all)]),
            held(&[all, key_norm, keys]),
            held(&[all, query_norm, queries]),
            sum(&[held(&[queries, queries]), VISIBLE_BYTES]),
            sum(&[held(&[queries]), self.product(queries, hidden)]),
            // The normed residual, then gate and up; their product; down; the new residual.
            sum(&[held(&[hidden]), self.product(hidden, product(&[2, inner]))]),
            held(&[inner, inner, inner]),
            sum(&[held(&[inner]), self.product(inner, hidden)]),
            held(&[hidden, hidden]),
        ];
        // Cosines and sines, of two rotary embeddings where windowed layers may have their own.
        let angles = product(&[outline.head_dim, self.num_kv_groups.min(2) as u64]);
        let most = phases.into_iter().max().unwrap_or(0);
        Workspace {
            bytes_per_position: Bytes(self.attention()),
            fixed_bytes: Bytes(match stored {
                Stored::Half => product(&[4, SCRATCH_ROWS, hidden.max(queries).max(inner)]),
                Stored::Other => 0,
            }),
            ..self.workspace(sum(&[held(&[hidden, angles]), most]))
        }
    }

    pub(super) fn head(&self) -> Workspace {
        let Outline { hidden, vocab, .. } = *self.outline;
        // The normed rows, then logits, twice: the sampler of a CPU reads a copy.
        let row = sum(&[
            self.activations(product(&[2, hidden])),
            input_bytes(hidden),
            product(&[2, 4, vocab]),
        ]);
        // The sampler's weights of one row, then each with its token and logit; and one bit per
        // token.
        let sampler = sum(&[product(&[8 + 16, vocab]), vocab / 8]);
        Workspace {
            bytes_per_row: Bytes(row),
            fixed_bytes: Bytes(sampler.max(product(&[4, SCRATCH_ROWS, hidden]))),
            ..self.workspace(self.activations(hidden))
        }
    }

    /// The index tensors of a step, which every unit has, plus `per_token`.
    fn workspace(&self, per_token: u64) -> Workspace {
        let num_groups = self.num_kv_groups as u64;
        Workspace {
            // Token, position, a tile of three numbers, and one slot per group.
            bytes_per_token: Bytes(sum(&[per_token, product(&[4, 5 + num_groups])])),
            // A page is four bytes, for 16 positions: rounded up to a byte for each.
            bytes_per_row_position: Bytes(num_groups),
            ..Workspace::default()
        }
    }

    /// Returns the bytes per position that a row attends to. Pages are read in place; one token's
    /// scores for the heads that share a key are kept, on a CPU.
    fn attention(&self) -> u64 {
        product(&[4, self.outline.num_heads.div_ceil(self.outline.num_kv_heads.max(1))])
    }

    /// Returns the bytes per token of a product with weights, without its input: the kernels' copy
    /// of the input, and the output.
    fn product(&self, width: u64, num_rows: u64) -> u64 {
        sum(&[input_bytes(width), self.activations(num_rows)])
    }

    fn activations(&self, elements: u64) -> u64 {
        product(&[elements, self.elements.hidden as u64])
    }
}

/// Returns the bytes of a quantised product input: 64 per block of 32.
fn input_bytes(width: u64) -> u64 {
    product(&[width.div_ceil(32), 64])
}

fn sum(terms: &[u64]) -> u64 {
    terms.iter().fold(0, |sum, term| sum.saturating_add(*term))
}
