//! In place of kernels, in a program without CUDA.

#![expect(clippy::unused_self, reason = "as where there are some")]

use candle_core::{DType, Device, Result, Tensor, bail};
use sluicegate_spec::family::Activation;

use super::{Cache, Placing, SamplingSizes};
use crate::{
    heads::Heads,
    step::{PageCopies, Step},
};

/// There are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernels(());

impl Kernels {
    #[expect(clippy::unnecessary_wraps, reason = "as where there are some")]
    pub(crate) fn load(_device: &Device) -> Result<Self> {
        Ok(Self(()))
    }

    pub(crate) fn rms_norm(
        &self,
        input: &Tensor,
        _delta: Option<&Tensor>,
        _norm: (&Tensor, f32),
        _to: DType,
    ) -> Result<(Option<Tensor>, Tensor)> {
        none_for(input)
    }

    pub(crate) fn select_rows(
        &self,
        table: &Tensor,
        _indices: &Tensor,
        _scale: f32,
    ) -> Result<Tensor> {
        none_for(table)
    }

    pub(crate) fn copy_tails(
        &self,
        parents: &Tensor,
        _copies: &PageCopies,
        _cache: Cache<'_>,
    ) -> Result<()> {
        none_for(parents)
    }

    pub(crate) fn angles(
        &self,
        positions: &Tensor,
        _frequencies: &Tensor,
        _magnitude: f32,
    ) -> Result<(Tensor, Tensor)> {
        none_for(positions)
    }

    pub(crate) fn gated(
        &self,
        both: &Tensor,
        _activation: Activation,
        _to: DType,
    ) -> Result<Tensor> {
        none_for(both)
    }

    pub(crate) fn place_heads(
        &self,
        _heads: &Heads,
        placing: &Placing<'_>,
        _cache: Cache<'_>,
    ) -> Result<Tensor> {
        none_for(placing.qkv)
    }

    pub(crate) fn sample(
        &self,
        logits: &Tensor,
        _orders: &Tensor,
        _valid: &Tensor,
        _sizes: SamplingSizes,
    ) -> Result<Tensor> {
        none_for(logits)
    }

    pub(crate) fn attend(
        &self,
        _heads: &Heads,
        queries: &Tensor,
        _step: (&Step, usize),
        _cache: Cache<'_>,
    ) -> Result<Tensor> {
        none_for(queries)
    }
}

fn none_for<T>(tensor: &Tensor) -> Result<T> {
    bail!("this program has no kernels for {:?}", tensor.device())
}
