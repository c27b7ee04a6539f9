//! What the scheduler decides: numbered orders.

use std::{ops::Range, sync::Arc};

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use super::ids::{GroupId, MicrobatchId};
use crate::timeline::MicrobatchNote;

/// One turn of the scheduler: a microbatch, and before it the reorders that it depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    pub ancestors: Vec<AncestorsOrder>,
    pub microbatch: MicrobatchOrder,
}

/// The rows that travel the pipeline together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MicrobatchOrder {
    pub id: MicrobatchId,
    pub rows: Vec<RowOrder>,
    /// The groups whose rows are sampled, in the order of their logit rows.
    pub sampled: Vec<SampledGroup>,
}

impl MicrobatchOrder {
    pub fn num_tokens(&self) -> usize {
        self.rows.iter().map(|row| row.tokens.len()).sum()
    }

    /// Rows that bring one token, which is sampled from.
    pub fn num_decoding_rows(&self) -> usize {
        self.rows.iter().filter(|row| row.tokens.len() == 1 && row.wants_logits).count()
    }

    /// What a timeline says of it.
    pub fn note(&self) -> MicrobatchNote {
        MicrobatchNote {
            microbatch: self.id.0,
            tokens: self.num_tokens(),
            decoding_rows: self.num_decoding_rows(),
        }
    }
}

/// A group that samples in this microbatch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampledGroup {
    pub group: GroupId,
    /// Its rows among the logit rows of the microbatch.
    pub logit_rows: Range<usize>,
    /// Tokens that each of its rows has generated so far.
    pub step: u32,
    /// How often the group's rows were reordered so far; masks carry it.
    pub epoch: u64,
}

/// One sequence's new tokens and where its cache lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowOrder {
    pub group: GroupId,
    pub tokens: Vec<TokenId>,
    /// Position of the first token.
    pub position: usize,
    /// Per KV group.
    pub tables: Vec<TableOrder>,
    /// Whether the logits of the last token are wanted.
    pub wants_logits: bool,
}

/// A page table in an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableOrder {
    pub first_position: usize,
    /// Shared with the sequence, which copies them only if it grows while an order holds them.
    pub pages: Arc<Vec<u32>>,
}

/// Which earlier row each row of a group continues, and the tail pages that must be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AncestorsOrder {
    pub group: GroupId,
    /// Counts up by one over all groups.
    pub epoch: u64,
    pub parents: Vec<u32>,
    /// Per KV group.
    pub copies: Vec<CopyOrder>,
}

/// Tail pages to copy in one KV group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOrder {
    /// The page that each earlier row would write next.
    pub tail_pages: Vec<u32>,
    /// The rows of the next step that get a page of their own.
    pub rows: Vec<u32>,
    /// The page that each of them gets.
    pub target_pages: Vec<u32>,
}
