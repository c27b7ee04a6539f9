//! What devices this machine shows, and which of them a user may have.

use std::path::{Path, PathBuf};

use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    cgroup,
    selector::{DeviceSelector, SelectorError},
};

/// A device that was found, with the memory that a plan may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundDevice {
    pub id: DeviceId,
    pub memory: Bytes,
}

/// A GPU as its driver describes it, whether or not it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub id: DeviceId,
    pub name: String,
    /// All that it has, used or not.
    pub memory: Bytes,
    /// Major and minor compute capability.
    pub capability: (u32, u32),
    /// Why this build cannot run on it, if it cannot.
    pub refused: Option<String>,
}

/// NVIDIA's driver as this process uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The latest release of CUDA that it is for, major and minor.
    pub cuda: (i32, i32),
    /// The libraries that were loaded, as they were found.
    pub libraries: Vec<PathBuf>,
}

/// Why no GPU can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCuda {
    #[error("CUDA needs a build with --features cuda")]
    NotBuilt,
    /// One that is missing or of another release.
    #[error("{0}")]
    Libraries(String),
    /// In the driver's words.
    #[error("NVIDIA's driver says: {0}")]
    Driver(String),
}

/// The devices that a selector names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub devices: Vec<FoundDevice>,
    /// Why GPUs that might have been wanted are not among them, each reason in a line.
    pub left_out: Vec<String>,
}

/// Finds the devices that are wanted: GPUs, and `num_cpu` logical CPU devices that share what is
/// free of this machine's memory. GPUs that are not wanted are not touched.
///
/// # Errors
/// [`SelectorError`] if a device that was asked for by name is not there or cannot be used.
pub fn discover(selector: &DeviceSelector, num_cpu: u32) -> Result<Discovery, SelectorError> {
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    if selector.may_want_gpus() {
        match gpus() {
            Ok(gpus) => {
                for gpu in gpus.into_iter().filter(|gpu| selector.may_want(gpu.id)) {
                    match free_memory(&gpu) {
                        Ok(memory) => found.push(FoundDevice { id: gpu.id, memory }),
                        Err(reason) => left_out.push(format!("{}: {reason}", gpu.id)),
                    }
                }
            }
            // Nobody expects a GPU of such a build, unless it is asked for by name.
            Err(NoCuda::NotBuilt) if *selector == DeviceSelector::Auto => {}
            Err(reason) => left_out.push(reason.to_string()),
        }
    }
    let (_total, free) = host_memory();
    let memory = Bytes(free.0 / u64::from(num_cpu.max(1)));
    found.extend((0..num_cpu).map(|index| FoundDevice { id: DeviceId::Cpu(index), memory }));
    let devices = selector.select(&found, &left_out)?;
    Ok(Discovery { devices, left_out })
}

/// The driver, and the libraries that go with it.
///
/// # Errors
/// [`NoCuda`] with what is missing.
pub fn driver() -> Result<Driver, NoCuda> {
    #[cfg(feature = "cuda")]
    return super::cuda::driver();
    #[cfg(not(feature = "cuda"))]
    Err(NoCuda::NotBuilt)
}

/// For which GPUs this build has kernels; empty in a build without CUDA.
pub fn built_for() -> Vec<String> {
    #[cfg(feature = "cuda")]
    return super::cuda::built_for();
    #[cfg(not(feature = "cuda"))]
    Vec::new()
}

/// All GPUs of this machine, used or not.
///
/// # Errors
/// [`NoCuda`] if there are none that a program of this build could use.
pub fn gpus() -> Result<Vec<Gpu>, NoCuda> {
    #[cfg(feature = "cuda")]
    return super::cuda::gpus();
    #[cfg(not(feature = "cuda"))]
    Err(NoCuda::NotBuilt)
}

/// Whether the driver says that a GPU can reach another's memory without the host's.
///
/// # Errors
/// The driver's words, or that there is no driver.
pub fn can_be_peers(source: DeviceId, target: DeviceId) -> Result<bool, String> {
    match (source, target) {
        #[cfg(feature = "cuda")]
        (DeviceId::Cuda(source), DeviceId::Cuda(target)) => {
            super::cuda::can_be_peers(source, target)
        }
        _ => Ok(false),
    }
}

fn free_memory(gpu: &Gpu) -> Result<Bytes, String> {
    if let Some(reason) = &gpu.refused {
        return Err(reason.clone());
    }
    match gpu.id {
        #[cfg(feature = "cuda")]
        DeviceId::Cuda(ordinal) => super::cuda::free_memory(ordinal),
        _ => Ok(gpu.memory),
    }
}

/// The memory that this process may use, and what is free of it: this machine's, or what a control
/// group leaves of it.
pub fn host_memory() -> (Bytes, Bytes) {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let (total, free) = (Bytes(system.total_memory()), Bytes(system.available_memory()));
    match cgroup::memory(Path::new("/")) {
        Some(allowance) => (total.min(allowance.limit), free.min(allowance.free)),
        None => (total, free),
    }
}
