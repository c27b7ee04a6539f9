//! Our kernels for GPUs: what a layer does between its products, and the sampler.
//!
//! Each does what the loop of the same name does on a CPU. They are compiled when the crate is
//! (`build.rs`), and loaded once for a shard. An index that is out of range is a failed assertion of
//! the kernel: the call that comes next fails, and the process can use no GPU any more.

#[cfg(not(feature = "cuda"))]
mod absent;
#[cfg(feature = "cuda")]
mod attention;
#[cfg(feature = "cuda")]
mod launch;
#[cfg(feature = "cuda")]
mod layer;
#[cfg(feature = "cuda")]
mod loaded;
#[cfg(feature = "cuda")]
mod rows;
#[cfg(feature = "cuda")]
mod sampling;

#[cfg(not(feature = "cuda"))]
pub(crate) use absent::Kernels;
#[cfg(feature = "cuda")]
pub(crate) use loaded::Kernels;

use candle_core::Tensor;

/// The pages of a layer, `[pages * 16, kv_heads * head_dim]` each, of one type.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels read it"))]
pub(crate) struct Cache<'a> {
    pub(crate) keys: &'a Tensor,
    pub(crate) values: &'a Tensor,
}

/// Queries, keys and values of new tokens, and what becomes of them.
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels read all of it"))]
pub(crate) struct Placing<'a> {
    /// `[tokens, (heads + 2 * kv_heads) * head_dim]`, f32: queries, keys and values.
    pub(crate) qkv: &'a Tensor,
    /// `[head_dim]` each, f32, where heads are normed.
    pub(crate) query_norm: Option<&'a Tensor>,
    pub(crate) key_norm: Option<&'a Tensor>,
    pub(crate) eps: f32,
    /// `[tokens, rotated / 2]` each, f32.
    pub(crate) cos: &'a Tensor,
    pub(crate) sin: &'a Tensor,
    /// `[tokens]`, u32.
    pub(crate) write_slots: &'a Tensor,
}

/// What sampling needs room for.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only kernels read it"))]
pub(crate) struct SamplingSizes {
    pub(crate) num_rows: usize,
    /// Words of all that is found.
    pub(crate) num_found: usize,
}
