//! The CUDA runtime, as kernels use it that nvcc has linked into a program.
//!
//! Their fat binaries are registered before anything is asked of a device, and read when a kernel
//! of them is launched for the first time.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    sync::{Mutex, PoisonError},
};

use super::{
    CURRENT, PER_THREAD, SUCCESS, answered, call, calls, current, lock, module::set_attribute, put,
};
use crate::{
    error::{Code, Failure, Outcome},
    fat_binary::{self, HEADER_BYTES},
    world::World,
};

/// What nvcc's code hands over: `__fatBinC_Wrapper_t` of `fatbinary_section.h`.
#[repr(C)]
struct Wrapper {
    magic: c_int,
    version: c_int,
    data: *const u8,
    more: *mut c_void,
}

/// Sizes along three axes, `dim3`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
struct Sizes {
    x: c_uint,
    y: c_uint,
    z: c_uint,
}

/// What is registered, and what of it was loaded.
#[derive(Default)]
struct Registry {
    binaries: Vec<&'static [u8]>,
    /// By the address of the function of the host that stands for the kernel.
    functions: HashMap<usize, (usize, &'static CStr)>,
    /// Modules by fat binary and context; functions by their address and context.
    modules: HashMap<(usize, u64), u64>,
    loaded: HashMap<(usize, u64), u64>,
    /// Dynamic shared memory that was asked for, by function and device: it outlives a context.
    dynamic_bytes: HashMap<(usize, usize), usize>,
    /// Devices whose context the runtime holds, once for each.
    held: HashSet<usize>,
}

static REGISTRY: Mutex<Option<Registry>> = Mutex::new(None);

thread_local! {
    /// Grid, block, shared memory and stream of the launch that is being made.
    static CONFIGURATIONS: RefCell<Vec<(Sizes, Sizes, usize, u64)>> = const { RefCell::new(Vec::new()) };
    static LAST_ERROR: Cell<c_int> = const { Cell::new(SUCCESS) };
}

fn registry<T>(change: impl FnOnce(&mut Registry) -> T) -> T {
    let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
    change(registry.get_or_insert_default())
}

/// As [`call`], and keeps an error for who asks later.
fn runtime(function: &'static str, body: impl FnOnce(&mut World) -> Outcome) -> c_int {
    let result = call(function, body);
    if result != SUCCESS {
        LAST_ERROR.set(result);
    }
    result
}

/// Its handle is its number, counted from one.
///
/// # Safety
/// As the runtime: the wrapper and what it points to are the program's own, and stay.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaRegisterFatBinary(wrapper: *const Wrapper) -> usize {
    // SAFETY: the caller vouches for the wrapper, and that a header begins its data, which states
    // how long it is.
    let data = unsafe {
        let data = (*wrapper).data;
        let num_bytes = fat_binary::num_bytes(&*data.cast::<[u8; HEADER_BYTES]>());
        std::slice::from_raw_parts(data, num_bytes.unwrap_or(0))
    };
    calls::count("__cudaRegisterFatBinary");
    registry(|it| {
        it.binaries.push(data);
        it.binaries.len()
    })
}

/// The arguments behind the fourth say nothing about a kernel that is launched.
///
/// # Safety
/// As the runtime: the name is the program's own, and stays.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaRegisterFunction(
    handle: usize,
    host: usize,
    _device: *mut c_char,
    name: *const c_char,
) {
    // SAFETY: the caller vouches for the name.
    let name: &'static CStr = unsafe { CStr::from_ptr(name) };
    calls::count("__cudaRegisterFunction");
    registry(|it| it.functions.insert(host, (handle - 1, name)));
}

/// Variables are those of the module; the program's side of them is not used.
#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterVar(_handle: usize) {
    calls::count("__cudaRegisterVar");
}

#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterFatBinaryEnd(_handle: usize) {
    calls::count("__cudaRegisterFatBinaryEnd");
}

#[unsafe(no_mangle)]
extern "C" fn __cudaUnregisterFatBinary(_handle: usize) {
    calls::count("__cudaUnregisterFatBinary");
}

/// # Safety
/// As the runtime: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaGetKernel(target: *mut usize, host: usize) -> c_int {
    // SAFETY: the caller's pointer. A kernel's handle is the function that stands for it.
    answered("__cudaGetKernel", || unsafe { put(target, host) })
}

/// The driver's handle of a kernel on a device.
fn function(world: &mut World, device: usize, host: usize) -> Outcome<u64> {
    let context = world.context(device).handle();
    registry(|it| {
        if let Some(function) = it.loaded.get(&(host, context)) {
            return Ok(*function);
        }
        let (binary, name) = *it.functions.get(&host).ok_or_else(|| {
            Failure::new(Code::InvalidValue, format!("no kernel is registered at {host:#x}"))
        })?;
        let loaded = it.modules.get(&(binary, context)).copied();
        let module = if let Some(module) = loaded {
            module
        } else {
            let capability = world.machine.devices[device].capability;
            let text = fat_binary::ptx(it.binaries[binary], capability)?;
            let module = world.load_module(device, &text)?;
            it.modules.insert((binary, context), module);
            module
        };
        let function = world.get_function(module, &name.to_string_lossy())?;
        if let Some(bytes) = it.dynamic_bytes.get(&(host, device)) {
            world.let_have(function, *bytes)?;
        }
        it.loaded.insert((host, context), function);
        Ok(function)
    })
}

