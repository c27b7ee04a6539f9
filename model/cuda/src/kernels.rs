//! The kernels linked into the program, and their registration with the CUDA runtime.
//!
//! Code compiled by nvcc registers its fat binaries before `main`. These calls are recorded, and
//! replayed once the runtime is loaded.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::Mutex,
};

use libloading::os::unix::Library;

use crate::{
    fat_binary::{self, HEADER_BYTES},
    image::Image,
};

/// The target of a handle of the runtime.
type Handle = *mut *mut c_void;
type RegisterFatBinary = unsafe extern "C" fn(*const Wrapper) -> Handle;
type EndFatBinary = unsafe extern "C" fn(Handle);
type RegisterFunction = unsafe extern "C" fn(
    Handle,
    *const c_void,
    *mut c_char,
    *const c_char,
    c_int,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_int,
);
type RegisterVariable = unsafe extern "C" fn(
    Handle,
    *mut c_void,
    *mut c_char,
    *const c_char,
    c_int,
    usize,
    c_int,
    c_int,
);

/// The argument of nvcc's code: `__fatBinC_Wrapper_t` of `fatbinary_section.h`.
#[repr(C)]
struct Wrapper {
    magic: c_int,
    version: c_int,
    data: *const u8,
    filename_or_fatbins: *mut c_void,
}

struct Function {
    host: *const c_void,
    device: *mut c_char,
    name: *const c_char,
    thread_limit: c_int,
}

struct Variable {
    host: *mut c_void,
    address: *mut c_char,
    name: *const c_char,
    is_external: c_int,
    num_bytes: usize,
    is_constant: c_int,
    is_global: c_int,
}

struct FatBinary {
    wrapper: *const Wrapper,
    functions: Vec<Function>,
    variables: Vec<Variable>,
}

// SAFETY: every pointer is to a static of the program, which nobody writes.
unsafe impl Send for FatBinary {}

static FAT_BINARIES: Mutex<Vec<FatBinary>> = Mutex::new(Vec::new());

/// Returns the devices for which the linked kernels were compiled, per fat binary.
pub fn linked_images() -> Vec<Vec<Image>> {
    let fat_binaries = FAT_BINARIES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    fat_binaries.iter().map(|it| images(it.wrapper)).collect()
}

fn images(wrapper: *const Wrapper) -> Vec<Image> {
    // SAFETY: nvcc's code hands over its own static, whose data begins with a header.
    let (data, header) = unsafe {
        let data = (*wrapper).data;
        (data, &*data.cast::<[u8; HEADER_BYTES]>())
    };
    let Some(num_bytes) = fat_binary::num_bytes(header) else { return Vec::new() };
    // SAFETY: the header states the length of what it begins.
    fat_binary::images(unsafe { std::slice::from_raw_parts(data, num_bytes) })
}

/// Registers all kernels with the runtime. Registrations after this call would be lost; there are
/// none.
///
/// # Errors
/// The name of a function that the library lacks.
///
/// # Safety
/// The library is the CUDA runtime of the release that compiled the kernels, and is never closed.
pub(crate) unsafe fn register_with(runtime: &Library) -> Result<(), &'static CStr> {
    // SAFETY: these are the signatures of `crt/host_runtime.h`.
    let (begin, register_function, register_variable, end) = unsafe {
        (
            get::<RegisterFatBinary>(runtime, c"__cudaRegisterFatBinary")?,
            get::<RegisterFunction>(runtime, c"__cudaRegisterFunction")?,
            get::<RegisterVariable>(runtime, c"__cudaRegisterVar")?,
            get::<EndFatBinary>(runtime, c"__cudaRegisterFatBinaryEnd")?,
        )
    };
    let fat_binaries = FAT_BINARIES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for FatBinary { wrapper, functions, variables } in &*fat_binaries {
        // SAFETY: the arguments are those that nvcc's code gave, in its order.
        unsafe {
            let handle = begin(*wrapper);
            for it in functions {
                let (host, limit) = (it.host, it.thread_limit);
                let none = ptr::null_mut();
                register_function(
                    handle,
                    host,
                    it.device,
                    it.name,
                    limit,
                    none,
                    none,
                    none,
                    none,
                    ptr::null_mut(),
                );
            }
            for it in variables {
                register_variable(
                    handle,
                    it.host,
                    it.address,
                    it.name,
                    it.is_external,
                    it.num_bytes,
                    it.is_constant,
                    it.is_global,
                );
            }
            end(handle);
        }
    }
    Ok(())
}

/// # Safety
/// `T` is the type of a pointer to the function with this name.
unsafe fn get<T: Copy>(library: &Library, name: &'static CStr) -> Result<T, &'static CStr> {
    // SAFETY: the caller vouches for the type.
    let symbol = unsafe { library.get::<T>(name.to_bytes_with_nul()) };
    symbol.map(|it| *it).map_err(|_| name)
}

/// Changes the fat binary of a handle returned by [`__cudaRegisterFatBinary`].
fn with_fat_binary(handle: Handle, change: impl FnOnce(&mut FatBinary)) {
    let mut fat_binaries = FAT_BINARIES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let index = handle.addr().checked_sub(1);
    if let Some(fat_binary) = index.and_then(|it| fat_binaries.get_mut(it)) {
        change(fat_binary);
    }
}

/// Records a fat binary. Its handle is its number, counted from one.
#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterFatBinary(wrapper: *const Wrapper) -> Handle {
    let mut fat_binaries = FAT_BINARIES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    fat_binaries.push(FatBinary { wrapper, functions: Vec::new(), variables: Vec::new() });
    ptr::without_provenance_mut(fat_binaries.len())
}

/// Records a kernel. The last five arguments, which are not named here, are null in all generated
/// code.
#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterFunction(
    handle: Handle,
    host: *const c_void,
    device: *mut c_char,
    name: *const c_char,
    thread_limit: c_int,
) {
    let function = Function { host, device, name, thread_limit };
    with_fat_binary(handle, |it| it.functions.push(function));
}

/// Records a device variable.
#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterVar(
    handle: Handle,
    host: *mut c_void,
    address: *mut c_char,
    name: *const c_char,
    is_external: c_int,
    num_bytes: usize,
    is_constant: c_int,
    is_global: c_int,
) {
    let variable = Variable { host, address, name, is_external, num_bytes, is_constant, is_global };
    with_fat_binary(handle, |it| it.variables.push(variable));
}

#[unsafe(no_mangle)]
extern "C" fn __cudaRegisterFatBinaryEnd(_handle: Handle) {}

/// Called while the process ends, when the runtime may already be gone. It frees nothing that the
/// end of the process does not free.
#[unsafe(no_mangle)]
extern "C" fn __cudaUnregisterFatBinary(_handle: Handle) {}
