//! Copies from a GPU's memory to another's.
//!
//! The driver copies whether or not one GPU can reach the memory of the other; where it cannot, it
//! goes through the host's memory itself. Source: `cuMemcpyPeerAsync`.

use candle_core::{
    CudaDevice, CudaStorage, Error, Result, Storage, Tensor, bail,
    cuda_backend::{
        CudaStorageSlice,
        cudarc::driver::{
            CudaSlice, CudaView, DevicePtr, DevicePtrMut, DeviceRepr, DeviceSlice, result,
        },
    },
    op::BackpropOp,
};

/// Enqueues a copy in the stream of a GPU.
pub(super) fn copy(tensor: &Tensor, device: &CudaDevice) -> Result<Tensor> {
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
