//! Copies from a GPU to another through pinned memory of the host.

use candle_core::{
    CudaDevice, CudaStorage, DType, Error, Result, Shape, Storage, Tensor, bail,
    cuda_backend::{
        CudaStorageSlice,
        cudarc::driver::{CudaSlice, CudaView, DevicePtr, DeviceRepr, DeviceSlice, result},
    },
    op::BackpropOp,
};

use crate::device::pinned::Buffer;

/// A value in pinned memory, on its way.
#[derive(Debug)]
pub(super) struct Staged {
    buffer: Buffer,
    dtype: DType,
    shape: Shape,
}

impl Staged {
    /// Enqueues a copy of a contiguous tensor out of its GPU, into a buffer that is large enough;
    /// without one, into a new one.
    pub(super) fn new(tensor: &Tensor, buffer: Option<Buffer>) -> Result<Self> {
        let device = tensor.device().as_cuda_device()?.clone();
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => Buffer::new(&device, bytes)?,
        };
        let mut staged = Self { buffer, dtype: tensor.dtype(), shape: tensor.shape().clone() };
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(source) = &*storage else { bail!("a staged tensor is not on a GPU") };
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("a staged tensor is a view: {layout:?}")
        };
        match &source.slice {
            CudaStorageSlice::F32(source) => staged.fill(&source.slice(start..end), &device),
            CudaStorageSlice::F16(source) => staged.fill(&source.slice(start..end), &device),
            CudaStorageSlice::BF16(source) => staged.fill(&source.slice(start..end), &device),
            _ => bail!("wanted floats of 32 or 16 bits, found {:?}", tensor.dtype()),
        }?;
        Ok(staged)
    }

    fn fill<T: DeviceRepr>(&mut self, source: &CudaView<'_, T>, device: &CudaDevice) -> Result<()> {
        let stream = device.cuda_stream();
        let (from, _guard) = source.device_ptr(&stream);
        // SAFETY: the buffer is as long, and nobody else uses it before the copy has been made.
        let outcome = unsafe {
            let target = std::slice::from_raw_parts_mut(self.buffer.start(), source.num_bytes());
            result::memcpy_dtoh_async(target, from, stream.cu_stream())
        };
        outcome.map_err(Error::wrap)
    }

    /// Enqueues a copy into a GPU's memory.
    pub(super) fn copy(&self, device: &CudaDevice) -> Result<Tensor> {
        let slice = match self.dtype {
            DType::F16 => CudaStorageSlice::F16(self.copy_slice(device)?),
            DType::BF16 => CudaStorageSlice::BF16(self.copy_slice(device)?),
            _ => CudaStorageSlice::F32(self.copy_slice(device)?),
        };
        let storage = Storage::Cuda(CudaStorage { slice, device: device.clone() });
        Ok(Tensor::from_storage(storage, self.shape.clone(), BackpropOp::none(), false))
    }

    fn copy_slice<T: DeviceRepr>(&self, device: &CudaDevice) -> Result<CudaSlice<T>> {
        // SAFETY: the sender's copy was enqueued, and this stream waits for it; the buffer is kept
        // until the copy has been made.
        unsafe { self.buffer.upload(self.shape.elem_count(), device) }
    }

    /// What the next value may be copied into.
    pub(super) fn into_buffer(self) -> Buffer {
        self.buffer
    }
}
