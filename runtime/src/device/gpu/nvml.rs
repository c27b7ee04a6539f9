//! Asks NVML, NVIDIA's library for managing GPUs. It needs a driver, but neither CUDA nor a build
//! with it.
//!
//! The library is looked for in the folders of `SLUICEGATE_CUDA_LIBS`, as those of CUDA are, then
//! where the system's loader looks.

use std::path::PathBuf;

use nvml_wrapper::{
    Device, Nvml,
    enum_wrappers::device::{P2pCapabilitiesIndex, P2pStatus, TopologyLevel},
    enums::device::UsedGpuMemory,
    error::{NvmlError, nvml_sym, nvml_try},
    struct_wrappers::device::{PciInfo, ProcessInfo},
};
use sluicegate_spec::units::Bytes;

use super::facts::{
    Ancestor, GpuFacts, GpuProcess, MachineFacts, MemoryFacts, MigInstance, NvlinkFacts,
    NvlinkRemote, PairFacts, PciAddress, PcieFacts,
};

const LIBRARY: &str = "libnvidia-ml.so.1";
/// Folders given by the user, as for the libraries of CUDA.
const FOLDERS_VARIABLE: &str = "SLUICEGATE_CUDA_LIBS";

/// `NVML_NVLINK_MAX_LINKS`.
const MAX_NVLINKS: u32 = 18;
/// `NVML_NVLINK_DEVICE_TYPE_GPU` and `NVML_NVLINK_DEVICE_TYPE_SWITCH`.
const REMOTE_GPU: u32 = 0;
const REMOTE_SWITCH: u32 = 2;
/// The longest name of a program that is asked for.
const MAX_NAME_BYTES: usize = 256;

/// Why NVML says nothing of this machine.
#[derive(Debug, thiserror::Error)]
pub enum NvmlFailure {
    #[error("{LIBRARY}, which comes with NVIDIA's driver, was not found")]
    NotFound,
    #[error("NVIDIA's driver is not loaded")]
    NoDriver,
    #[error(
        "{LIBRARY} and the loaded driver are of different releases: restart the machine, or load \
         the driver again"
    )]
    OtherRelease,
    #[error("this user may not ask NVIDIA's driver")]
    NoPermission,
    /// In the library's words.
    #[error("{LIBRARY} says: {0}")]
    Said(NvmlError),
}

impl From<NvmlError> for NvmlFailure {
    fn from(error: NvmlError) -> Self {
        match error {
            NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => Self::NotFound,
            NvmlError::DriverNotLoaded => Self::NoDriver,
            NvmlError::LibRmVersionMismatch => Self::OtherRelease,
            NvmlError::NoPermission => Self::NoPermission,
            error => Self::Said(error),
        }
    }
}

/// Reads what there is to know of all GPUs. No context is made on any.
///
/// A fact that a GPU does not tell is left out; a GPU that tells nothing is named in
/// [`MachineFacts::unread`].
///
/// # Errors
/// [`NvmlFailure`] if there is no library, or it does not work.
pub fn read() -> Result<MachineFacts, NvmlFailure> {
    let nvml = open()?;
    let mut unread = Vec::new();
    let mut found = Vec::new();
    for index in 0..nvml.device_count()? {
        let read = nvml.device_by_index(index).and_then(|device| {
            let facts = gpu(&nvml, &device)?;
            Ok((facts, device))
        });
        match read {
            Ok(read) => found.push(read),
            Err(error) => unread.push(format!("GPU {index}: {}", NvmlFailure::from(error))),
        }
    }
    found.sort_by_key(|(facts, _)| facts.address);
    let (gpus, devices): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    let pairs = pairs(&nvml, &devices);
    Ok(MachineFacts { driver: nvml.sys_driver_version().ok(), gpus, pairs, unread })
}

