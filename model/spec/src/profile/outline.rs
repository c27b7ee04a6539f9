//! The parts of a decoder that have a cost, for any family.
//!
//! Owns which tensors there are, and their shapes. Their sizes in bytes belong to `costing`.

use super::product;
use crate::{
    config::ModelConfig,
    family::{Differs, Family, HeadNorm, HeadNormWidth, LayerNorms, QkvBias},
    tensors::Role,
};

/// A decoder's sizes, layer by layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) hidden: u64,
    pub(super) num_heads: u64,
    pub(super) num_kv_heads: u64,
    pub(super) head_dim: u64,
    pub(super) vocab: u64,
    pub(super) max_positions: usize,
    /// Whether the head shares the embedding's weights.
    pub(super) tied: bool,
    pub(super) vectors: Vectors,
    pub(super) layers: Vec<LayerOutline>,
}

/// The vectors of every layer: norms and biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vectors {
    /// Norms as wide as the activations.
    pub(super) num_norms: u64,
    pub(super) head_norm: HeadNormWidth,
    pub(super) qkv_bias: QkvBias,
    pub(super) output_bias: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LayerOutline {
    /// How many positions a token attends to; `None` is all.
    pub(super) window: Option<usize>,
    pub(super) feed_forward: FeedForward,
}

/// The gated feed-forward block of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedForward {
    Dense { intermediate: u64 },
    Mixture(Mixture),
}

/// Experts of which each token uses some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mixture {
    pub(super) num_experts: u64,
    pub(super) num_active: u64,
    /// Width inside one expert.
    pub(super) intermediate: u64,
    /// Width inside the expert that every token uses, which has a gate of its own.
    pub(super) shared: Option<u64>,
}

/// A weight matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) purpose: Purpose,
    pub(super) num_rows: u64,
    pub(super) width: u64,
}

/// The purpose of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A role that also exists in the families that run here.
    Role(Role),
    /// Chooses the experts, or weights the shared one.
    Router,
    SharedExpert,
}

impl Matrix {
    fn new(purpose: Purpose, num_rows: u64, width: u64) -> Self {
        Self { purpose, num_rows, width }
    }

    pub(super) fn num_weights(&self) -> u64 {
        product(&[self.num_rows, self.width])
    }
}

impl Mixture {
    /// Returns the number of weights in one expert.
    pub(super) fn expert_weights(&self, hidden: u64) -> u64 {
        product(&[3, hidden, self.intermediate])
    }
}

impl FeedForward {
    /// Returns the width inside the block as used by one token.
    pub(super) fn active_width(&self) -> u64 {
        match self {
            Self::Dense { intermediate } => *intermediate,
            Self::Mixture(mixture) => product(&[mixture.num_active, mixture.intermediate])
                .saturating_add(mixture.shared.unwrap_or(0)),
        }
    }
}

impl Vectors {
    /// Returns the norms and biases of a layer. `has_bias` is the value of `attention_bias`.
    pub(super) fn of(family: &Family, has_bias: bool) -> Self {
        let mut vectors = Self {
            num_norms: match family.layer_norms {
                LayerNorms::Before => 2,
                LayerNorms::BeforeAndAfter => 4,
            },
            head_norm: match family.head_norm {
                HeadNorm::Absent => HeadNormWidth::Absent,
                HeadNorm::Present => HeadNormWidth::OneHead,
            },
            qkv_bias: family.qkv_bias,
            output_bias: false,
        };
        match family.differs {
            Differs::Nowhere => {}
            Differs::NumNorms(num_norms) => vectors.num_norms = num_norms,
            Differs::HeadNorm(head_norm) => vectors.head_norm = head_norm,
        }
        if has_bias {
            vectors.qkv_bias = QkvBias::Present;
            vectors.output_bias = true;
        }
        vectors
    }
}

impl Outline {
    /// Returns the outline of a model that runs here.
    pub(super) fn of(config: &ModelConfig) -> Self {
        let layer = |layer_idx: usize| LayerOutline {
            window: config.windows.get(layer_idx).copied().flatten(),
            feed_forward: FeedForward::Dense { intermediate: config.intermediate as u64 },
        };
        Self {
            hidden: config.hidden as u64,
            num_heads: config.num_heads as u64,
            num_kv_heads: config.num_kv_heads as u64,
            head_dim: config.head_dim as u64,
            vocab: config.vocab as u64,
            max_positions: config.max_positions,
            tied: config.tied,
            vectors: Vectors::of(Family::of(config.architecture), false),
            layers: (0..config.num_layers).map(layer).collect(),
        }
    }

    /// Returns the width of all queries of a token.
    pub(super) fn query_width(&self) -> u64 {
        product(&[self.num_heads, self.head_dim])
    }

    /// Returns the width of all keys, and of all values, of a token.
    pub(super) fn kv_width(&self) -> u64 {
        product(&[self.num_kv_heads, self.head_dim])
    }

    pub(super) fn embedding(&self) -> Matrix {
        Matrix::new(Purpose::Role(Role::Embedding), self.vocab, self.hidden)
    }

    pub(super) fn head(&self) -> Matrix {
        Matrix::new(Purpose::Role(Role::Head), self.vocab, self.hidden)
    }

    /// Returns the matrices of a layer that every token uses.
    pub(super) fn matrices(&self, layer: &LayerOutline) -> Vec<Matrix> {
        let (hidden, queries, keys) = (self.hidden, self.query_width(), self.kv_width());
        let mut matrices: Vec<Matrix> = [
            (Role::Query, queries, hidden),
            (Role::Key, keys, hidden),
            (Role::Value, keys, hidden),
            (Role::Output, hidden, queries),
        ]
        .map(|(role, num_rows, width)| Matrix::new(Purpose::Role(role), num_rows, width))
        .to_vec();
        match layer.feed_forward {
            FeedForward::Dense { intermediate } => matrices.extend([
                Matrix::new(Purpose::Role(Role::Gate), intermediate, hidden),
                Matrix::new(Purpose::Role(Role::Up), intermediate, hidden),
                Matrix::new(Purpose::Role(Role::Down), hidden, intermediate),
            ]),
            FeedForward::Mixture(mixture) => {
                matrices.push(Matrix::new(Purpose::Router, mixture.num_experts, hidden));
                if let Some(shared) = mixture.shared {
                    matrices.extend([
                        Matrix::new(Purpose::SharedExpert, product(&[3, shared]), hidden),
                        Matrix::new(Purpose::Router, 1, hidden),
                    ]);
                }
            }
        }
        matrices
    }

    /// Returns the number of elements in a layer's norms and biases.
    pub(super) fn vector_elements(&self) -> u64 {
        let (queries, keys) = (self.query_width(), self.kv_width());
        let head_norm = match self.vectors.head_norm {
            HeadNormWidth::Absent => 0,
            HeadNormWidth::OneHead => product(&[2, self.head_dim]),
            HeadNormWidth::AllHeads => queries.saturating_add(keys),
        };
        let qkv_bias = match self.vectors.qkv_bias {
            QkvBias::Absent => 0,
            QkvBias::Present => queries.saturating_add(product(&[2, keys])),
        };
        let output_bias = if self.vectors.output_bias { self.hidden } else { 0 };
        [product(&[self.vectors.num_norms, self.hidden]), head_norm, qkv_bias, output_bias]
            .into_iter()
            .fold(0, u64::saturating_add)
    }
}
