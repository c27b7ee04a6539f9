//! Handles of the devices of one engine: each is created once and shared.

use std::collections::BTreeMap;

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

/// The opened devices of one engine.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    handles: BTreeMap<DeviceId, Device>,
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
                vacant.insert(open(device)?);
            }
        }
        Ok(Self { handles })
    }

    /// The handle of a device; the host computes on the processor.
    pub fn get(&self, device: DeviceId) -> Option<Device> {
        match device {
            DeviceId::Host => Some(Device::Cpu),
            _ => self.handles.get(&device).cloned(),
        }
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
