//! Norms, heads and pages, gated activations: `layer.cu`.

use candle_core::{
    DType, Error, Result, Tensor, bail,
    cuda_backend::{
        CudaDType,
        cudarc::driver::{CudaFunction, DeviceRepr, LaunchConfig, PushKernelArg},
    },
};
use half::{bf16, f16};
use sluicegate_spec::family::Activation;

use super::{
    Cache, Placing,
    launch::{NULL, device, grid, int, optional, room, tensor, view},
    loaded::Kernels,
};
use crate::heads::Heads;

/// Threads of a block that goes over a row.
const THREADS: u32 = 256;
/// As many blocks as keep any GPU busy; each then computes more than one part.
const MOST_BLOCKS: u32 = 4096;

impl Kernels {
    /// Norms the rows of `[rows, width]`, f32, or of its sum with `delta`, by weights and epsilon;
    /// returns that sum, if there is one, and the normed rows, in a type of their own.
    pub(crate) fn rms_norm(
        &self,
        input: &Tensor,
        delta: Option<&Tensor>,
        norm: (&Tensor, f32),
        to: DType,
    ) -> Result<(Option<Tensor>, Tensor)> {
        let function = self.functions()?.rms_norm.of(to)?;
        match to {
            DType::F16 => rms_norm::<f16>(function, input, delta, norm),
            DType::BF16 => rms_norm::<bf16>(function, input, delta, norm),
            _ => rms_norm::<f32>(function, input, delta, norm),
        }
    }

    /// Cosines and sines, `[tokens, half]` each, of positions, `[tokens]`, u32, times frequencies,
    /// `[1, half]`, f32.
    pub(crate) fn angles(
        &self,
        positions: &Tensor,
        frequencies: &Tensor,
        magnitude: f32,
    ) -> Result<(Tensor, Tensor)> {
        let (tokens, (_, half)) = (positions.dims1()?, frequencies.dims2()?);
        let (device, functions) = (device(positions)?, self.functions()?);
        let guards = (positions.storage_and_layout(), frequencies.storage_and_layout());
        let ((positions, positions_layout), (frequencies, frequencies_layout)) = &guards;
        let positions = view::<u32>(positions, positions_layout)?;
        let frequencies = view::<f32>(frequencies, frequencies_layout)?;
        let mut cos = room::<f32>(&device, tokens * half)?;
        let mut sin = room::<f32>(&device, tokens * half)?;
        let config = over(tokens * half)?;
        let (num_tokens, num_columns) = (int(tokens)?, int(half)?);
        {
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(&functions.angles);
            launch.arg(&positions).arg(&frequencies).arg(&mut cos).arg(&mut sin);
            launch.arg(&num_tokens).arg(&num_columns).arg(&magnitude);
            // SAFETY: the sizes are those of the tensors, and all of both outputs is written.
            unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        }
        let shape = (tokens, half);
        Ok((tensor(cos, &device, shape), tensor(sin, &device, shape)))
    }

    /// `activation(gate) * up` of `[tokens, gate and up]`, f32, in a type of its own.
    pub(crate) fn gated(&self, both: &Tensor, activation: Activation, to: DType) -> Result<Tensor> {
        let function = self.functions()?.gated.of(to)?;
        match to {
            DType::F16 => gated::<f16>(function, both, activation),
            DType::BF16 => gated::<bf16>(function, both, activation),
            _ => gated::<f32>(function, both, activation),
        }
    }

    /// Norms and turns the heads of new tokens, and writes keys and values to their slots. Returns
    /// the queries, `[tokens, heads * head_dim]`.
    pub(crate) fn place_heads(
        &self,
        heads: &Heads,
        placing: &Placing<'_>,
        cache: Cache<'_>,
    ) -> Result<Tensor> {
        let function = self.functions()?.place_heads.of(cache.keys.dtype())?;
        match cache.keys.dtype() {
            DType::F16 => place_heads::<f16>(function, heads, placing, cache),
            DType::BF16 => place_heads::<bf16>(function, heads, placing, cache),
            _ => place_heads::<f32>(function, heads, placing, cache),
        }
    }
}

fn rms_norm<T: CudaDType + DeviceRepr>(
    function: &CudaFunction,
    input: &Tensor,
    delta: Option<&Tensor>,
    (weight, eps): (&Tensor, f32),
) -> Result<(Option<Tensor>, Tensor)> {
    let (rows, row_width) = input.dims2()?;
    let width = weight.dims1()?;
    if row_width % width != 0 || delta.is_some_and(|delta| delta.dims() != input.dims()) {
        bail!("rms_norm of {input:?} and {delta:?} in groups of {width}");
    }
    let device = device(input)?;
    let len = rows * row_width;
    let guards = (input.storage_and_layout(), weight.storage_and_layout());
    let ((input, input_layout), (weight, weight_layout)) = &guards;
    let input = view::<f32>(input, input_layout)?;
    let weight = view::<f32>(weight, weight_layout)?;
    let delta = delta.map(Tensor::storage_and_layout);
    let delta = delta.as_ref().map(|(delta, layout)| view::<f32>(delta, layout)).transpose()?;
    let mut normed = room::<T>(&device, len)?;
    let mut sums = delta.is_some().then(|| room::<f32>(&device, len)).transpose()?;
    let (num_groups, width) = (int(len / width)?, int(width)?);
    let config = grid((num_groups, 1, 1), THREADS.min(width.next_multiple_of(32)), 0)?;
    {
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(&input);
        optional(&mut launch, delta.as_ref());
        launch.arg(&weight);
        match &mut sums {
            Some(sums) => launch.arg(sums),
            None => launch.arg(&NULL),
        };
        launch.arg(&mut normed).arg(&width).arg(&eps);
        // SAFETY: the sizes are those of the tensors, and all of the outputs is written.
        unsafe { launch.launch(config) }.map_err(Error::wrap)?;
    }
    let shape = (rows, row_width);
    Ok((sums.map(|sums| tensor(sums, &device, shape)), tensor(normed, &device, shape)))
}