fn open() -> Result<Nvml, NvmlFailure> {
    let folders = std::env::var_os(FOLDERS_VARIABLE).unwrap_or_default();
    let paths = std::env::split_paths(&folders).map(|folder| folder.join(LIBRARY));
    let named: Vec<PathBuf> = paths.filter(|path| path.is_file()).collect();
    for path in named {
        match Nvml::builder().lib_path(path.as_os_str()).init() {
            Err(NvmlError::LibloadingError(_)) => {}
            outcome => return Ok(outcome?),
        }
    }
    Ok(Nvml::init()?)
}

/// Only what identifies a GPU has to be known of it.
fn gpu(nvml: &Nvml, device: &Device<'_>) -> Result<GpuFacts, NvmlError> {
    let capability = device.cuda_compute_capability().ok();
    let number = |it: i32| u32::try_from(it).ok();
    Ok(GpuFacts {
        uuid: device.uuid()?,
        name: device.name()?,
        address: address(&device.pci_info()?),
        memory: memory(device),
        capability: capability.and_then(|it| number(it.major).zip(number(it.minor))),
        pcie: pcie(device).ok(),
        nvlinks: (0..MAX_NVLINKS).filter_map(|link| nvlink(nvml, device, link).ok()?).collect(),
        processes: processes(nvml, device),
        mig: mig(nvml, device),
        busy_percent: device.utilization_rates().ok().map(|it| it.gpu),
    })
}

fn address(info: &PciInfo) -> PciAddress {
    PciAddress { domain: info.domain, bus: info.bus, device: info.device }
}

fn memory(device: &Device<'_>) -> Option<MemoryFacts> {
    let info = device.memory_info().ok()?;
    Some(MemoryFacts { total: Bytes(info.total), free: Bytes(info.free) })
}

fn pcie(device: &Device<'_>) -> Result<PcieFacts, NvmlError> {
    Ok(PcieFacts {
        generation: device.current_pcie_link_gen()?,
        width: device.current_pcie_link_width()?,
        max_generation: device.max_pcie_link_gen()?,
        max_width: device.max_pcie_link_width()?,
    })
}

/// Returns a link that is up.
fn nvlink(nvml: &Nvml, device: &Device<'_>, link: u32) -> Result<Option<NvlinkFacts>, NvmlError> {
    let wrapper = device.link_wrapper_for(link);
    if !wrapper.is_active()? {
        return Ok(None);
    }
    let remote = match remote_type(nvml, device, link) {
        Ok(REMOTE_GPU) => NvlinkRemote::Gpu(address(&wrapper.remote_pci_info()?)),
        Ok(REMOTE_SWITCH) => NvlinkRemote::Switch,
        _ => NvlinkRemote::Other,
    };
    Ok(Some(NvlinkFacts { version: wrapper.version().ok(), remote }))
}

/// The wrapper's own function for it drops what the library answers (0.13.0).
fn remote_type(nvml: &Nvml, device: &Device<'_>, link: u32) -> Result<u32, NvmlError> {
    let call = nvml_sym(nvml.lib().nvmlDeviceGetNvLinkRemoteDeviceType.as_ref())?;
    let mut found = u32::MAX;
    // SAFETY: the handle is that of a device of this library, and the answer is one number.
    nvml_try(unsafe { call(device.handle(), link, &raw mut found) })?;
    Ok(found)
}

/// Lists processes that compute or draw, each once, without this one.
fn processes(nvml: &Nvml, device: &Device<'_>) -> Vec<GpuProcess> {
    let computing = device.running_compute_processes().unwrap_or_default();
    let drawing = device.running_graphics_processes().unwrap_or_default();
    let others = computing.into_iter().chain(drawing).filter(|it| it.pid != std::process::id());
    let process = |it: ProcessInfo| GpuProcess {
        pid: it.pid,
        name: nvml.sys_process_name(it.pid, MAX_NAME_BYTES).ok().filter(|name| !name.is_empty()),
        memory: match it.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(Bytes(bytes)),
            UsedGpuMemory::Unavailable => None,
        },
    };
    let mut processes: Vec<GpuProcess> = others.map(process).collect();
    processes.sort();
    processes.dedup_by_key(|it| it.pid);
    processes
}

