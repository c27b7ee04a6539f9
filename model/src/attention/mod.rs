//! Attention over pages: causal, windowed where the layer has a window, with shared key heads.
//!
//! Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 for shared key and value heads.

mod gather;
mod paged;
#[cfg(test)]
mod tests;

use candle_core::{Result, Tensor};

use crate::{kv_pages::LayerPages, step::StepRow, threads::Threads};

/// The sizes of a layer's attention.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    pub(crate) num_heads: usize,
    pub(crate) num_kv_heads: usize,
    pub(crate) head_dim: usize,
    /// Factor of the scores.
    pub(crate) scale: f64,
    /// Soft cap of the scores: `cap * tanh(score / cap)`.
    pub(crate) cap: Option<f64>,
    /// How many positions a token attends to, itself included.
    pub(crate) window: Option<usize>,
}

impl Heads {
    /// Returns the first position that the token at `position` attends to.
    fn first_visible(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Attends from `queries`, `[tokens, heads * head_dim]`, to the pages of each row; the output
    /// has the same shape. The pages already contain the step's own keys and values.
    pub(crate) fn attend(
        &self,
        queries: &Tensor,
        rows: &[StepRow],
        pages: &LayerPages,
        threads: &Threads,
    ) -> Result<Tensor> {
        if queries.device().is_cpu() {
            let attention = paged::Paged { heads: self, rows, group_idx: pages.group_idx, threads };
            return queries.apply_op3_no_bwd(&pages.keys, &pages.values, &attention);
        }
        gather::attend(self, queries, rows, pages)
    }
}