fn gated<T: CudaDType + DeviceRepr>(
    function: &CudaFunction,
    both: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    let (rows, both_width) = both.dims2()?;
    if both_width % 2 != 0 || both_width == 0 {
        bail!("gate and up together have width {both_width}");
    }
    let (device, width) = (device(both)?, both_width / 2);
    let (storage, layout) = both.storage_and_layout();
    let both = view::<f32>(&storage, layout)?;
    let mut output = room::<T>(&device, rows * width)?;
    let config = over(rows * width)?;
    let is_gelu = u32::from(activation == Activation::GeluTanh);
    let (num_rows, num_columns) = (int(rows)?, int(width)?);
    {
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(&both).arg(&mut output).arg(&num_rows).arg(&num_columns).arg(&is_gelu);
        // SAFETY: the sizes are those of the tensors, and all of the output is written.
        unsafe { launch.launch(config) }.map_err(Error::wrap)?;
    }
    Ok(tensor(output, &device, (rows, width)))
}

/// Blocks over so many numbers.
fn over(num: usize) -> Result<LaunchConfig> {
    let num_blocks = int(num.div_ceil(THREADS as usize))?.min(MOST_BLOCKS);
    grid((num_blocks, 1, 1), THREADS, 0)
}

fn place_heads<T: CudaDType + DeviceRepr>(
    function: &CudaFunction,
    heads: &Heads,
    placing: &Placing<'_>,
    cache: Cache<'_>,
) -> Result<Tensor> {
    let Placing { qkv, query_norm, key_norm, eps, cos, sin, write_slots } = *placing;
    let Heads { num_heads, num_kv_heads, head_dim, .. } = *heads;
    let all_heads = num_heads + 2 * num_kv_heads;
    let (tokens, width) = qkv.dims2()?;
    let (num_slots, kv_width) = cache.keys.dims2()?;
    let half = cos.dims2()?.1;
    let is_fitting = width == all_heads * head_dim
        && kv_width == num_kv_heads * head_dim
        && cache.values.dims() == cache.keys.dims()
        && cos.dims() == [tokens, half]
        && sin.dims() == [tokens, half]
        && half > 0
        && 2 * half <= head_dim
        && write_slots.dims() == [tokens]
        && [query_norm, key_norm].into_iter().flatten().all(|norm| norm.dims() == [head_dim]);
    if !is_fitting {
        bail!("heads of {qkv:?} by {cos:?} at {write_slots:?} of {num_slots} slots of {kv_width}");
    }
    let device = device(qkv)?;
    let guards = [qkv, cos, sin].map(Tensor::storage_and_layout);
    let [qkv, cos, sin] = guards.each_ref().map(|(storage, layout)| view::<f32>(storage, layout));
    let (qkv, cos, sin) = (qkv?, cos?, sin?);
    let norms = [query_norm, key_norm].map(|norm| norm.map(Tensor::storage_and_layout));
    let [query_norm, key_norm] = norms.each_ref().map(|norm| {
        norm.as_ref().map(|(storage, layout)| view::<f32>(storage, layout)).transpose()
    });
    let (query_norm, key_norm) = (query_norm?, key_norm?);
    let (slots, slots_layout) = write_slots.storage_and_layout();
    let slots = view::<u32>(&slots, slots_layout)?;
    let guards = [cache.keys, cache.values].map(Tensor::storage_and_layout);
    let [keys, values] = guards.each_ref().map(|(storage, layout)| view::<T>(storage, layout));
    let (keys, values) = (keys?, values?);
    let mut queries = room::<f32>(&device, tokens * num_heads * head_dim)?;
    let threads = THREADS.min(int(head_dim)?.next_multiple_of(32));
    let shared = head_dim * size_of::<f32>();
    let config = grid((int(tokens)?, int(all_heads)?, 1), threads, shared)?;
    let sizes = [num_heads, num_kv_heads, head_dim, half, num_slots].map(int);
    {
        let [num_heads, num_kv_heads, head_dim, half, num_slots] = sizes;
        let (num_heads, num_kv_heads, head_dim) = (num_heads?, num_kv_heads?, head_dim?);
        let (half, num_slots) = (half?, num_slots?);
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(function);
        launch.arg(&qkv);
        optional(&mut launch, query_norm.as_ref());
        optional(&mut launch, key_norm.as_ref());
        launch.arg(&cos).arg(&sin).arg(&slots).arg(&mut queries).arg(&keys).arg(&values);
        launch.arg(&num_heads).arg(&num_kv_heads).arg(&head_dim).arg(&half).arg(&num_slots);
        launch.arg(&eps);
        // SAFETY: the sizes are those of the tensors, the kernel checks the slots, and all of the
        // queries is written. Pages are used through the stage's one stream alone, in order.
        unsafe { launch.launch(config) }.map_err(Error::wrap)?;
    }
    Ok(tensor(queries, &device, (tokens, num_heads * head_dim)))
}
