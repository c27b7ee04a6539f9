//! Modules, and launches of their kernels.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::{call, current, current_stream, put};
use crate::{
    error::{Code, Failure, Outcome},
    work::Launch,
    world::{Loaded, World},
};

/// # Safety
/// As the driver: `target` can be written, and `image` is text that ends with a zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(target: *mut u64, image: *const c_void) -> c_int {
    call("cuModuleLoadData", |world| {
        if image.is_null() {
            return Err(Failure::new(Code::InvalidValue, "an image at a null pointer"));
        }
        // SAFETY: the caller vouches for the image. Machine code, which would begin with these four
        // bytes, is refused before the end of a text is sought.
        let text = unsafe {
            if image.cast::<[u8; 4]>().read() == *b"\x7fELF" {
                return Err(Failure::new(Code::NoBinaryForGpu, "machine code, and no PTX"));
            }
            CStr::from_ptr(image.cast())
        };
        let module = load(world, text)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, module) }
    })
}

/// # Safety
/// As the driver: `target` can be written, and `path` is text that ends with a zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoad(target: *mut u64, path: *const c_char) -> c_int {
    call("cuModuleLoad", |world| {
        // SAFETY: the caller vouches for the path.
        let path = unsafe { CStr::from_ptr(path) }.to_string_lossy();
        let read = std::fs::read_to_string(&*path);
        let text =
            read.map_err(|error| Failure::new(Code::FileNotFound, format!("{path}: {error}")))?;
        let device = current(world)?;
        let module = world.load_module(device, &text)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, module) }
    })
}

fn load(world: &mut World, text: &CStr) -> Outcome<u64> {
    let device = current(world)?;
    let text = text.to_str().map_err(|error| {
        Failure::new(Code::InvalidImage, format!("the image is no text: {error}"))
    })?;
    world.load_module(device, text)
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleUnload(module: u64) -> c_int {
    call("cuModuleUnload", |world| world.unload_module(module))
}

/// # Safety
/// As the driver: `target` can be written, and `name` is text that ends with a zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(
    target: *mut u64,
    module: u64,
    name: *const c_char,
) -> c_int {
    call("cuModuleGetFunction", |world| {
        current(world)?;
        // SAFETY: the caller vouches for the name.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let function = world.get_function(module, &name)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, function) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: u64, attribute: c_uint, value: c_int) -> c_int {
    call("cuFuncSetAttribute", |world| {
        current(world)?;
        set_attribute(world, function, attribute, value).map(drop)
    })
}

/// Sets an attribute of a function. Returns the bytes, if they are of dynamic shared memory.
pub(super) fn set_attribute(
    world: &mut World,
    function: u64,
    attribute: c_uint,
    value: c_int,
) -> Outcome<Option<usize>> {
    /// Source: `cuda.h`, `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES`, and
    /// `CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT`, in percent, which is a hint.
    const DYNAMIC_BYTES: c_uint = 8;
    const CARVEOUT: c_uint = 9;
    world.function(function)?;
    match (attribute, usize::try_from(value)) {
        (DYNAMIC_BYTES, Ok(bytes)) => {
            world.let_have(function, bytes)?;
            Ok(Some(bytes))
        }
        (CARVEOUT, _) if (-1..=100).contains(&value) => Ok(None),
        _ => {
            let detail = format!("{value} for attribute {attribute} of a function");
            Err(Failure::new(Code::InvalidValue, detail))
        }
    }
}

/// # Safety
/// As the driver: `params` points to a pointer for each of the kernel's parameters.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: u64,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: u64,
    params: *const *const c_void,
    extra: *const *const c_void,
) -> c_int {
    call("cuLaunchKernel", |world| {
        if !extra.is_null() {
            let detail = "parameters in `extra` are not known here";
            return Err(Failure::new(Code::NotSupported, detail));
        }
        let sizes = [[grid_x, grid_y, grid_z], [block_x, block_y, block_z]];
        // SAFETY: the caller vouches for the parameters.
        unsafe { launch(world, function, sizes, (shared_bytes as usize, stream), params) }
    })
}

/// Launches a kernel, of the sizes of grid and block.
///
/// # Safety
/// `params` points to a pointer for each of the kernel's parameters.
pub(super) unsafe fn launch(
    world: &mut World,
    function: u64,
    [grid_size, block_size]: [[u32; 3]; 2],
    (shared_bytes, stream): (usize, u64),
    params: *const *const c_void,
) -> Outcome {
    let Loaded { device, it } = world.function(function)?;
    let (device, kernel) = (*device, it.kernel.clone());
    let (current, stream) = current_stream(world, stream)?;
    if device != current {
        let name = &kernel.name;
        let detail =
            format!("the kernel `{name}` of cuda:{device} while cuda:{current} is current");
        return Err(Failure::new(Code::InvalidHandle, detail));
    }
    world.check_shared(function, shared_bytes)?;
    let mut block = vec![0; kernel.param_bytes()];
    for (index, param) in kernel.params.iter().enumerate() {
        let target = &mut block[param.offset..][..param.bytes];
        // SAFETY: the caller vouches for a pointer to each parameter.
        unsafe {
            let value = params.add(index).read().cast::<u8>();
            std::ptr::copy_nonoverlapping(value, target.as_mut_ptr(), param.bytes);
        }
    }
    let launch = Launch { kernel, grid_size, block_size, shared_bytes, params: block };
    world.launch(device, stream, launch)
}
