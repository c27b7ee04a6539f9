//! Copies from a GPU's memory to another's, for which no thread waits.
//!
//! The sender lends a tensor: it stays where it is, with an event after which its values are there.
//! The receiver's stream waits for that event, copies, and gives the tensor back with an event after
//! which it has been read. The sender looks for what has been read whenever it lends the next one.
//!
//! The driver copies whether or not one GPU can reach the memory of the other; where it cannot, it
//! goes through the host's memory itself. Source: `cuMemcpyPeerAsync`.

use candle_core::{
    CudaDevice, CudaStorage, Device, Error, Result, Storage, Tensor, bail,
    cuda_backend::{
        CudaStorageSlice,
        cudarc::driver::{
            CudaEvent, CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr, DeviceSlice,
            result,
        },
    },
    op::BackpropOp,
};
use crossbeam_channel::{Receiver, Sender, unbounded};

use super::devices::make_current;

/// What a sender has lent.
#[derive(Debug, Clone)]
pub struct Loans {
    give_back: Sender<Returned>,
    returned: Receiver<Returned>,
}

/// A tensor on its way to another GPU.
#[derive(Debug)]
pub struct Loan {
    tensor: OfDevice<Tensor>,
    /// Its values are there then.
    ready: OfDevice<CudaEvent>,
    give_back: Sender<Returned>,
}

/// What belongs to a GPU, and may be dropped by a thread of another.
#[derive(Debug)]
struct OfDevice<T> {
    value: Option<T>,
    device: Device,
}

/// A tensor that its receiver has been told to read.
#[derive(Debug)]
struct Returned {
    _tensor: OfDevice<Tensor>,
    /// It has been read then.
    read: OfDevice<CudaEvent>,
}

impl Default for Loans {
    fn default() -> Self {
        let (give_back, returned) = unbounded();
        Self { give_back, returned }
    }
}

impl Loans {
    /// Lends a contiguous tensor of this thread's GPU.
    pub(super) fn lend(&self, tensor: Tensor) -> Result<Loan> {
        self.let_go();
        let device = tensor.device().clone();
        let ready = device.as_cuda_device()?.cuda_stream().record_event(None);
        let ready = OfDevice::new(ready.map_err(Error::wrap)?, &device);
        let tensor = OfDevice::new(tensor, &device);
        Ok(Loan { tensor, ready, give_back: self.give_back.clone() })
    }

    /// Lets go of what has been read; the rest is kept.
    fn let_go(&self) {
        let is_unread = |returned: &Returned| !returned.is_read();
        let unread: Vec<Returned> = self.returned.try_iter().filter(is_unread).collect();
        for returned in unread {
            // The other end is this value's own.
            let _ = self.give_back.send(returned);
        }
    }
}

impl Loan {
    /// Copies it into the memory of this thread's GPU, and gives it back.
    pub(super) fn copy_to(self, target: &Device) -> Result<Tensor> {
        let Self { tensor, ready, give_back } = self;
        let device = target.as_cuda_device()?;
        let stream = device.cuda_stream();
        stream.wait(ready.get()).map_err(Error::wrap)?;
        let copied = copy(tensor.get(), device)?;
        let read = match stream.record_event(None) {
            Ok(read) => OfDevice::new(read, target),
            Err(error) => {
                // Without an event, only waiting says that the tensor was read.
                let _ = stream.synchronize();
                return Err(Error::wrap(error));
            }
        };
        // A sender that is gone needs it no more; what was not taken waits until it is read.
        let _ = give_back.send(Returned { _tensor: tensor, read });
        Ok(copied)
    }
}

impl<T> OfDevice<T> {
    fn new(value: T, device: &Device) -> Self {
        Self { value: Some(value), device: device.clone() }
    }

    fn get(&self) -> &T {
        self.value.as_ref().expect("it is there until it is dropped")
    }
}

impl<T> Drop for OfDevice<T> {
    /// Memory and events are given back while their device's context is current; the thread's own is
    /// current again then. Where a GPU fails there is nothing to give back.
    fn drop(&mut self) {
        let own = result::ctx::get_current().ok().flatten();
        let _ = make_current(&self.device);
        self.value = None;
        if let Some(own) = own {
            // SAFETY: it was current before, and primary contexts live as long as their devices.
            let _ = unsafe { result::ctx::set_current(own) };
        }
    }
}

impl Returned {
    fn is_read(&self) -> bool {
        self.read.get().try_is_complete().unwrap_or(false)
    }
}

impl Drop for Returned {
    /// Memory that another GPU still reads must not be used for anything else.
    fn drop(&mut self) {
        if !self.is_read() {
            // SAFETY: the event was recorded. A GPU that fails reads nothing any more.
            let _ = unsafe { result::event::synchronize(self.read.get().cu_event()) };
        }
    }
}

/// Enqueues a copy in the stream of a GPU.
fn copy(tensor: &Tensor, device: &CudaDevice) -> Result<Tensor> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(source) = &*storage else { bail!("a tensor that is lent is not on a GPU") };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a tensor that is lent is a view: {layout:?}")
    };
    let slice = match &source.slice {
        CudaStorageSlice::F32(from) => {
            CudaStorageSlice::F32(copy_slice(from, (start, end), device)?)
        }
        CudaStorageSlice::F16(from) => {
            CudaStorageSlice::F16(copy_slice(from, (start, end), device)?)
        }
        CudaStorageSlice::BF16(from) => {
            CudaStorageSlice::BF16(copy_slice(from, (start, end), device)?)
        }
        _ => bail!("wanted floats of 32 or 16 bits, found {:?}", tensor.dtype()),
    };
    let copied = Storage::Cuda(CudaStorage { slice, device: device.clone() });
    Ok(Tensor::from_storage(copied, tensor.shape(), BackpropOp::none(), false))
}

fn copy_slice<T: DeviceRepr>(
    source: &CudaSlice<T>,
    (start, end): (usize, usize),
    device: &CudaDevice,
) -> Result<CudaSlice<T>> {
    let source: CudaView<'_, T> = source.slice(start..end);
    let stream = device.cuda_stream();
    // SAFETY: the copy writes all of it.
    let mut target = unsafe { device.alloc::<T>(source.len())? };
    {
        let source_context = source.stream().context().cu_ctx();
        let (from, _guard) = source.device_ptr(source.stream());
        let (to, _guard) = target.device_ptr_mut(&stream);
        // SAFETY: both have as many bytes, and the source is kept until the copy has been made.
        let outcome = unsafe {
            result::memcpy_peer_async(
                stream.context().cu_ctx(),
                to,
                source_context,
                from,
                source.num_bytes(),
                stream.cu_stream(),
            )
        };
        outcome.map_err(Error::wrap)?;
    }
    Ok(target)
}
