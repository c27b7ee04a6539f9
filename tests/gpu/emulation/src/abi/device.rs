//! Devices as programs ask for them.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::{answered, call, initialize, lock, put, world};
use crate::{
    error::{Code, Failure, Outcome},
    installed::VISIBLE,
    world::{SHARED_BYTES, World},
};

/// Source: `cuDriverGetVersion`, 1000 * major + 10 * minor.
const VERSION: c_int = 13_000;

#[unsafe(no_mangle)]
extern "C" fn cuInit(flags: c_uint) -> c_int {
    answered("cuInit", || match flags {
        0 => {
            initialize()?;
            let shows_none = world()?.machine.devices.is_empty();
            let detail = || Failure::new(Code::NoDevice, format!("{VISIBLE} shows none"));
            if shows_none { Err(detail()) } else { Ok(()) }
        }
        flags => Err(Failure::new(Code::InvalidValue, format!("flags {flags:#x}"))),
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(target: *mut c_int) -> c_int {
    // SAFETY: the caller's pointer.
    answered("cuDriverGetVersion", || unsafe { put(target, VERSION) })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(target: *mut c_int) -> c_int {
    answered("cuDeviceGetCount", || {
        let count = lock()?.machine.devices.len();
        // SAFETY: the caller's pointer.
        unsafe { put(target, c_int::try_from(count).unwrap_or(c_int::MAX)) }
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(target: *mut c_int, ordinal: c_int) -> c_int {
    answered("cuDeviceGet", || {
        lock()?.check_device(ordinal)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, ordinal) }
    })
}

/// # Safety
/// As the driver: `len` bytes at `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(target: *mut c_char, len: c_int, device: c_int) -> c_int {
    answered("cuDeviceGetName", || {
        let world = lock()?;
        let device = world.check_device(device)?;
        let name = world.machine.devices[device].name();
        let room = usize::try_from(len).unwrap_or(0).saturating_sub(1);
        let name = &name.as_bytes()[..name.len().min(room)];
        // SAFETY: the caller has room for `len` bytes, and these and the zero are not more.
        unsafe {
            std::ptr::copy_nonoverlapping(name.as_ptr().cast(), target, name.len());
            put(target.add(name.len()), 0)
        }
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(target: *mut usize, device: c_int) -> c_int {
    answered("cuDeviceTotalMem", || {
        let world = lock()?;
        let device = world.check_device(device)?;
        let bytes = world.machine.devices[device].memory_bytes;
        // SAFETY: the caller's pointer.
        unsafe { put(target, usize::try_from(bytes).unwrap_or(usize::MAX)) }
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(
    target: *mut c_int,
    attribute: c_uint,
    device: c_int,
) -> c_int {
    answered("cuDeviceGetAttribute", || {
        let world = lock()?;
        let device = world.check_device(device)?;
        let value = attribute_of(&world, device, attribute)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, value) }
    })
}

/// Source: `cuda.h`, `CUdevice_attribute`, and the table "Technical Specifications per Compute
/// Capability" of the CUDA C++ Programming Guide.
pub(super) fn attribute_of(world: &World, device: usize, attribute: c_uint) -> Outcome<c_int> {
    let model = world.machine.devices[device];
    let (major, minor) = model.capability;
    let shared_bytes = c_int::try_from(model.max_shared_bytes()).unwrap_or(c_int::MAX);
    Ok(match attribute {
        // Threads of a block, in all and along its axes, and blocks of a grid.
        1..=3 => 1024,
        4 => 64,
        5 => c_int::MAX,
        6 | 7 => 65_535,
        // Shared memory of a block: without asking, with, and of a multiprocessor.
        8 => c_int::try_from(SHARED_BYTES).unwrap_or(c_int::MAX),
        97 => shared_bytes,
        81 => shared_bytes + (1 << 10),
        // Threads of a warp, registers of a block and of a multiprocessor.
        10 => 32,
        12 | 82 => 65_536,
        // Multiprocessors, and threads of one.
        16 => 4,
        39 => 2048,
        // Copies beside kernels; unified addresses and pools of memory.
        40 => 2,
        41 | 115 => 1,
        // The bus: domain, bus, device.
        33 => c_int::try_from(world.installed.place(device) + 1).unwrap_or(c_int::MAX),
        34 | 50 => 0,
        75 => major.cast_signed(),
        76 => minor.cast_signed(),
        attribute => {
            let detail = format!("attribute {attribute} is not known here");
            return Err(Failure::new(Code::InvalidValue, detail));
        }
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceCanAccessPeer(
    target: *mut c_int,
    device: c_int,
    peer: c_int,
) -> c_int {
    call("cuDeviceCanAccessPeer", |world| {
        let pair = (world.check_device(device)?, world.check_device(peer)?);
        let can = world.machine.has_peers && pair.0 != pair.1;
        // SAFETY: the caller's pointer.
        unsafe { put(target, can.into()) }
    })
}

/// A device's pool is its ordinal, counted from one.
///
/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetDefaultMemPool(target: *mut u64, device: c_int) -> c_int {
    call("cuDeviceGetDefaultMemPool", |world| {
        let device = world.check_device(device)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, device as u64 + 1) }
    })
}

/// How much a pool keeps has no effect here: what is freed can be used at once.
#[unsafe(no_mangle)]
extern "C" fn cuMemPoolSetAttribute(pool: u64, attribute: c_uint, value: *const c_void) -> c_int {
    /// Source: `cuda.h`, `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
    const RELEASE_THRESHOLD: c_uint = 4;
    call("cuMemPoolSetAttribute", |world| {
        let is_known = (1..=world.machine.devices.len() as u64).contains(&pool);
        if is_known && attribute == RELEASE_THRESHOLD && !value.is_null() {
            return Ok(());
        }
        let detail = format!("attribute {attribute} of pool {pool:#x}");
        Err(Failure::new(Code::InvalidValue, detail))
    })
}
