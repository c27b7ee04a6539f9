//! Attention over pages: `attention.cu`.

use candle_core::{
    CudaDevice, DType, Error, Result, Tensor, bail,
    cuda_backend::{
        CudaDType,
        cudarc::driver::{CudaFunction, CudaSlice, CudaView, DeviceRepr, PushKernelArg},
    },
};
use half::{bf16, f16};
use sluicegate_spec::kv::PAGE_TOKENS;

use super::{
    Cache,
    launch::{NULL, device, grid, int, room, tensor, view},
    loaded::{Functions, Kernels},
};
use crate::{
    heads::Heads,
    step::{Step, StepTables, TILE_TOKENS},
};

/// Query rows of a block, pairs of a token and a head, as `attention.cu` has them.
const BLOCK_ROWS: usize = 8;
/// Threads of a block, as there.
const THREADS: u32 = 128;
/// As many blocks as keep a large GPU busy: with fewer, contexts are divided.
const ENOUGH_BLOCKS: usize = 512;
/// Pages that are worth a block of their own.
const PART_PAGES: usize = 8;

/// How the work is divided over blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Division {
    /// Of query rows that share a key head, in each tile.
    row_blocks: usize,
    /// Of each context.
    parts: usize,
}

impl Division {
    /// Divides a step with this many tiles of at most `tile_tokens`, whose rows attend to `pages`
    /// pages at most.
    fn new(heads: &Heads, tiles: usize, tile_tokens: usize, pages: usize) -> Self {
        let group = heads.num_heads / heads.num_kv_heads;
        let row_blocks = (tile_tokens * group).div_ceil(BLOCK_ROWS);
        let blocks = (tiles * heads.num_kv_heads * row_blocks).max(1);
        let parts = pages.div_ceil(PART_PAGES).min(ENOUGH_BLOCKS.div_ceil(blocks)).max(1);
        Self { row_blocks, parts }
    }
}

impl Kernels {
    /// See [`Heads::attend`].
    pub(crate) fn attend(
        &self,
        heads: &Heads,
        queries: &Tensor,
        (step, group_idx): (&Step, usize),
        cache: Cache<'_>,
    ) -> Result<Tensor> {
        let functions = self.functions()?;
        let attention = Attention { functions, heads, step, group_idx, device: device(queries)? };
        match cache.keys.dtype() {
            DType::F16 => attention.run::<f16>(queries, cache),
            DType::BF16 => attention.run::<bf16>(queries, cache),
            _ => attention.run::<f32>(queries, cache),
        }
    }
}

struct Attention<'a> {
    functions: &'a Functions,
    heads: &'a Heads,
    step: &'a Step,
    group_idx: usize,
    device: CudaDevice,
}

/// Where parts of contexts go before they are joined.
struct Parts {
    sums: CudaSlice<f32>,
    /// Two numbers each.
    scales: CudaSlice<f32>,
}

