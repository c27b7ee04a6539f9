//! Rows of tables, and pages for rows that continue another: `rows.cu`.

use candle_core::{
    DType, Error, Result, Tensor, bail,
    cuda_backend::{
        CudaDType,
        cudarc::driver::{DeviceRepr, PushKernelArg},
    },
};
use half::{bf16, f16};
use sluicegate_spec::kv::PAGE_TOKENS;

use super::{
    Cache,
    launch::{device, grid, int, room, tensor, view},
    loaded::Kernels,
};
use crate::step::PageCopies;

/// Threads of a block that goes over a row or a page.
const THREADS: u32 = 256;

impl Kernels {
    /// Selects rows of a table, `[rows, width]`, by indices, `[n]`, u32, times a scale:
    /// `[n, width]`, f32.
    pub(crate) fn select_rows(
        &self,
        table: &Tensor,
        indices: &Tensor,
        scale: f32,
    ) -> Result<Tensor> {
        match table.dtype() {
            DType::F16 => self.select::<f16>(table, indices, scale),
            DType::BF16 => self.select::<bf16>(table, indices, scale),
            _ => self.select::<f32>(table, indices, scale),
        }
    }

    fn select<T: CudaDType + DeviceRepr>(
        &self,
        table: &Tensor,
        indices: &Tensor,
        scale: f32,
    ) -> Result<Tensor> {
        let function = self.functions()?.select_rows.of(table.dtype())?;
        let ((num_rows, width), num) = (table.dims2()?, indices.dims1()?);
        let device = device(table)?;
        let guards = (table.storage_and_layout(), indices.storage_and_layout());
        let ((table, table_layout), (indices, indices_layout)) = &guards;
        let table = view::<T>(table, table_layout)?;
        let indices = view::<u32>(indices, indices_layout)?;
        let mut output = room::<f32>(&device, num * width)?;
        let config = grid((int(num)?, 1, 1), THREADS, 0)?;
        let (num_rows, num_columns) = (int(num_rows)?, int(width)?);
        {
            let stream = device.cuda_stream();
            let mut launch = stream.launch_builder(function);
            launch.arg(&table).arg(&indices).arg(&mut output);
            launch.arg(&num_columns).arg(&num_rows).arg(&scale);
            // SAFETY: the sizes are those of the tensors, the kernel checks the indices, and all of
            // the output is written.
            unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        }
        Ok(tensor(output, &device, (num, width)))
    }

    /// Copies the tail page of each row's ancestor, keys and values. All are read before one is
    /// written.
    pub(crate) fn copy_tails(
        &self,
        parents: &Tensor,
        copies: &PageCopies,
        cache: Cache<'_>,
    ) -> Result<()> {
        match cache.keys.dtype() {
            DType::F16 => self.copy::<f16>(parents, copies, cache),
            DType::BF16 => self.copy::<bf16>(parents, copies, cache),
            _ => self.copy::<f32>(parents, copies, cache),
        }
    }

    fn copy<T: CudaDType + DeviceRepr>(
        &self,
        parents: &Tensor,
        copies: &PageCopies,
        cache: Cache<'_>,
    ) -> Result<()> {
        let functions = self.functions()?;
        let device = device(cache.keys)?;
        let (num_slots, width) = cache.keys.dims2()?;
        let page_bytes = PAGE_TOKENS * width * size_of::<T>();
        let num = copies.rows.dims1()?;
        if cache.values.dims() != cache.keys.dims() || copies.target_pages.dims() != [num] {
            bail!("{num} copies to {:?} of {:?}", copies.target_pages, cache.keys);
        }
        let indices = [parents, &copies.rows, &copies.tail_pages, &copies.target_pages];
        let guards = indices.map(Tensor::storage_and_layout);
        let [parents, rows, tails, targets] =
            guards.each_ref().map(|(storage, layout)| view::<u32>(storage, layout));
        let (parents, rows, tails, targets) = (parents?, rows?, tails?, targets?);
        let guards = [cache.keys, cache.values].map(Tensor::storage_and_layout);
        let [keys, values] = guards.each_ref().map(|(storage, layout)| view::<T>(storage, layout));
        let (keys, values) = (keys?, values?);
        // A page has a multiple of 16 elements, which the kernels copy as words.
        let page_words = int(page_bytes / size_of::<u32>())?;
        let mut read = room::<u32>(&device, 2 * num * page_words as usize)?;
        let config = grid((int(num)?, 2, 1), THREADS, 0)?;
        let (num_rows, num_ancestors) = (int(parents.len())?, int(tails.len())?);
        let num_pages = int(num_slots / PAGE_TOKENS)?;
        let stream = device.cuda_stream();
        let mut launch = stream.launch_builder(&functions.read_tails);
        launch.arg(&parents).arg(&rows).arg(&tails).arg(&keys).arg(&values).arg(&mut read);
        launch.arg(&num_rows).arg(&num_ancestors).arg(&num_pages).arg(&page_words);
        // SAFETY: the sizes are those of the tensors, the kernel checks all indices, and all of
        // what it reads is written.
        unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        let mut launch = stream.launch_builder(&functions.write_tails);
        launch.arg(&read).arg(&targets).arg(&keys).arg(&values).arg(&num_pages).arg(&page_words);
        // SAFETY: as before; pages are used through the stage's one stream alone, in order.
        unsafe { launch.launch(config) }.map_err(Error::wrap)?;
        Ok(())
    }
}
