//! NVIDIA's driver as this process uses it, and the GPUs that it shows.

use std::path::PathBuf;

use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::gpu::facts::PciAddress;

/// A GPU as its driver describes it, whether or not it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    pub id: DeviceId,
    pub name: String,
    /// All that it has, used or not.
    pub memory: Bytes,
    /// Major and minor compute capability.
    pub capability: (u32, u32),
    /// Where it is; an instance of a divided GPU is where that is.
    pub address: Option<PciAddress>,
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

/// All GPUs that CUDA shows to this process, used or not.
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

/// What is free on a GPU, asked of the driver, which makes a context there for the question.
///
/// # Errors
/// The driver's words, or that there is no driver.
pub(super) fn free_memory(gpu: DeviceId) -> Result<Bytes, String> {
    match gpu {
        #[cfg(feature = "cuda")]
        DeviceId::Cuda(ordinal) => super::cuda::free_memory(ordinal),
        _ => Err(NoCuda::NotBuilt.to_string()),
    }
}