#[unsafe(no_mangle)]
extern "C" fn __cudaPushCallConfiguration(
    grid: Sizes,
    block: Sizes,
    shared_bytes: usize,
    stream: u64,
) -> c_uint {
    calls::count("__cudaPushCallConfiguration");
    CONFIGURATIONS.with_borrow_mut(|it| it.push((grid, block, shared_bytes, stream)));
    0
}

/// # Safety
/// As the runtime: all can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaPopCallConfiguration(
    grid: *mut Sizes,
    block: *mut Sizes,
    shared_bytes: *mut usize,
    stream: *mut u64,
) -> c_int {
    answered("__cudaPopCallConfiguration", || {
        let latest = CONFIGURATIONS.with_borrow_mut(Vec::pop);
        let latest =
            latest.ok_or_else(|| Failure::new(Code::InvalidValue, "no launch is being made"))?;
        // SAFETY: the caller's pointers.
        unsafe {
            put(grid, latest.0)?;
            put(block, latest.1)?;
            put(shared_bytes, latest.2)?;
            put(stream, latest.3)
        }
    })
}

/// # Safety
/// As the runtime: `params` points to a pointer for each of the kernel's parameters.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cudaLaunchKernel_ptsz(
    host: usize,
    grid: Sizes,
    block: Sizes,
    params: *const *const c_void,
    shared_bytes: usize,
    stream: u64,
) -> c_int {
    runtime("__cudaLaunchKernel", |world| {
        let stream = if stream == 0 { PER_THREAD } else { stream };
        let sizes = [grid, block].map(|it| [it.x, it.y, it.z]);
        let launched = current(world).and_then(|device| {
            let function = function(world, device, host)?;
            // SAFETY: the caller vouches for the parameters.
            unsafe { super::module::launch(world, function, sizes, (shared_bytes, stream), params) }
        });
        launched.inspect_err(|failure| world.leave_unread(Some(failure.clone())))
    })
}

/// # Safety
/// As the runtime: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cudaGetDevice(target: *mut c_int) -> c_int {
    runtime("cudaGetDevice", |_| {
        let device = CURRENT.get().map_or(0, |context| context.device);
        // SAFETY: the caller's pointer.
        unsafe { put(target, c_int::try_from(device).unwrap_or(0)) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudaSetDevice(device: c_int) -> c_int {
    runtime("cudaSetDevice", |world| {
        let device = world.check_device(device)?;
        if registry(|it| it.held.insert(device)) {
            world.retain(device)?;
        }
        CURRENT.set(Some(world.context(device)));
        Ok(())
    })
}

/// # Safety
/// As the runtime: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cudaGetDeviceCount(target: *mut c_int) -> c_int {
    answered("cudaGetDeviceCount", || {
        let count = lock()?.machine.devices.len();
        // SAFETY: the caller's pointer.
        unsafe { put(target, c_int::try_from(count).unwrap_or(c_int::MAX)) }
    })
}

/// # Safety
/// As the runtime: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cudaDeviceGetAttribute(
    target: *mut c_int,
    attribute: c_uint,
    device: c_int,
) -> c_int {
    runtime("cudaDeviceGetAttribute", |world| {
        let device = world.check_device(device)?;
        let value = super::device::attribute_of(world, device, attribute)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, value) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudaFuncSetAttribute(host: usize, attribute: c_uint, value: c_int) -> c_int {
    runtime("cudaFuncSetAttribute", |world| {
        let device = current(world)?;
        let function = function(world, device, host)?;
        if let Some(bytes) = set_attribute(world, function, attribute, value)? {
            registry(|it| it.dynamic_bytes.insert((host, device), bytes));
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cudaGetLastError() -> c_int {
    calls::count("cudaGetLastError");
    read_error();
    LAST_ERROR.replace(SUCCESS)
}

#[unsafe(no_mangle)]
extern "C" fn cudaPeekAtLastError() -> c_int {
    calls::count("cudaPeekAtLastError");
    read_error();
    LAST_ERROR.get()
}

/// Takes note that the program asks how its launches went.
fn read_error() {
    if let Ok(mut world) = lock() {
        world.leave_unread(None);
    }
}

/// Defines functions that the linked kernels of mixtures of experts call, and no model of ours.
macro_rules! not_here {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> c_int {
                runtime(stringify!($name), |_| {
                    Err(Failure::new(Code::NotSupported, "it is not emulated"))
                })
            }
        )*
    };
}

not_here! {
    cudaFree cudaFreeAsync_ptsz cudaFuncGetAttributes cudaLaunchKernelExC_ptsz cudaMalloc
    cudaMallocAsync_ptsz cudaMemsetAsync_ptsz
    cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cudaStreamSynchronize_ptsz
}
