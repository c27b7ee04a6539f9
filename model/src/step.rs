//! The input of a shard: the flat, ragged batch of one step, and the ancestors before it.
//!
//! Plain data. The runtime's links make the tensors on the device where they arrive.

mod builder;

use std::ops::Range;

use candle_core::{DType, Tensor};

use sluicegate_spec::placed::Named;

pub use builder::{RowInput, StepBuilder, TableInput};

/// A microbatch as a shard sees it. Rows follow one another without padding.
///
/// `tokens` is the sum of the rows' new tokens; a decode row has one, a prefill row many. All its
/// tensors are parts of one, so that one upload carries them ([`StepBuilder::build`]).
#[derive(Debug, Clone)]
pub struct Step {
    /// `[tokens]`, u32.
    pub tokens: Tensor,
    /// `[tokens]`, u32: absolute position of each token in its sequence, from zero.
    pub positions: Tensor,
    /// On the host: what its loops need of the rows.
    pub rows: Vec<StepRow>,
    /// `[tiles, 3]`, u32: row, first token and number of tokens of runs of at most
    /// [`TILE_TOKENS`] tokens of one row, which together cover all tokens.
    pub tiles: Tensor,
    /// One per KV group.
    pub tables: Vec<StepTables>,
    /// `[logit rows]`, u32: the flat index of each token whose logits are wanted, in order; `None`
    /// if no row wants any. No index tensor is ever empty: a GPU accepts neither an allocation of
    /// no bytes nor a launch of no threads.
    pub logit_tokens: Option<Tensor>,
}

/// Tokens that a kernel of attention computes together, at most.
pub const TILE_TOKENS: usize = 8;

impl Named for Step {
    const NAME: &'static str = "order";
}

impl Step {
    /// Returns the bytes of its tensors.
    pub fn num_bytes(&self) -> usize {
        let tables = self.tables.iter().flat_map(|tables| {
            [&tables.write_slots, &tables.first_pages, &tables.first_positions, &tables.pages]
        });
        let flat = [&self.tokens, &self.positions, &self.tiles].into_iter();
        let elements = flat.chain(&self.logit_tokens).chain(tables).map(Tensor::elem_count);
        elements.sum::<usize>() * DType::U32.size_in_bytes()
    }
}

/// One sequence's part of a step.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// Its tokens on the flat axis.
    pub span: Range<usize>,
    /// Position of its first token: the number of earlier tokens of the sequence.
    pub past: usize,
}

/// Where the rows of a step have their keys and values, in one KV group.
///
/// Position `p` of row `r` is in page `pages[first_pages[r] + (p - first_positions[r]) / 16]`.
#[derive(Debug, Clone)]
pub struct StepTables {
    /// `[tokens]`, u32: the slot for each token's key and value.
    pub write_slots: Tensor,
    /// `[rows + 1]`, u32: where each row's pages begin in `pages`, and where the last row's end.
    pub first_pages: Tensor,
    /// `[rows]`, u32: position of the first slot of each row's first page; a window group has
    /// dropped the pages before it.
    pub first_positions: Tensor,
    /// Of all rows, u32: those of each row in the order of its positions, new ones included.
    pub pages: Tensor,
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

/// Activations between units: `[tokens, hidden]`, f32.
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
