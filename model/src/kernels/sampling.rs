//! From logits to tokens: `sampling.cu`.

use candle_core::{
    DType, Error, Result, Tensor, bail, cuda_backend::cudarc::driver::PushKernelArg,
};

use super::{
    SamplingSizes,
    launch::{device, grid, int, room, tensor, view},
    loaded::Kernels,
};

/// Logits of each thread, where there are not too many.
const THREAD_LOGITS: usize = 16;
/// Threads of a block, as `sampling.cu` has them at most.
const MOST_THREADS: usize = 1024;
const WARP: usize = 32;

impl Kernels {
    /// Samples rows of logits, `[rows, vocab]`, f32, which it changes: words of what is found, u32.
    ///
    /// `orders`: u32, the words of `SamplingOrders`, among which the kernel has room. `valid`: u32, a
    /// bit for each token that exists.
    pub(crate) fn sample(
        &self,
        logits: &Tensor,
        orders: &Tensor,
        valid: &Tensor,
        sizes: SamplingSizes,
    ) -> Result<Tensor> {
        let function = &self.functions()?.sample;
        let SamplingSizes { num_rows, num_found } = sizes;
        let ((num_logit_rows, width), num_words) = (logits.dims2()?, valid.dims1()?);
        if logits.dtype() != DType::F32 || num_words != width.div_ceil(WARP) {
            bail!("wanted logits of f32 for {num_words} words of tokens, found {logits:?}");
        }
        let device = device(logits)?;
        let guards = [logits, orders, valid].map(Tensor::storage_and_layout);
        let [(logits, logits_layout), (orders, orders_layout), (valid, valid_layout)] = &guards;
        let logits = view::<f32>(logits, logits_layout)?;
        let orders = view::<u32>(orders, orders_layout)?;
        let valid = view::<u32>(valid, valid_layout)?;
        let mut masks = room::<u32>(&device, num_rows * num_words)?;
        // Of a row that fails, the kernel writes no more than that.
        let mut found = device.alloc_zeros::<u32>(num_found)?;
        let threads = width.div_ceil(THREAD_LOGITS).next_multiple_of(WARP).min(MOST_THREADS);
        let config = grid((int(num_rows)?, 1, 1), int(threads)?, 0)?;
        let (width, num_words) = (int(width)?, int(num_words)?);
        let num_logit_rows = int(num_logit_rows)?;
        {
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(function);
            launch.arg(&logits).arg(&orders).arg(&valid).arg(&mut masks).arg(&mut found);
            launch.arg(&width).arg(&num_logit_rows).arg(&num_words);
            // SAFETY: orders are what `SamplingOrders` makes: all that rows refer to lies within them
            // and within what is found. Rows of logits and tokens are checked by the kernel.
            unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        }
        Ok(tensor(found, &device, num_found))
    }
}
