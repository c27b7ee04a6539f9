//! What devices this machine shows.

use sluicegate_model::{placed::DeviceId, units::Bytes};

/// A device that was found, with the memory that a plan may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundDevice {
    pub id: DeviceId,
    pub memory: Bytes,
}

/// The CUDA devices of this machine, then `num_cpu` logical CPU devices that share its free memory.
pub fn discover(num_cpu: u32) -> Vec<FoundDevice> {
    let mut found = cuda_devices();
    let memory = Bytes(free_host_memory() / u64::from(num_cpu.max(1)));
    found.extend((0..num_cpu).map(|index| FoundDevice { id: DeviceId::Cpu(index), memory }));
    found
}

fn free_host_memory() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    system.available_memory()
}

#[cfg(feature = "cuda")]
fn cuda_devices() -> Vec<FoundDevice> {
    use candle_core::cuda_backend::cudarc::driver::CudaContext;

    let count = CudaContext::device_count().unwrap_or_default();
    let memory_of = |ordinal: i32| {
        let context = CudaContext::new(usize::try_from(ordinal).ok()?).ok()?;
        let (free_bytes, _total_bytes) = context.mem_get_info().ok()?;
        let id = DeviceId::Cuda(u32::try_from(ordinal).ok()?);
        Some(FoundDevice { id, memory: Bytes(free_bytes as u64) })
    };
    (0..count).filter_map(memory_of).collect()
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> Vec<FoundDevice> {
    Vec::new()
}
