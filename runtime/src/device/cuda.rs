//! GPUs through CUDA: what there are, and how one is opened.

use std::collections::BTreeSet;

use candle_core::{
    Device,
    cuda_backend::{
        cudarc::driver::{CudaContext, DriverError, result, sys},
        kernels,
    },
};
use sluicegate_model::cuda::{self, Capability, Image};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    devices::Loss,
    driver::{Driver, Gpu, NoCuda},
    gpu::facts::PciAddress,
};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The driver, and the libraries that were loaded with it.
pub(super) fn driver() -> Result<Driver, NoCuda> {
    let loaded = cuda::load().map_err(|error| NoCuda::Libraries(error.to_string()))?;
    let mut version = 0;
    // SAFETY: the driver writes a number.
    let outcome = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
    outcome.map_err(|error| NoCuda::Driver(said(error)))?;
    // Source: cuDriverGetVersion, 1000 * major + 10 * minor.
    let cuda = (version / 1000, version % 1000 / 10);
    Ok(Driver { cuda, libraries: loaded.libraries.clone() })
}

/// All GPUs that the driver shows, in its order. No context is made on any.
pub(super) fn gpus() -> Result<Vec<Gpu>, NoCuda> {
    cuda::load().map_err(|error| NoCuda::Libraries(error.to_string()))?;
    let failed = |error| NoCuda::Driver(said(error));
    result::init().map_err(failed)?;
    let count = result::device::get_count().map_err(failed)?;
    (0..count).map(|ordinal| gpu(ordinal).map_err(failed)).collect()
}

fn gpu(ordinal: i32) -> Result<Gpu, DriverError> {
    let device = result::device::get(ordinal)?;
    let capability = capability(device)?;
    Ok(Gpu {
        id: DeviceId::Cuda(ordinal.cast_unsigned()),
        name: result::device::get_name(device)?,
        // SAFETY: the driver gave the device.
        memory: Bytes(unsafe { result::device::total_mem(device)? } as u64),
        capability: (capability.major, capability.minor),
        address: address(device).ok(),
        refused: check_kernels(capability).err().map(|error| error.to_string()),
    })
}

fn capability(device: sys::CUdevice) -> Result<Capability, DriverError> {
    use sys::CUdevice_attribute_enum::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    // SAFETY: the driver gave the device.
    let attribute = |name| unsafe { result::device::get_attribute(device, name) };
    Ok(Capability {
        major: attribute(MAJOR)?.cast_unsigned(),
        minor: attribute(MINOR)?.cast_unsigned(),
    })
}

fn address(device: sys::CUdevice) -> Result<PciAddress, DriverError> {
    use sys::CUdevice_attribute_enum::{
        CU_DEVICE_ATTRIBUTE_PCI_BUS_ID as BUS, CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID as DEVICE,
        CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID as DOMAIN,
    };
    // SAFETY: the driver gave the device.
    let attribute = |name| unsafe { result::device::get_attribute(device, name) };
    Ok(PciAddress {
        domain: attribute(DOMAIN)?.cast_unsigned(),
        bus: attribute(BUS)?.cast_unsigned(),
        device: attribute(DEVICE)?.cast_unsigned(),
    })
}

/// Checks that a GPU can run what was compiled: candle's modules, which are PTX, and the kernels
/// that are linked in, whose launches fail without a word where there is no code for a device.
fn check_kernels(capability: Capability) -> Result<(), cuda::ImageError> {
    cuda::check_images("kernels", &module_images(), capability)?;
    cuda::linked_images()
        .iter()
        .try_for_each(|images| cuda::check_images("quantised kernels", images, capability))
}

fn module_images() -> Vec<Image> {
    Image::of_ptx(kernels::AFFINE.ptx()).into_iter().collect()
}

/// For which GPUs this build has kernels, each form once.
pub(super) fn built_for() -> Vec<String> {
    let images: BTreeSet<Image> =
        module_images().into_iter().chain(cuda::linked_images().concat()).collect();
    images.iter().map(ToString::to_string).collect()
}

/// What is free on a GPU.
pub(super) fn free_memory(ordinal: u32) -> Result<Bytes, String> {
    let (free, _total) = memory(ordinal).map_err(said)?;
    Ok(Bytes(free as u64))
}

