//! Attention on a CPU that reads the pages in place.
//!
//! One thread computes one token of one head group over the visible positions in order. So the
//! result's bits depend on nothing else in the batch, nor on how a prompt was split into chunks.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};
use sluicegate_spec::kv::PAGE_TOKENS;

use super::Heads;
use crate::{
    cap::cap_all,
    kv_pages::Numbers,
    rows::Rows,
    simd::{F32x8, add_scaled, dot, exp},
    softmax::greatest,
    step::{StepRow, StepTables},
    threads::Threads,
};

/// The attention of one layer in one step.
pub(super) struct Paged<'a> {
    pub(super) heads: &'a Heads,
    pub(super) rows: &'a [StepRow],
    pub(super) tables: &'a StepTables,
    pub(super) threads: &'a Threads,
}

/// One new token and the positions that it attends to.
struct Token<'a> {
    /// Index on the flat token axis.
    flat: usize,
    visible: Visible<'a>,
}

/// The positions that a token attends to.
#[derive(Clone)]
struct Visible<'a> {
    /// The row's pages.
    pages: &'a [u32],
    /// Positions, counted from the first slot of the first page.
    positions: Range<usize>,
}

impl Visible<'_> {
    fn num(&self) -> usize {
        self.positions.len()
    }

    /// The slots of the positions, in order.
    fn slots(&self) -> impl Iterator<Item = usize> {
        let slot = |at| self.pages[at / PAGE_TOKENS] as usize * PAGE_TOKENS + at % PAGE_TOKENS;
        self.positions.clone().map(slot)
    }
}

/// Keys and values, `[slots, kv_heads * head_dim]` each.
struct Cache<'a> {
    keys: Numbers<'a>,
    values: Numbers<'a>,
    width: usize,
}

/// The past of one token for one key and value head.
struct Past<'a> {
    cache: &'a Cache<'a>,
    visible: &'a Visible<'a>,
    kv_head: usize,
}

impl CustomOp3 for Paged<'_> {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        queries: &CpuStorage,
        queries_layout: &Layout,
        keys: &CpuStorage,
        keys_layout: &Layout,
        values: &CpuStorage,
        values_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Heads { num_heads, num_kv_heads, head_dim, .. } = *self.heads;
        let queries = Rows::new(queries, queries_layout)?;
        let (num_slots, width) = keys_layout.shape().dims2()?;
        if queries.width != num_heads * head_dim || width != num_kv_heads * head_dim {
            bail!("attention of width {} over pages of width {width}", queries.width);
        }
        let cache = Cache {
            keys: Numbers::new(keys, keys_layout)?,
            values: Numbers::new(values, values_layout)?,
            width,
        };
        let StepTables { first_pages, first_positions, pages, .. } = self.tables;
        let guards = [first_pages, first_positions, pages].map(Tensor::storage_and_layout);
        let [first_pages, first_positions, pages] =
            guards.each_ref().map(|(storage, layout)| indices(storage, layout));
        let (first_pages, first_positions, pages) = (first_pages?, first_positions?, pages?);
        if pages.iter().any(|page| *page as usize >= num_slots / PAGE_TOKENS) {
            bail!("a page is out of range for {num_slots} slots");
        }
        let tokens = self.tokens(first_pages, first_positions, pages)?;
        if !tokens.iter().map(|token| token.flat).eq(0..queries.num) {
            bail!("rows do not cover the {} tokens of the step in order", queries.num);
        }
        let group = num_heads / num_kv_heads * head_dim;
        let mut output = vec![0.0; queries.num * queries.width];
        self.threads.for_chunks(&mut output, group, |item, output| {
            let (token, kv_head) = (&tokens[item / num_kv_heads], item % num_kv_heads);
            let queries = &queries.row(token.flat)[kv_head * group..][..group];
            let past = Past { cache: &cache, visible: &token.visible, kv_head };
            self.attend(queries, &past, output);
        });
        Ok((CpuStorage::F32(output), Shape::from((queries.num, queries.width))))
    }
}