impl Attention<'_> {
    fn run<T: CudaDType + DeviceRepr>(&self, queries: &Tensor, cache: Cache<'_>) -> Result<Tensor> {
        let Heads { num_heads, num_kv_heads, head_dim, .. } = *self.heads;
        let function = self.function(cache.keys.dtype())?;
        let (tokens, width) = queries.dims2()?;
        let (num_slots, kv_width) = cache.keys.dims2()?;
        if width != num_heads * head_dim
            || kv_width != num_kv_heads * head_dim
            || cache.values.dims() != cache.keys.dims()
            || self.step.positions.dims() != [tokens]
        {
            bail!("attention of {queries:?} over {num_slots} slots of {kv_width}");
        }
        let division = self.division();
        let (queries, queries_layout) = queries.storage_and_layout();
        let queries = view::<f32>(&queries, queries_layout)?;
        let guards = [cache.keys, cache.values].map(Tensor::storage_and_layout);
        let [keys, values] = guards.each_ref().map(|(storage, layout)| view::<T>(storage, layout));
        let mut output = room::<f32>(&self.device, tokens * width)?;
        let mut parts = (division.parts > 1)
            .then(|| Parts::new(&self.device, tokens * num_heads * division.parts, head_dim))
            .transpose()?;
        self.launch(
            function,
            (&queries, &keys?, &values?),
            (&mut output, parts.as_mut()),
            (division, num_slots / PAGE_TOKENS),
        )?;
        if let Some(Parts { sums, scales }) = &parts {
            let config = grid((int(tokens * num_heads)?, 1, 1), THREADS, 0)?;
            let (num_parts, head_dim) = (int(division.parts)?, int(head_dim)?);
            let stream = self.device.cuda_stream();
            let mut launch = stream.launch_builder(&self.functions.join_parts);
            launch.arg(sums).arg(scales).arg(&mut output).arg(&num_parts).arg(&head_dim);
            // SAFETY: the sizes are those of the memory, and all of the output is written.
            unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        }
        Ok(tensor(output, &self.device, (tokens, width)))
    }

    fn launch<T>(
        &self,
        function: &CudaFunction,
        (queries, keys, values): (&CudaView<'_, f32>, &CudaView<'_, T>, &CudaView<'_, T>),
        (output, parts): (&mut CudaSlice<f32>, Option<&mut Parts>),
        (division, num_pages): (Division, usize),
    ) -> Result<()> {
        let Heads { num_heads, num_kv_heads, head_dim, scale, cap, window } = *self.heads;
        let StepTables { first_pages, first_positions, pages, .. } =
            &self.step.tables[self.group_idx];
        let indices = [&self.step.positions, &self.step.tiles, first_pages, first_positions, pages];
        let guards = indices.map(Tensor::storage_and_layout);
        let indices: Vec<CudaView<'_, u32>> =
            guards.iter().map(|(storage, layout)| view(storage, layout)).collect::<Result<_>>()?;
        let blocks = (
            int(self.step.tiles.dim(0)?)?,
            int(num_kv_heads * division.row_blocks)?,
            int(division.parts)?,
        );
        let shared = (BLOCK_ROWS + PAGE_TOKENS) * (head_dim + 1) * size_of::<f32>();
        let config = grid(blocks, THREADS, shared)?;
        let sizes = [num_heads, num_kv_heads, head_dim, window.unwrap_or(0), num_pages];
        let sizes: Vec<u32> = sizes.into_iter().map(int).collect::<Result<_>>()?;
        #[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
        let (scale, cap) = (scale as f32, cap.unwrap_or(0.0) as f32);
        let stream = self.device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(queries).arg(keys).arg(values);
        for indices in &indices {
            launch.arg(indices);
        }
        launch.arg(output);
        match parts {
            Some(Parts { sums, scales }) => launch.arg(sums).arg(scales),
            None => launch.arg(&NULL).arg(&NULL),
        };
        for size in &sizes {
            launch.arg(size);
        }
        launch.arg(&scale).arg(&cap);
        // SAFETY: the sizes are those of the tensors, the kernel checks pages, and each row of the
        // output is written, since the tiles cover all tokens.
        unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        Ok(())
    }

    fn function(&self, dtype: DType) -> Result<&CudaFunction> {
        let head_dim = self.heads.head_dim;
        match &self.functions.attend {
            [narrow, _] if head_dim <= THREADS as usize => narrow.of(dtype),
            [_, wide] if head_dim <= 2 * THREADS as usize => wide.of(dtype),
            _ => bail!("attention has heads of up to 256 numbers on a GPU, not {head_dim}"),
        }
    }

    /// The host knows the rows, and need not ask the device.
    fn division(&self) -> Division {
        let rows = &self.step.rows;
        let tiles = rows.iter().map(|row| row.span.len().div_ceil(TILE_TOKENS)).sum();
        let tile_tokens = rows.iter().map(|row| row.span.len()).max().unwrap_or(0);
        let seen = |row: &crate::step::StepRow| {
            let end = row.past + row.span.len();
            end - self.heads.first_visible(row.past)
        };
        let pages = rows.iter().map(seen).max().unwrap_or(0).div_ceil(PAGE_TOKENS);
        Division::new(self.heads, tiles, tile_tokens.min(TILE_TOKENS), pages)
    }
}

impl Parts {
    fn new(device: &CudaDevice, num: usize, head_dim: usize) -> Result<Self> {
        Ok(Self { sums: room(device, num * head_dim)?, scales: room(device, 2 * num)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_divided_where_blocks_are_few() {
        let heads = Heads {
            num_heads: 32,
            num_kv_heads: 8,
            head_dim: 128,
            scale: 1.0,
            cap: None,
            window: None,
        };
        let division = |tiles, tile_tokens, pages| {
            let Division { row_blocks, parts } = Division::new(&heads, tiles, tile_tokens, pages);
            (row_blocks, parts)
        };
        assert_eq!(division(1, 1, 4), (1, 1), "a short context is not divided");
        assert_eq!(division(1, 1, 128), (1, 16));
        assert_eq!(division(1, 1, 10_000), (1, 64));
        assert_eq!(division(64, 1, 10_000), (1, 1), "many rows keep the GPU busy");
        assert_eq!(division(256, 8, 128), (4, 1), "as does a prompt");
    }
}
