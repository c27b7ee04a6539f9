//! Handles of the devices of one engine: each is created once and shared.

use std::{collections::BTreeMap, sync::Arc};

use candle_core::Device;
use sluicegate_spec::device::DeviceId;

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error("{0} needs a build with the `cuda` feature: cargo run --release --features cuda")]
    NoCuda(DeviceId),
    #[error("{0} holds the scheduler and cannot run layers")]
    Host(DeviceId),
    #[error("{device} could not be opened")]
    Open {
        device: DeviceId,
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// An error of a device after which some of them cannot be used any more.
///
/// Source: the CUDA driver's `CUresult`: after some errors any further work returns the same one,
/// until the device is reset or the process is started anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// That device alone, as after an error of its memory.
    #[error("{device} cannot be used any more, its driver says: {said}")]
    Device { device: DeviceId, said: String },
    /// All GPUs, for this process alone: a kernel has faulted.
    #[error(
        "this process cannot use GPUs any more, and a new one must be started; the driver of \
         {device} says: {said}"
    )]
    Process { device: DeviceId, said: String },
}

/// The opened devices of one engine.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    handles: BTreeMap<DeviceId, Arc<Opened>>,
}

/// A handle of a device.
#[derive(Debug)]
struct Opened {
    #[cfg_attr(not(feature = "cuda"), expect(dead_code, reason = "only GPUs are lost"))]
    id: DeviceId,
    handle: Device,
}

impl Opened {
    /// What is lost for good, if anything is.
    fn loss(&self) -> Option<Loss> {
        match &self.handle {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => super::cuda::loss(self.id, device),
            _ => None,
        }
    }
}

#[cfg(feature = "cuda")]
impl Drop for Opened {
    /// Of a GPU that fails whatever is asked, nothing can be given back: what a handle holds panics
    /// if it tries.
    fn drop(&mut self) {
        if let Some(loss) = self.loss() {
            tracing::debug!(device = %self.id, %loss, "its handle is kept until the process ends");
            std::mem::forget(self.handle.clone());
        }
    }
}

impl Devices {
    /// Opens each device once.
    ///
    /// # Errors
    /// [`DeviceError`] for the first that cannot be opened.
    pub fn open(devices: impl IntoIterator<Item = DeviceId>) -> Result<Self, DeviceError> {
        let mut handles = BTreeMap::new();
        for device in devices {
            if let std::collections::btree_map::Entry::Vacant(vacant) = handles.entry(device) {
                vacant.insert(Arc::new(Opened { id: device, handle: open(device)? }));
            }
        }
        Ok(Self { handles })
    }

    /// The handle of a device; the host computes on the processor.
    pub fn get(&self, device: DeviceId) -> Option<Device> {
        match device {
            DeviceId::Host => Some(Device::Cpu),
            _ => self.handles.get(&device).map(|opened| opened.handle.clone()),
        }
    }

    /// What is lost for good: after a failure on a device, which is asked first, it tells whether
    /// another try may go better.
    pub fn loss(&self, failed: DeviceId) -> Option<Loss> {
        let own = self.handles.get(&failed).and_then(|opened| opened.loss());
        own.or_else(|| self.handles.values().find_map(|opened| opened.loss()))
    }
}

fn open(device: DeviceId) -> Result<Device, DeviceError> {
    match device {
        DeviceId::Host => Err(DeviceError::Host(device)),
        DeviceId::Cpu(_) => Ok(Device::Cpu),
        DeviceId::Cuda(ordinal) => open_cuda(device, ordinal),
    }
}

#[cfg(feature = "cuda")]
fn open_cuda(device: DeviceId, ordinal: u32) -> Result<Device, DeviceError> {
    super::cuda::open(ordinal).map_err(|error| DeviceError::Open { device, error })
}

#[cfg(not(feature = "cuda"))]
fn open_cuda(device: DeviceId, _ordinal: u32) -> Result<Device, DeviceError> {
    Err(DeviceError::NoCuda(device))
}

/// Makes a GPU the one that this thread's calls of the driver are for; a CPU needs no such thing.
///
/// A thread begins without any.
///
/// # Errors
/// The driver's.
#[cfg_attr(
    not(feature = "cuda"),
    expect(clippy::unnecessary_wraps, reason = "a GPU may fail, and there is none in this build")
)]
pub(crate) fn make_current(device: &Device) -> candle_core::Result<()> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::make_current(device),
        _ => Ok(()),
    }
}

/// Does something while the calling thread's calls are for a device; afterwards they are for the one
/// that they were for. Where a GPU fails, they may be for another meanwhile.
pub(crate) fn while_current(device: &Device, work: impl FnOnce()) {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => super::cuda::while_current(device, work),
        _ => work(),
    }
}
