//! Matrices that files store as one tensor, one below the other.
//!
//! Rows consist of whole blocks, so the rows of one matrix are a span of the tensor's bytes, and
//! nothing is copied.

use std::ops::Range;

use sluicegate_spec::{config::ModelConfig, family::Family, gguf::StoredKind, tensors::Role};

/// One matrix of a tensor with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Rows of the matrices above it.
    rows_before: usize,
    num_rows: usize,
    /// Rows of all matrices of the tensor.
    num_all_rows: usize,
    width: usize,
}

impl Part {
    /// Finds the matrix of a role; `None` if the family's files store it by itself.
    pub(super) fn of(role: Role, family: &Family, config: &ModelConfig) -> Option<Self> {
        let roles = family.fused_roles(role)?;
        let rows = |roles: &[Role]| roles.iter().map(|role| num_rows(*role, config)).sum();
        let before = roles.split(|other| *other == role).next().unwrap_or_default();
        Some(Self {
            rows_before: rows(before),
            num_rows: num_rows(role, config),
            num_all_rows: rows(roles),
            width: config.hidden,
        })
    }

    /// Returns the shape that the whole tensor must have.
    pub(super) fn whole(self) -> [usize; 2] {
        [self.num_all_rows, self.width]
    }

    pub(super) fn shape(self) -> [usize; 2] {
        [self.num_rows, self.width]
    }

    /// Returns the matrix' bytes among those of a tensor of the right shape, whose rows are whole
    /// blocks.
    pub(super) fn span(self, kind: StoredKind) -> Range<usize> {
        let row_bytes = self.width / kind.block_len() * kind.block_bytes();
        let start = self.rows_before * row_bytes;
        start..start + self.num_rows * row_bytes
    }
}

/// Returns the rows of a matrix that reads the layer's input.
fn num_rows(role: Role, config: &ModelConfig) -> usize {
    match role {
        Role::Query => config.num_heads * config.head_dim,
        Role::Key | Role::Value => config.num_kv_heads * config.head_dim,
        Role::Gate | Role::Up => config.intermediate,
        _ => unreachable!("families fuse only matrices that read a layer's input"),
    }
}
