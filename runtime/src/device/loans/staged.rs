//! Copies from a GPU to another through pinned memory of the host.
//!
//! Pinned memory is copied from and to without a thread that waits, and is dear to allocate: what
//! has been read is used again.

use candle_core::{
    CudaDevice, CudaStorage, DType, Error, Result, Shape, Storage, Tensor, bail,
    cuda_backend::{
        CudaStorageSlice,
        cudarc::driver::{
            CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr, DeviceSlice, PinnedHostSlice,
            result, sys,
        },
    },
    op::BackpropOp,
};

/// A value in pinned memory, on its way.
#[derive(Debug)]
pub(super) struct Staged {
    buffer: Buffer,
    dtype: DType,
    shape: Shape,
}

/// Pinned memory, for more than one copy.
#[derive(Debug)]
pub(super) struct Buffer {
    /// Frees the memory.
    memory: PinnedHostSlice<u8>,
    start: *mut u8,
}

// SAFETY: the memory belongs to this value alone, and the driver lets any thread use it.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Pinned for all devices.
    fn new(device: &CudaDevice, bytes: usize) -> Result<Self> {
        let stream = device.cuda_stream();
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE;
        // SAFETY: a copy from a device writes all that is read.
        let memory = unsafe { stream.context().alloc_pinned_with_flags::<u8>(bytes, flags) };
        let mut memory = memory.map_err(Error::wrap)?;
        // It waits for the memory's own event, which is never recorded.
        let start = memory.as_mut_ptr().map_err(Error::wrap)?;
        Ok(Self { memory, start })
    }

    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }
}

impl Staged {
    /// Enqueues a copy of a contiguous tensor out of its GPU, into a buffer that is large enough;
    /// without one, into a new one.
    pub(super) fn new(tensor: &Tensor, buffer: Option<Buffer>) -> Result<Self> {
        let device = tensor.device().as_cuda_device()?.clone();
        let bytes = tensor.elem_count() * tensor.dtype().size_in_bytes();
        let buffer = match buffer {
            Some(buffer) => buffer,
            None => Buffer::new(&device, bytes.next_power_of_two())?,
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
            let target = std::slice::from_raw_parts_mut(self.buffer.start, source.num_bytes());
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
        let stream = device.cuda_stream();
        // SAFETY: the copy writes all of it.
        let mut target = unsafe { device.alloc::<T>(self.shape.elem_count())? };
        {
            let bytes = target.num_bytes();
            let (to, _guard) = target.device_ptr_mut(&stream);
            // SAFETY: the buffer has as many bytes, and is kept until the copy has been made.
            let outcome = unsafe {
                let source = std::slice::from_raw_parts(self.buffer.start.cast_const(), bytes);
                result::memcpy_htod_async(to, source, stream.cu_stream())
            };
            outcome.map_err(Error::wrap)?;
        }
        Ok(target)
    }

    /// What the next value may be copied into.
    pub(super) fn into_buffer(self) -> Buffer {
        self.buffer
    }
}
