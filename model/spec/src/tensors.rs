//! The roles of a model's tensors.

use crate::units::Unit;

/// The role of a tensor within its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// `[vocab, hidden]`: the embedding table.
    Embedding,
    /// `[vocab, hidden]`: the output head of an untied model.
    Head,
    /// `[hidden]`: the norm before the head.
    FinalNorm,
    /// `[hidden]`: before attention.
    InputNorm,
    /// `[hidden]`: after attention, before its residual (Gemma 3).
    PostAttentionNorm,
    /// `[hidden]`: before the feed-forward block.
    MlpNorm,
    /// `[hidden]`: after the feed-forward block, before its residual (Gemma 3).
    PostMlpNorm,
    /// `[heads * head_dim, hidden]`.
    Query,
    /// `[kv_heads * head_dim, hidden]`.
    Key,
    /// `[kv_heads * head_dim, hidden]`.
    Value,
    /// `[hidden, heads * head_dim]`.
    Output,
    /// `[heads * head_dim]` (Qwen 2).
    QueryBias,
    /// `[kv_heads * head_dim]` (Qwen 2).
    KeyBias,
    /// `[kv_heads * head_dim]` (Qwen 2).
    ValueBias,
    /// `[head_dim]` (Qwen 3, Gemma 3).
    QueryNorm,
    /// `[head_dim]` (Qwen 3, Gemma 3).
    KeyNorm,
    /// `[intermediate, hidden]`.
    Gate,
    /// `[intermediate, hidden]`.
    Up,
    /// `[hidden, intermediate]`.
    Down,
}

impl Role {
    /// Returns whether the tensor is the weight of an RMS norm.
    pub fn is_norm(self) -> bool {
        matches!(
            self,
            Self::FinalNorm
                | Self::InputNorm
                | Self::PostAttentionNorm
                | Self::MlpNorm
                | Self::PostMlpNorm
                | Self::QueryNorm
                | Self::KeyNorm
        )
    }
}

/// The address of one tensor of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId {
    pub unit: Unit,
    pub role: Role,
}
