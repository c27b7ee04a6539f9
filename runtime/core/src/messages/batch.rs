//! What stages execute: batches of rows, and before them the reorders that they depend on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use super::{
    ids::{GroupId, MicrobatchId},
    sampling::GroupSampling,
    times::StageTimes,
    wire::{Message, MessageKind, words},
};
use crate::timeline::MicrobatchNote;

/// One microbatch: the rows that travel the pipeline together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub microbatch: MicrobatchId,
    /// Executed before the rows.
    pub ancestors: Vec<AncestorsOrder>,
    pub rows: Vec<RowOrder>,
    /// The groups whose rows are sampled, in the order of their logit rows.
    pub sampling: Vec<GroupSampling>,
}

/// A batch on its way: what a stage gets in band, together with the hidden values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageBatch {
    /// Which life of the pipeline it belongs to; a restarted pipeline has the next one.
    pub incarnation: u32,
    pub batch: Arc<Batch>,
    /// When each stage so far worked on it; none where its device is still at work.
    pub times: Vec<Option<StageTimes>>,
}

impl Message for StageBatch {
    const KIND: MessageKind = MessageKind::Batch;
}

impl Batch {
    pub fn num_tokens(&self) -> usize {
        self.rows.iter().map(|row| row.tokens.len()).sum()
    }

    /// What a timeline says of it.
    pub fn note(&self) -> MicrobatchNote {
        // Rows that bring one token, which is sampled from.
        let decodes = |row: &&RowOrder| row.tokens.len() == 1 && row.wants_logits;
        MicrobatchNote {
            microbatch: self.microbatch.0,
            tokens: self.num_tokens(),
            decoding_rows: self.rows.iter().filter(decodes).count(),
        }
    }
}

/// One sequence's new tokens and where its cache lies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowOrder {
    pub group: GroupId,
    #[serde(with = "words")]
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
    #[serde(with = "words")]
    pub pages: Arc<Vec<u32>>,
}

/// Which earlier row each row of a group continues, and the pages that are copied on write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AncestorsOrder {
    pub group: GroupId,
    /// Counts up by one over all groups.
    pub epoch: u64,
    #[serde(with = "words")]
    pub parents: Vec<u32>,
    /// Per KV group.
    pub copies: Vec<CopyOrder>,
}

/// Pages of one KV group that are copied on write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyOrder {
    /// The page that each earlier row would write next.
    #[serde(with = "words")]
    pub tail_pages: Vec<u32>,
    /// The rows of the next step that get a page of their own.
    #[serde(with = "words")]
    pub rows: Vec<u32>,
    /// The page that each of them gets.
    #[serde(with = "words")]
    pub target_pages: Vec<u32>,
}
