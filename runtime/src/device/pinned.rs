//! Pinned memory of the host: copies from and to it need no thread that waits.
//!
//! It is dear to allocate, so that memory whose values have been read is used again.

use candle_core::{
    CudaDevice, CudaStorage, Device, Error, Result, Storage, Tensor,
    cuda_backend::cudarc::driver::{
        CudaEvent, CudaSlice, DevicePtrMut, DeviceRepr, PinnedHostSlice, result, sys,
    },
    op::BackpropOp,
};

use super::of_device::OfDevice;

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
    /// Memory of at least so many bytes, pinned for all devices.
    pub(super) fn new(device: &CudaDevice, bytes: usize) -> Result<Self> {
        let stream = device.cuda_stream();
        let (bytes, flags) = (bytes.next_power_of_two(), sys::CU_MEMHOSTALLOC_PORTABLE);
        // SAFETY: all that is read of it is written before.
        let memory = unsafe { stream.context().alloc_pinned_with_flags::<u8>(bytes, flags) };
        let mut memory = memory.map_err(Error::wrap)?;
        // It waits for the memory's own event, which is never recorded.
        let start = memory.as_mut_ptr().map_err(Error::wrap)?;
        Ok(Self { memory, start })
    }

    pub(super) fn len(&self) -> usize {
        self.memory.len()
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Enqueues a copy of the first numbers into a GPU's memory.
    ///
    /// # Safety
    /// The numbers have been written, or are by what was enqueued before, and the buffer is kept,
    /// and not written, until the copy has been made.
    pub(super) unsafe fn upload<T: DeviceRepr>(
        &self,
        num: usize,
        device: &CudaDevice,
    ) -> Result<CudaSlice<T>> {
        let bytes = num * size_of::<T>();
        assert!(bytes <= self.len(), "{bytes} bytes of {}", self.len());
        let stream = device.cuda_stream();
        // SAFETY: the copy writes all of it.
        let mut target = unsafe { device.alloc::<T>(num)? };
        {
            let (to, _guard) = target.device_ptr_mut(&stream);
            // SAFETY: both have so many bytes; the rest is the caller's.
            let outcome = unsafe {
                let source = std::slice::from_raw_parts(self.start.cast_const(), bytes);
                result::memcpy_htod_async(to, source, stream.cu_stream())
            };
            outcome.map_err(Error::wrap)?;
        }
        Ok(target)
    }
}

/// Uploads of index tensors of one GPU, for which no thread waits.
#[derive(Debug, Default)]
pub(super) struct Uploads(Vec<OfDevice<Upload>>);

/// Memory, and an event after which its values have been read.
#[derive(Debug)]
struct Upload {
    buffer: Buffer,
    read: CudaEvent,
}

impl Uploads {
    /// Makes a tensor of some words, `[words]`, u32, on this thread's GPU.
    pub(super) fn upload(&mut self, words: &[u32], device: &CudaDevice) -> Result<Tensor> {
        let bytes = size_of_val(words);
        let stream = device.cuda_stream();
        let own = match self.take_read(bytes) {
            Some(own) => own,
            None => OfDevice::new(Upload::new(device, bytes)?, &Device::Cuda(device.clone())),
        };
        let upload = own.get();
        // SAFETY: the memory has as many bytes, and no copy reads it any more.
        let slice = unsafe {
            upload.buffer.start().copy_from_nonoverlapping(words.as_ptr().cast(), bytes);
            upload.buffer.upload::<u32>(words.len(), device)?
        };
        if let Err(error) = upload.read.record(&stream) {
            // Without an event, only waiting says that it was read.
            let _ = stream.synchronize();
            return Err(Error::wrap(error));
        }
        self.0.push(own);
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
        Ok(Tensor::from_storage(storage, words.len(), BackpropOp::none(), false))
    }

    /// Memory of at least so many bytes that has been read.
    fn take_read(&mut self, bytes: usize) -> Option<OfDevice<Upload>> {
        let is_free = |own: &OfDevice<Upload>| {
            let Upload { buffer, read } = own.get();
            buffer.len() >= bytes && read.try_is_complete().unwrap_or(false)
        };
        self.0.iter().position(is_free).map(|index| self.0.swap_remove(index))
    }
}

impl Upload {
    fn new(device: &CudaDevice, bytes: usize) -> Result<Self> {
        let buffer = Buffer::new(device, bytes)?;
        let read = device.cuda_stream().record_event(None).map_err(Error::wrap)?;
        Ok(Self { buffer, read })
    }
}

impl Drop for Upload {
    /// Memory that a GPU still reads must not be used for anything else.
    fn drop(&mut self) {
        if !self.read.try_is_complete().unwrap_or(false) {
            // SAFETY: the event was recorded. A GPU that fails does nothing any more.
            let _ = unsafe { result::event::synchronize(self.read.cu_event()) };
        }
    }
}
