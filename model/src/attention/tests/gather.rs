//! Attention that gathers each row's pages, built from candle's operations: the reference for the
//! kernels.

use candle_core::{D, Result, Tensor};
use sluicegate_spec::kv::PAGE_TOKENS;

use crate::attention::Heads;
use crate::{
    cap::capped,
    kv_pages::LayerPages,
    step::{Step, StepRow},
};

/// See [`Heads::attend`].
pub(super) fn attend(
    heads: &Heads,
    queries: &Tensor,
    step: &Step,
    pages: &LayerPages,
) -> Result<Tensor> {
    let rows = step.rows.iter().enumerate();
    let outputs: Vec<Tensor> = rows
        .map(|(row_idx, row)| {
            let queries = queries.narrow(0, row.span.start, row.span.len())?;
            attend_row(heads, &queries, (row, &Table::read(step, row_idx, pages)?), pages)
        })
        .collect::<Result<_>>()?;
    Tensor::cat(&outputs, 0)
}

/// Where a row's keys and values are.
struct Table {
    first_position: usize,
    /// Of every position from the first one on.
    slots: Tensor,
}

impl Table {
    #[expect(clippy::disallowed_methods, reason = "a reference reads its tables")]
    fn read(step: &Step, row_idx: usize, pages: &LayerPages) -> Result<Self> {
        let tables = &step.tables[pages.group_idx];
        let numbers = |tensor: &Tensor| tensor.to_vec1::<u32>();
        let first_pages = numbers(&tables.first_pages)?;
        let first_position = numbers(&tables.first_positions)?[row_idx] as usize;
        let own = first_pages[row_idx] as usize..first_pages[row_idx + 1] as usize;
        let page_len = PAGE_TOKENS as u32;
        let slots = numbers(&tables.pages)?[own]
            .iter()
            .flat_map(|page| page * page_len..(page + 1) * page_len)
            .take(step.rows[row_idx].past + step.rows[row_idx].span.len() - first_position)
            .collect::<Vec<u32>>();
        Ok(Self { first_position, slots: Tensor::new(slots, pages.keys.device())? })
    }
}

fn attend_row(
    heads: &Heads,
    queries: &Tensor,
    (row, table): (&StepRow, &Table),
    pages: &LayerPages,
) -> Result<Tensor> {
    let Heads { num_heads, num_kv_heads, head_dim, .. } = *heads;
    let num_tokens = row.span.len();
    let queries = queries.reshape((num_tokens, num_heads, head_dim))?.transpose(0, 1)?;
    let gather = |pages: &Tensor| {
        let gathered = pages.index_select(&table.slots, 0)?.to_dtype(queries.dtype())?;
        let num_slots = gathered.dim(0)?;
        let per_kv_head =
            gathered.reshape((num_slots, num_kv_heads, head_dim))?.transpose(0, 1)?.unsqueeze(1)?;
        let shape = (num_kv_heads, num_heads / num_kv_heads, num_slots, head_dim);
        per_kv_head.broadcast_as(shape)?.contiguous()?.reshape((num_heads, num_slots, head_dim))
    };
    let keys = gather(&pages.keys)?;
    let scores = (queries.contiguous()?.matmul(&keys.t()?)? * heads.scale)?;
    let scores = match heads.cap {
        Some(cap) => capped(scores, cap)?,
        None => scores,
    };
    let hidden = hidden(heads, row, table, &scores)?.broadcast_as(scores.shape())?;
    let lowest = scores.zeros_like()?.affine(0.0, f64::NEG_INFINITY)?;
    let weights = candle_nn::ops::softmax(&hidden.where_cond(&lowest, &scores)?, D::Minus1)?;
    let output = weights.matmul(&gather(&pages.values)?)?;
    output.transpose(0, 1)?.contiguous()?.reshape((num_tokens, num_heads * head_dim))
}

/// Returns `[new tokens, slots]`, u8: the positions that each new token must not attend to.
fn hidden(heads: &Heads, row: &StepRow, table: &Table, scores: &Tensor) -> Result<Tensor> {
    let (_, num_tokens, num_slots) = scores.dims3()?;
    let positions = |first: usize, num: usize| {
        let first = u32::try_from(first).map_err(candle_core::Error::wrap)?;
        let num = u32::try_from(num).map_err(candle_core::Error::wrap)?;
        Tensor::arange(first, first + num, scores.device())
    };
    let seen = positions(table.first_position, num_slots)?.unsqueeze(0)?;
    let own = positions(row.past, num_tokens)?.unsqueeze(1)?;
    let later = seen.broadcast_gt(&own)?;
    let Some(window) = heads.window else { return Ok(later) };
    // A window of n hides positions n or more back.
    let reach = (seen + window as f64)?;
    let earlier = reach.broadcast_le(&own)?;
    later.maximum(&earlier)
}
