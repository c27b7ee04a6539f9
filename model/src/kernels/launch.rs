//! Arguments and launches of kernels.

use candle_core::{
    CudaDevice, CudaStorage, DType, Error, Result, Shape, Storage, Tensor, bail,
    cuda_backend::{
        CudaDType,
        cudarc::driver::{
            CudaFunction, CudaSlice, CudaView, DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg,
        },
    },
    op::BackpropOp,
};

/// The numbers of a whole tensor on a GPU.
pub(super) fn view<'a, T: CudaDType + DeviceRepr>(
    storage: &'a Storage,
    layout: &candle_core::Layout,
) -> Result<CudaView<'a, T>> {
    let Storage::Cuda(storage) = storage else { bail!("wanted a tensor on a GPU") };
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("wanted a whole tensor, found {layout:?}")
    };
    Ok(storage.as_cuda_slice::<T>()?.slice(start..end))
}

/// The device of a tensor, which is a GPU.
pub(super) fn device(tensor: &Tensor) -> Result<CudaDevice> {
    Ok(tensor.device().as_cuda_device()?.clone())
}

/// Memory that a kernel writes all of.
pub(super) fn room<T: DeviceRepr>(device: &CudaDevice, len: usize) -> Result<CudaSlice<T>> {
    // SAFETY: the caller has all of it written before it is read.
    unsafe { device.alloc::<T>(len) }
}

/// A tensor of what a kernel has written.
pub(super) fn tensor<T: CudaDType>(
    slice: CudaSlice<T>,
    device: &CudaDevice,
    shape: impl Into<Shape>,
) -> Tensor {
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(slice, device.clone()));
    Tensor::from_storage(storage, shape, BackpropOp::none(), false)
}

/// As kernels count.
pub(super) fn int(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(Error::wrap)
}

/// A null pointer, for an argument that is left out.
pub(super) const NULL: u64 = 0;

/// An argument that may be left out.
pub(super) fn optional<'a, T>(launch: &mut LaunchArgs<'a>, argument: Option<&'a CudaView<'_, T>>) {
    match argument {
        Some(view) => launch.arg(view),
        None => launch.arg(&NULL),
    };
}

/// Blocks, threads of each, and bytes of shared memory of each.
pub(super) fn grid(blocks: (u32, u32, u32), threads: u32, shared: usize) -> Result<LaunchConfig> {
    let shared_mem_bytes = int(shared)?;
    Ok(LaunchConfig { grid_dim: blocks, block_dim: (threads, 1, 1), shared_mem_bytes })
}

/// One function in the types that it is compiled for.
#[derive(Debug)]
pub(super) struct Typed {
    pub(super) f32: CudaFunction,
    pub(super) f16: CudaFunction,
    pub(super) bf16: CudaFunction,
}

impl Typed {
    pub(super) fn of(&self, dtype: DType) -> Result<&CudaFunction> {
        match dtype {
            DType::F32 => Ok(&self.f32),
            DType::F16 => Ok(&self.f16),
            DType::BF16 => Ok(&self.bf16),
            other => bail!("wanted f32, f16 or bf16, found {other:?}"),
        }
    }
}
