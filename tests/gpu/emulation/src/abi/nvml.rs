//! NVML: what devices there are, for those who make no context to ask. It lists all, whichever the
//! driver shows.

use std::ffi::{c_char, c_int, c_uint};

use super::{initialize, world};
use crate::{installed::uuid, world::World};

/// Source: `nvml.h`, `nvmlReturn_t`.
const OK: c_int = 0;
const INVALID_ARGUMENT: c_int = 2;
const NOT_SUPPORTED: c_int = 3;
const DRIVER_NOT_LOADED: c_int = 9;

/// `nvmlPciInfo_t`.
#[repr(C)]
struct PciInfo {
    old_bus_id: [u8; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    id: c_uint,
    subsystem: c_uint,
    bus_id: [u8; 32],
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
struct Memory {
    version: c_uint,
    total: u64,
    reserved: u64,
    free: u64,
    used: u64,
}

/// Answers from the machine; a handle is the device's place, counted from one.
fn ask(device: usize, answer: impl FnOnce(&World, usize)) -> c_int {
    let Ok(world) = world() else { return DRIVER_NOT_LOADED };
    match device.checked_sub(1).filter(|it| *it < world.installed.models.len()) {
        Some(place) => {
            answer(&world, place);
            OK
        }
        None => INVALID_ARGUMENT,
    }
}

/// Writes text that ends with a zero.
///
/// # Safety
/// `length` bytes at `target` can be written.
unsafe fn write(text: &str, target: *mut c_char, length: c_uint) {
    let room = (length as usize).saturating_sub(1);
    let text = &text.as_bytes()[..text.len().min(room)];
    // SAFETY: the caller vouches for the room, which the text and the zero do not exceed.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), target, text.len());
        target.add(text.len()).write(0);
    }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlInit_v2() -> c_int {
    if initialize().is_ok() { OK } else { DRIVER_NOT_LOADED }
}

#[unsafe(no_mangle)]
extern "C" fn nvmlShutdown() -> c_int {
    OK
}

#[unsafe(no_mangle)]
extern "C" fn nvmlErrorString(_code: c_int) -> *const c_char {
    c"an error of emulated GPUs".as_ptr()
}

/// # Safety
/// As NVML: `length` bytes at `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlSystemGetDriverVersion(target: *mut c_char, length: c_uint) -> c_int {
    // SAFETY: the caller's room.
    unsafe { write("580.0 (emulated)", target, length) };
    OK
}

/// # Safety
/// As NVML: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCount_v2(target: *mut c_uint) -> c_int {
    let Ok(world) = world() else { return DRIVER_NOT_LOADED };
    // SAFETY: the caller's pointer.
    unsafe { target.write(u32::try_from(world.installed.models.len()).unwrap_or(0)) };
    OK
}

/// # Safety
/// As NVML: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, target: *mut usize) -> c_int {
    // SAFETY: the caller's pointer.
    ask(index as usize + 1, |_, place| unsafe { target.write(place + 1) })
}

/// # Safety
/// As NVML: `length` bytes at `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetName(
    device: usize,
    target: *mut c_char,
    length: c_uint,
) -> c_int {
    ask(device, |world, place| {
        // SAFETY: the caller's room.
        unsafe { write(&world.installed.models[place].name(), target, length) };
    })
}

/// # Safety
/// As NVML: `length` bytes at `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetUUID(
    device: usize,
    target: *mut c_char,
    length: c_uint,
) -> c_int {
    // SAFETY: the caller's room.
    ask(device, |_, place| unsafe { write(&uuid(place), target, length) })
}

/// # Safety
/// As NVML: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetPciInfo_v3(device: usize, target: *mut PciInfo) -> c_int {
    ask(device, |_, place| {
        let bus = u32::try_from(place).unwrap_or(u32::MAX - 1) + 1;
        let mut bus_id = [0; 32];
        let text = format!("00000000:{bus:02X}:00.0");
        bus_id[..text.len()].copy_from_slice(text.as_bytes());
        let mut old_bus_id = [0; 16];
        let text = &text["0000".len()..];
        old_bus_id[..text.len()].copy_from_slice(text.as_bytes());
        let info = PciInfo { old_bus_id, domain: 0, bus, device: 0, id: 0, subsystem: 0, bus_id };
        // SAFETY: the caller's pointer.
        unsafe { target.write(info) };
    })
}

/// # Safety
/// As NVML: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: usize, target: *mut Memory) -> c_int {
    ask(device, |world, place| {
        let total = world.installed.models[place].memory_bytes;
        let shown = world.installed.device(place);
        let (free, total) = shown.map_or((total, total), |device| world.memory.info(device));
        // SAFETY: the caller's pointer.
        let target = unsafe { &mut *target };
        let version = target.version;
        *target = Memory { version, total, reserved: 0, free, used: total - free };
    })
}

/// # Safety
/// As NVML: both can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: usize,
    major: *mut c_int,
    minor: *mut c_int,
) -> c_int {
    ask(device, |world, place| {
        let capability = world.installed.models[place].capability;
        // SAFETY: the caller's pointers.
        unsafe {
            major.write(capability.0.cast_signed());
            minor.write(capability.1.cast_signed());
        }
    })
}

/// # Safety
/// As NVML: `count` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: usize,
    count: *mut c_uint,
    _processes: usize,
) -> c_int {
    // SAFETY: the caller's pointer. Emulated devices are of this process alone.
    ask(device, |_, _| unsafe { count.write(0) })
}

/// # Safety
/// As NVML: `status` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetP2PStatus(
    device: usize,
    _other: usize,
    _index: c_uint,
    status: *mut c_uint,
) -> c_int {
    /// Source: `nvml.h`, `NVML_P2P_STATUS_CHIPSET_NOT_SUPPORTED`.
    const NOT_SUPPORTED: c_uint = 1;
    let status_of = |has_peers| if has_peers { 0 } else { NOT_SUPPORTED };
    // SAFETY: the caller's pointer.
    ask(device, |world, _| unsafe { status.write(status_of(world.machine.has_peers)) })
}

/// # Safety
/// As NVML: `level` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn nvmlDeviceGetTopologyCommonAncestor(
    device: usize,
    _other: usize,
    level: *mut c_uint,
) -> c_int {
    /// Source: `nvml.h`, `NVML_TOPOLOGY_HOSTBRIDGE`.
    const HOST_BRIDGE: c_uint = 30;
    // SAFETY: the caller's pointer.
    ask(device, |_, _| unsafe { level.write(HOST_BRIDGE) })
}

/// Defines what emulated devices do not have.
macro_rules! not_supported {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> c_int {
                NOT_SUPPORTED
            }
        )*
    };
}

not_supported! {
    nvmlDeviceGetComputeInstanceId nvmlDeviceGetCurrPcieLinkGeneration
    nvmlDeviceGetCurrPcieLinkWidth nvmlDeviceGetGpuInstanceId nvmlDeviceGetMaxMigDeviceCount
    nvmlDeviceGetMaxPcieLinkGeneration nvmlDeviceGetMaxPcieLinkWidth
    nvmlDeviceGetMigDeviceHandleByIndex nvmlDeviceGetMigMode nvmlDeviceGetNvLinkRemoteDeviceType
    nvmlDeviceGetNvLinkState nvmlDeviceGetNvLinkVersion nvmlDeviceGetUtilizationRates
    nvmlSystemGetProcessName
}
