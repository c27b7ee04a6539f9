//! Attention over pages: causal, windowed where the layer has a window, with shared key heads.
//!
//! Source: Vaswani et al. 2017, section 3.2; Ainslie et al. 2023 for shared key and value heads.

mod paged;
mod place;
#[cfg(test)]
mod tests;

pub use place::NewHeads;

pub use crate::heads::Heads;

use candle_core::{Result, Tensor};

use crate::{home::Executor, kernels::Cache, kv_pages::LayerPages, step::Step};

impl Heads {
    /// Attends from `queries`, `[tokens, heads * head_dim]`, to the pages of each row; the output
    /// has the same shape. The pages already contain the step's own keys and values.
    ///
    /// # Errors
    /// Queries, step and pages do not fit each other, or the device fails.
    pub fn attend(
        &self,
        queries: &Tensor,
        step: &Step,
        pages: &LayerPages,
        executor: &Executor,
    ) -> Result<Tensor> {
        if !queries.device().is_cpu() {
            let cache = Cache { keys: &pages.keys, values: &pages.values };
            return executor.kernels.attend(self, queries, (step, pages.group_idx), cache);
        }
        let tables = &step.tables[pages.group_idx];
        let threads = &executor.threads;
        let attention = paged::Paged { heads: self, rows: &step.rows, tables, threads };
        queries.apply_op3_no_bwd(&pages.keys, &pages.values, &attention)
    }
}
