//! Where the heads of new tokens go.

use candle_core::{Result, Tensor};

use super::Heads;
use crate::{
    home::Executor,
    kernels::{Cache, Placing},
    kv_pages::LayerPages,
    norm::{RmsNorm, normed},
    rope::Angles,
};

/// What is done with the heads of new tokens before they are attended from and to.
#[derive(Clone, Copy)]
pub struct NewHeads<'a> {
    pub heads: &'a Heads,
    /// Of each head, where queries are normed.
    pub query_norm: Option<&'a RmsNorm>,
    pub key_norm: Option<&'a RmsNorm>,
    /// Of the tokens' positions.
    pub angles: &'a Angles,
    /// `[tokens]`, u32.
    pub write_slots: &'a Tensor,
}

impl NewHeads<'_> {
    /// Takes `[tokens, (heads + 2 * kv_heads) * head_dim]`, f32: queries, keys and values. Norms and
    /// rotates queries and keys, writes keys and values to their slots, and returns the queries,
    /// `[tokens, heads * head_dim]`.
    ///
    /// # Errors
    /// Sizes do not fit, the device fails, or, on a CPU, a slot is out of range. On a GPU that fails
    /// a later call.
    pub fn place(&self, qkv: &Tensor, pages: &LayerPages, executor: &Executor) -> Result<Tensor> {
        if !qkv.device().is_cpu() {
            let eps = self.query_norm.or(self.key_norm).map_or(0.0, RmsNorm::eps);
            let placing = Placing {
                qkv,
                query_norm: self.query_norm.map(RmsNorm::weight),
                key_norm: self.key_norm.map(RmsNorm::weight),
                eps,
                cos: &self.angles.cos,
                sin: &self.angles.sin,
                write_slots: self.write_slots,
            };
            let cache = Cache { keys: &pages.keys, values: &pages.values };
            return executor.kernels.place_heads(self.heads, &placing, cache);
        }
        let Heads { num_heads, num_kv_heads, head_dim, .. } = *self.heads;
        let (query_width, kv_width) = (num_heads * head_dim, num_kv_heads * head_dim);
        let keys = normed(self.key_norm, qkv.narrow(1, query_width, kv_width)?)?;
        let values = qkv.narrow(1, query_width + kv_width, kv_width)?;
        pages.write(&self.angles.rotate(&keys)?, &values, self.write_slots)?;
        drop(keys);
        self.angles.rotate(&normed(self.query_norm, qkv.narrow(1, 0, query_width)?)?)
    }
}
