//! The input of a shard: the flat, ragged batch of one step, and the ancestors before it.
//!
//! Plain data. The runtime's links make the tensors on the device where they arrive.

use std::ops::Range;

use candle_core::Tensor;

use sluicegate_spec::placed::Named;

/// A microbatch as a shard sees it. Rows follow one another without padding.
///
/// `tokens` is the sum of the rows' new tokens; a decode row has one, a prefill row many.
#[derive(Debug, Clone)]
pub struct Step {
    /// `[tokens]`, u32.
    pub tokens: Tensor,
    /// `[tokens]`, u32: absolute position of each token in its sequence, from zero.
    pub positions: Tensor,
    pub rows: Vec<StepRow>,
    /// Per KV group `[tokens]`, u32: the slot for each token's key and value.
    pub write_slots: Vec<Tensor>,
    /// `[logit rows]`, u32: the flat index of each token whose logits are wanted, in order; `None`
    /// if no row wants any. No index tensor is ever empty: a GPU accepts neither an allocation of
    /// no bytes nor a launch of no threads.
    pub logit_tokens: Option<Tensor>,
}

impl Named for Step {
    const NAME: &'static str = "order";
}

/// One sequence's part of a step.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// Its tokens on the flat axis.
    pub span: Range<usize>,
    /// Position of its first token: the number of earlier tokens of the sequence.
    pub past: usize,
    /// The location of its past and its new tokens, per KV group.
    pub tables: Vec<StepTable>,
}

/// The page table of one row in one KV group.
#[derive(Debug, Clone)]
pub struct StepTable {
    /// Position of the first slot; a window group has dropped the pages before it.
    pub first_position: usize,
    /// `[past + new tokens - first_position]`, u32: the slot of every position, new ones included.
    pub read_slots: Tensor,
}

/// Which row each row of the next step continues, and the tail pages to copy for that
/// (copy-on-write).
///
/// Rows share full pages through their page tables; only a partly filled last page is copied.
#[derive(Debug, Clone)]
pub struct Ancestors {
    /// Grows by one with every reorder that the scheduler sends.
    pub epoch: u64,
    /// `[rows]`, u32: index among the earlier rows.
    pub parents: Tensor,
    /// One entry per KV group; `None` where nothing is copied.
    pub copies: Vec<Option<PageCopies>>,
}

impl Named for Ancestors {
    const NAME: &'static str = "ancestors";
}

/// The tail pages of one KV group that are copied before rows write to them; at least one.
#[derive(Debug, Clone)]
pub struct PageCopies {
    /// `[earlier rows]`, u32: the page that each earlier row writes next.
    pub tail_pages: Tensor,
    /// `[copies]`, u32: the rows of the next step that need a page of their own.
    pub rows: Tensor,
    /// `[copies]`, u32: the page that each of them gets.
    pub target_pages: Tensor,
}

/// Activations between units: `[tokens, hidden]`, the model's compute type.
#[derive(Debug, Clone)]
pub struct Hidden(pub Tensor);

impl Named for Hidden {
    const NAME: &'static str = "hidden";
}

/// Output of the head: `[logit rows, vocab]`, f32.
#[derive(Debug, Clone)]
pub struct Logits(pub Tensor);

impl Named for Logits {
    const NAME: &'static str = "logits";
}