fn indices<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [u32]> {
    let Storage::Cpu(storage) = storage else { bail!("page tables are not on the CPU") };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("page tables are not contiguous");
    };
    Ok(&storage.as_slice::<u32>()?[start..end])
}

impl Paged<'_> {
    /// Returns the new tokens of all rows, each with its visible positions.
    fn tokens<'s>(
        &self,
        first_pages: &[u32],
        first_positions: &[u32],
        pages: &'s [u32],
    ) -> Result<Vec<Token<'s>>> {
        if first_positions.len() != self.rows.len() || first_pages.len() != self.rows.len() + 1 {
            bail!("tables of {} rows for {}", first_positions.len(), self.rows.len());
        }
        let mut tokens = Vec::new();
        for ((row, first_position), ends) in
            self.rows.iter().zip(first_positions).zip(first_pages.windows(2))
        {
            let Some(pages) = pages.get(ends[0] as usize..ends[1] as usize) else {
                bail!("pages {ends:?} of {}", pages.len());
            };
            let first_position = *first_position as usize;
            let num_slots = (row.past + row.span.len()).checked_sub(first_position);
            if num_slots.map(|num| num.div_ceil(PAGE_TOKENS)) != Some(pages.len()) {
                bail!(
                    "{} pages from position {first_position} on, for {} earlier and {} new tokens",
                    pages.len(),
                    row.past,
                    row.span.len()
                );
            }
            for (i, flat) in row.span.clone().enumerate() {
                let position = row.past + i;
                let first_visible = self.heads.first_visible(position);
                let Some(start) = first_visible.checked_sub(first_position) else {
                    bail!(
                        "position {first_visible} is seen but the table starts at {first_position}"
                    );
                };
                let positions = start..position + 1 - first_position;
                tokens.push(Token { flat, visible: Visible { pages, positions } });
            }
        }
        Ok(tokens)
    }

    /// Attends with one token's query heads that share `kv_head`: `[group, head_dim]` to the same
    /// shape.
    fn attend(&self, queries: &[f32], past: &Past<'_>, output: &mut [f32]) {
        let Past { cache, visible, kv_head } = *past;
        let head_dim = self.heads.head_dim;
        let line = |slot: usize| {
            let start = slot * cache.width + kv_head * head_dim;
            start..start + head_dim
        };
        let mut room = vec![0.0; cache.keys.room(head_dim)];
        #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
        let scale = self.heads.scale as f32;
        let num = visible.num();
        let mut scores = vec![0.0; queries.len() / head_dim * num];
        for (i, slot) in visible.slots().enumerate() {
            let key = cache.keys.read(line(slot), &mut room);
            for (query, scores) in queries.chunks_exact(head_dim).zip(scores.chunks_exact_mut(num))
            {
                scores[i] = dot(query, key) * scale;
            }
        }
        if let Some(cap) = self.heads.cap {
            cap_all(&mut scores, cap);
        }
        for scores in scores.chunks_exact_mut(num) {
            softmax(scores);
        }
        for (i, slot) in visible.slots().enumerate() {
            let value = cache.values.read(line(slot), &mut room);
            for (output, scores) in output.chunks_exact_mut(head_dim).zip(scores.chunks_exact(num))
            {
                add_scaled(output, scores[i], value);
            }
        }
    }
}

/// Turns scores into weights that sum to one.
fn softmax(scores: &mut [f32]) {
    let highest = greatest(scores);
    for score in &mut *scores {
        *score = exp(*score - highest);
    }
    let (lanes, rest) = scores.as_chunks::<8>();
    let one = F32x8::splat(1.0);
    let sum = lanes.iter().fold(F32x8::ZERO, |sum, lane| F32x8::load(lane).mul_add(one, sum));
    let sum = rest.iter().fold(sum.sum(), |sum, score| sum + score);
    for score in scores {
        *score /= sum;
    }
}