/// Lists the instances of a GPU that is divided.
fn mig(nvml: &Nvml, device: &Device<'_>) -> Option<Vec<MigInstance>> {
    let is_divided = device.mig_mode().is_ok_and(|mode| mode.current != 0);
    let count = is_divided.then(|| device.mig_device_count().unwrap_or(0))?;
    let instance = |index| -> Result<MigInstance, NvmlError> {
        let instance = device.mig_device_by_index(index)?;
        let id = |which| instance_id(nvml, &instance, which).ok();
        Ok(MigInstance {
            uuid: instance.uuid()?,
            name: instance.name()?,
            gpu_instance: id(Level::Gpu),
            compute_instance: id(Level::Compute),
            memory: memory(&instance),
        })
    };
    // Places without an instance answer that nothing was found.
    Some((0..count).filter_map(|index| instance(index).ok()).collect())
}

#[derive(Clone, Copy)]
enum Level {
    Gpu,
    Compute,
}

fn instance_id(nvml: &Nvml, instance: &Device<'_>, level: Level) -> Result<u32, NvmlError> {
    let call = match level {
        Level::Gpu => nvml_sym(nvml.lib().nvmlDeviceGetGpuInstanceId.as_ref())?,
        Level::Compute => nvml_sym(nvml.lib().nvmlDeviceGetComputeInstanceId.as_ref())?,
    };
    let mut found = 0;
    // SAFETY: the handle is that of a device of this library, and the answer is one number.
    nvml_try(unsafe { call(instance.handle(), &raw mut found) })?;
    Ok(found)
}

fn pairs(nvml: &Nvml, devices: &[Device<'_>]) -> Vec<PairFacts> {
    let indices = (0..devices.len()).flat_map(|second| (0..second).map(move |it| (it, second)));
    let pair = |(first, second): (usize, usize)| {
        let (one, other) = (&devices[first], &devices[second]);
        let status = one.p2p_status(other, P2pCapabilitiesIndex::Read);
        PairFacts {
            first,
            second,
            ancestor: nvml.topology_common_ancestor(one, other).ok().map(ancestor),
            is_peer: status.ok().map(|status| status == P2pStatus::Ok),
        }
    };
    indices.map(pair).collect()
}

fn ancestor(level: TopologyLevel) -> Ancestor {
    match level {
        TopologyLevel::Internal => Ancestor::Board,
        TopologyLevel::Single => Ancestor::Switch,
        TopologyLevel::Multiple => Ancestor::Switches,
        TopologyLevel::HostBridge => Ancestor::HostBridge,
        TopologyLevel::Node => Ancestor::Node,
        TopologyLevel::System => Ancestor::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_say_what_is_missing() {
        #[track_caller]
        fn check(error: NvmlError, want: &str) {
            assert_eq!(NvmlFailure::from(error).to_string(), want);
        }
        let not_found = "libnvidia-ml.so.1, which comes with NVIDIA's driver, was not found";
        check(NvmlError::LibraryNotFound, not_found);
        check(NvmlError::DriverNotLoaded, "NVIDIA's driver is not loaded");
        check(NvmlError::NoPermission, "this user may not ask NVIDIA's driver");
        check(
            NvmlError::LibRmVersionMismatch,
            "libnvidia-ml.so.1 and the loaded driver are of different releases: restart the \
             machine, or load the driver again",
        );
        check(NvmlError::Unknown, "libnvidia-ml.so.1 says: an internal driver error occurred");
    }

    #[test]
    fn a_machine_without_the_library_is_no_panic() {
        match read() {
            Ok(machine) => assert!(machine.gpus.iter().all(|gpu| gpu.uuid.starts_with("GPU-"))),
            Err(failure) => assert!(!failure.to_string().is_empty()),
        }
    }
}
