//! The families as rows of one table: which leaf operations the decoder is built of.
//!
//! What a family is stands here and nowhere else; the forward pass never asks for it.

use crate::config::Architecture;

/// The leaf operations of a decoder family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    pub qkv_bias: QkvBias,
    pub head_norm: HeadNorm,
    pub layer_norms: LayerNorms,
    pub activation: Activation,
    pub embedding_scale: EmbeddingScale,
}

/// Whether queries, keys and values have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvBias {
    Absent,
    Present,
}

/// Whether each head's query and key are normalised before rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorm {
    Absent,
    Present,
}

/// Where a layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerNorms {
    /// Before attention and before the feed-forward block.
    Before,
    /// Also after each, before its residual is added.
    BeforeAndAfter,
}

/// The function of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The approximation of GELU by `tanh`.
    ///
    /// Source: Hendrycks and Gimpel 2016, section 2.
    GeluTanh,
}

/// What looked-up embeddings are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingScale {
    One,
    /// The square root of the hidden width, rounded to the type that the embedding is stored in.
    ///
    /// Source: `Gemma3TextScaledWordEmbedding` in transformers' `modeling_gemma3.py`.
    SqrtHidden,
}

const LLAMA: Family = Family {
    qkv_bias: QkvBias::Absent,
    head_norm: HeadNorm::Absent,
    layer_norms: LayerNorms::Before,
    activation: Activation::Silu,
    embedding_scale: EmbeddingScale::One,
};

const TABLE: [(Architecture, Family); 5] = [
    (Architecture::Llama, LLAMA),
    // Mistral differs from Llama in its windows, which the configuration holds.
    (Architecture::Mistral, LLAMA),
    (Architecture::Qwen2, Family { qkv_bias: QkvBias::Present, ..LLAMA }),
    (Architecture::Qwen3, Family { head_norm: HeadNorm::Present, ..LLAMA }),
    (
        Architecture::Gemma3,
        Family {
            head_norm: HeadNorm::Present,
            layer_norms: LayerNorms::BeforeAndAfter,
            activation: Activation::GeluTanh,
            embedding_scale: EmbeddingScale::SqrtHidden,
            ..LLAMA
        },
    ),
];

impl Family {
    /// The row of an architecture.
    pub fn of(architecture: Architecture) -> Self {
        TABLE
            .iter()
            .find(|(row, _)| *row == architecture)
            .map(|(_, family)| *family)
            .expect("every architecture has a row: the test below looks them all up")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_its_own_row() {
        use Architecture::{Gemma3, Llama, Mistral, Qwen2, Qwen3};
        for architecture in [Llama, Mistral, Qwen2, Qwen3, Gemma3] {
            // The match fails to compile when an architecture is added without a line here.
            match architecture {
                Llama | Mistral | Qwen2 | Qwen3 | Gemma3 => {}
            }
            assert_eq!(TABLE.iter().filter(|(row, _)| *row == architecture).count(), 1);
            let _ = Family::of(architecture);
        }
    }
}