/// What is not free on a GPU, whoever has it.
pub(super) fn used_memory(ordinal: u32) -> Result<Bytes, String> {
    let (free, total) = memory(ordinal).map_err(said)?;
    Ok(Bytes(total.saturating_sub(free) as u64))
}

/// Free and total bytes. A context is made for the question where there is none, and given back.
fn memory(ordinal: u32) -> Result<(usize, usize), DriverError> {
    CudaContext::new(ordinal as usize)?.mem_get_info()
}

/// Whether the driver says that one GPU can read another's memory.
pub(super) fn can_be_peers(source: u32, target: u32) -> Result<bool, String> {
    let device = |ordinal: u32| result::device::get(ordinal.cast_signed()).map_err(said);
    let (source, target) = (device(source)?, device(target)?);
    let mut can = 0;
    // SAFETY: the driver gave both devices.
    unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, target, source) }.result().map_err(said)?;
    Ok(can != 0)
}

/// Opens a GPU with a stream of its own: candle's default one belongs to the calling thread and
/// orders nothing between threads.
pub(super) fn open(ordinal: u32) -> Result<Device, Failed> {
    cuda::load()?;
    result::init()?;
    let device = result::device::get(ordinal.cast_signed())?;
    check_kernels(capability(device)?)?;
    let opened = Device::new_cuda_with_stream(ordinal as usize)?;
    // SAFETY: all work on this device goes through its one stream, in the order in which it is
    // enqueued, so no tensor is used or freed on another.
    unsafe { opened.as_cuda_device()?.disable_event_tracking() };
    keep_freed_memory(device)?;
    Ok(opened)
}

/// Lets the pool of a GPU keep what is freed: without this it goes back to the system whenever the
/// stream is waited for, and each step asks for it again.
fn keep_freed_memory(device: sys::CUdevice) -> Result<(), DriverError> {
    use sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    let pools = sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;
    // SAFETY: the driver gave the device.
    if unsafe { result::device::get_attribute(device, pools)? } == 0 {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    // SAFETY: the pool is the device's own, and the attribute is a number of 64 bits.
    unsafe {
        let pool = result::device::get_default_mem_pool(device)?;
        let value = (&raw mut threshold).cast();
        sys::cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, value).result()
    }
}

/// Makes a GPU the one that this thread's calls are for.
pub(super) fn make_current(device: &candle_core::CudaDevice) -> candle_core::Result<()> {
    device.cuda_stream().context().bind_to_thread().map_err(candle_core::Error::wrap)
}

/// Does something while a GPU is the one that this thread's calls are for.
pub(super) fn while_current(device: &candle_core::CudaDevice, work: impl FnOnce()) {
    let own = result::ctx::get_current().ok().flatten();
    let _ = make_current(device);
    work();
    if let Some(own) = own {
        // SAFETY: it was current before, and primary contexts live as long as their devices.
        let _ = unsafe { result::ctx::set_current(own) };
    }
}

/// What is lost for good, if all that was asked of a GPU cannot be waited for.
pub(super) fn loss(id: DeviceId, device: &candle_core::CudaDevice) -> Option<Loss> {
    use sys::cudaError_enum::{
        CUDA_ERROR_DEVICE_UNAVAILABLE, CUDA_ERROR_ECC_UNCORRECTABLE,
        CUDA_ERROR_NVLINK_UNCORRECTABLE, CUDA_ERROR_OUT_OF_MEMORY,
    };
    let stream = device.cuda_stream();
    let context = stream.context();
    // What a destructor has noted says nothing about the device; what it says now does.
    let _ = context.check_err();
    let outcome = context.bind_to_thread().and_then(|()| result::ctx::synchronize());
    let error = outcome.err()?;
    match error.0 {
        CUDA_ERROR_OUT_OF_MEMORY => None,
        CUDA_ERROR_ECC_UNCORRECTABLE
        | CUDA_ERROR_DEVICE_UNAVAILABLE
        | CUDA_ERROR_NVLINK_UNCORRECTABLE => Some(Loss::Device { device: id, said: said(error) }),
        _ => Some(Loss::Process { device: id, said: said(error) }),
    }
}

/// The driver's words for an error.
fn said(error: DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{error:?}"),
    }
}
