//! Rows of f32 in CPU memory, for our operations.

use candle_core::{CpuStorage, Layout, Result, bail};

/// A view of `[rows, width]`; the rows need not be adjacent (a narrowed tensor).
pub(crate) struct Rows<'a> {
    values: &'a [f32],
    stride: usize,
    pub(crate) num: usize,
    pub(crate) width: usize,
}

impl<'a> Rows<'a> {
    /// Views a tensor of two dimensions.
    pub(crate) fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let (num, width) = layout.shape().dims2()?;
        let stride = match layout.stride() {
            [_, 1] if num == 1 => width,
            [stride, 1] => *stride,
            [stride, _] if width == 1 => *stride,
            stride => bail!("rows are not contiguous: strides {stride:?}"),
        };
        Ok(Self {
            values: &storage.as_slice::<f32>()?[layout.start_offset()..],
            stride,
            num,
            width,
        })
    }

    /// Returns row `row`, which must be below `num`.
    #[inline]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.width]
    }
}

/// Returns the values of a contiguous f32 tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("values are not contiguous: strides {:?}", layout.stride()),
    }
}
