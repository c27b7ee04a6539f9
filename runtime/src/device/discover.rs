//! What devices this machine shows, and which of them a user may have.

use std::path::Path;

use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    cgroup,
    driver::{self, NoCuda},
    gpu::{nvml, visible::Variables},
    inventory::{Inventory, ListedGpu},
    selector::{DeviceSelector, SelectorError},
};

/// A device that was found, with the memory that a plan may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundDevice {
    pub id: DeviceId,
    pub memory: Bytes,
    /// Whether it is for what does not fit on the others: a CPU beside GPUs, if nobody has named it.
    pub is_spare: bool,
}

/// The devices that a selector names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub devices: Vec<FoundDevice>,
    /// Why GPUs that might have been wanted are not among them, each reason in a line.
    pub left_out: Vec<String>,
    /// What is known of the GPUs; empty if none was wanted.
    pub gpus: Inventory,
}

/// Finds the devices that are wanted: GPUs, and `num_cpu` logical CPU devices that share what is
/// free of this machine's memory. GPUs that are not wanted are not touched, and no context is made
/// on the others if NVML knows their free memory.
///
/// # Errors
/// [`SelectorError`] if a device that was asked for by name is not there or cannot be used.
pub fn discover(selector: &DeviceSelector, num_cpu: u32) -> Result<Discovery, SelectorError> {
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    let mut gpus = Inventory::default();
    if selector.may_want_gpus() {
        match driver::gpus() {
            Ok(shown) => {
                gpus = Inventory::join(Ok(shown), nvml::read(), &Variables::of_process());
                for gpu in gpus.gpus.iter().filter(|gpu| selector.may_want(gpu.id)) {
                    match free_memory(gpu, &gpus.notes) {
                        Ok(memory) => {
                            found.push(FoundDevice { id: gpu.id, memory, is_spare: false });
                        }
                        Err(reason) => left_out.push(format!("{}: {reason}", gpu.id)),
                    }
                }
            }
            // Nobody expects a GPU of such a build, unless it is asked for by name.
            Err(NoCuda::NotBuilt) if *selector == DeviceSelector::Auto => {}
            Err(reason) => left_out = reasons(reason),
        }
    }
    found.extend(logical_cpus(num_cpu));
    let devices = selector.select(&found, &left_out)?;
    Ok(Discovery { devices, left_out, gpus })
}

/// Returns why no GPU can be used. Where the driver is there and fails, NVML may say more: that a
/// variable hides all GPUs, or that driver and libraries do not fit.
fn reasons(reason: NoCuda) -> Vec<String> {
    let said = reason.to_string();
    let mut notes = match reason {
        NoCuda::Driver(_) => {
            Inventory::join(Err(reason), nvml::read(), &Variables::of_process()).notes
        }
        NoCuda::NotBuilt | NoCuda::Libraries(_) => Vec::new(),
    };
    notes.retain(|note| *note != said);
    [vec![said], notes].concat()
}

/// Returns `count` logical CPU devices, which share what is free of this machine's memory.
pub(super) fn logical_cpus(count: u32) -> impl Iterator<Item = FoundDevice> {
    let (_total, free) = host_memory();
    let memory = Bytes(free.0 / u64::from(count.max(1)));
    (0..count).map(move |index| FoundDevice { id: DeviceId::Cpu(index), memory, is_spare: false })
}

/// Returns what is free of a GPU that this build can run on. The driver is asked where NVML does
/// not tell; if it does not either, `notes` say why NVML was silent.
fn free_memory(gpu: &ListedGpu, notes: &[String]) -> Result<Bytes, String> {
    if let Some(reason) = &gpu.refused {
        return Err(reason.clone());
    }
    if let Some(free) = gpu.free {
        return Ok(free);
    }
    let asked = driver::free_memory(gpu.id);
    asked.map_err(|reason| [&[reason], notes].concat().join("; "))
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
