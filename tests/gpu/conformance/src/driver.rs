//! NVIDIA's driver as a shared library: its functions by their C signatures, and nothing above.

use std::{
    env,
    ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_void},
    path::Path,
};

use libloading::Library;

use crate::{code::Code, error::ProgramError};

const LIBRARY: &str = "libcuda.so.1";
/// Folders that are searched before those of the system.
const FOLDERS: &str = "SLUICEGATE_CUDA_LIBS";

/// A pointer to something of the driver: a context, stream, event, module or function. It is passed
/// as a C pointer is.
pub(crate) type Handle = usize;
/// `CUdeviceptr`.
pub(crate) type Address = u64;

/// Declares functions: those that are safe to call get a method, the others can be called within
/// this module's own methods. A result goes to a reference, which is passed as a C pointer is.
macro_rules! functions {
    (
        methods { $($name:ident = $symbol:ident($($argument:ident: $ty:ty),*);)* }
        fields { $($raw:ident = $raw_symbol:ident($($raw_ty:ty),*);)* }
    ) => {
        pub(crate) struct Driver {
            $($name: unsafe extern "C" fn($($ty),*) -> c_int,)*
            $($raw: unsafe extern "C" fn($($raw_ty),*) -> c_int,)*
            _library: Library,
        }

        impl Driver {
            fn of(library: Library) -> Result<Self, libloading::Error> {
                // SAFETY: the signatures are those of `cuda.h`, and the library stays loaded.
                unsafe {
                    Ok(Self {
                        $($name: *library.get(stringify!($symbol))?,)*
                        $($raw: *library.get(stringify!($raw_symbol))?,)*
                        _library: library,
                    })
                }
            }

            $(
                pub(crate) fn $name(&self, $($argument: $ty),*) -> Code {
                    // SAFETY: results go to references, and all else is a number to the driver.
                    Code(unsafe { (self.$name)($($argument),*) })
                }
            )*
        }
    };
}

functions! {
    methods {
        init = cuInit(flags: c_uint);
        version = cuDriverGetVersion(target: &mut c_int);
        device_count = cuDeviceGetCount(target: &mut c_int);
        device = cuDeviceGet(target: &mut c_int, ordinal: c_int);
        attribute = cuDeviceGetAttribute(target: &mut c_int, attribute: c_uint, device: c_int);
        total_memory = cuDeviceTotalMem_v2(target: &mut usize, device: c_int);
        can_access_peer = cuDeviceCanAccessPeer(target: &mut c_int, device: c_int, peer: c_int);
        retain = cuDevicePrimaryCtxRetain(target: &mut Handle, device: c_int);
        release = cuDevicePrimaryCtxRelease_v2(device: c_int);
        current = cuCtxGetCurrent(target: &mut Handle);
        set_current = cuCtxSetCurrent(context: Handle);
        synchronize = cuCtxSynchronize();
        enable_peer = cuCtxEnablePeerAccess(context: Handle, flags: c_uint);
        memory_info = cuMemGetInfo_v2(free: &mut usize, total: &mut usize);
        alloc = cuMemAlloc_v2(target: &mut Address, bytes: usize);
        free = cuMemFree_v2(address: Address);
        alloc_async = cuMemAllocAsync(target: &mut Address, bytes: usize, stream: Handle);
        free_async = cuMemFreeAsync(address: Address, stream: Handle);
        fill = cuMemsetD8Async(target: Address, value: c_uchar, bytes: usize, stream: Handle);
        copy = cuMemcpyDtoDAsync_v2(target: Address, from: Address, bytes: usize, stream: Handle);
        host_alloc = cuMemHostAlloc(target: &mut Handle, bytes: usize, flags: c_uint);
        host_free = cuMemFreeHost(address: Handle);
        create_stream = cuStreamCreate(target: &mut Handle, flags: c_uint);
        destroy_stream = cuStreamDestroy_v2(stream: Handle);
        synchronize_stream = cuStreamSynchronize(stream: Handle);
        query_stream = cuStreamQuery(stream: Handle);
        capture_status = cuStreamIsCapturing(stream: Handle, target: &mut c_int);
        wait_event = cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint);
        create_event = cuEventCreate(target: &mut Handle, flags: c_uint);
        destroy_event = cuEventDestroy_v2(event: Handle);
        record = cuEventRecord(event: Handle, stream: Handle);
        query_event = cuEventQuery(event: Handle);
        synchronize_event = cuEventSynchronize(event: Handle);
        elapsed = cuEventElapsedTime_v2(target: &mut f32, start: Handle, end: Handle);
        unload = cuModuleUnload(module: Handle);
        set_function_attribute = cuFuncSetAttribute(kernel: Handle, attribute: c_int, value: c_int);
    }
    fields {
        upload = cuMemcpyHtoDAsync_v2(Address, *const c_void, usize, Handle);
        download = cuMemcpyDtoHAsync_v2(*mut c_void, Address, usize, Handle);
        copy_peer = cuMemcpyPeerAsync(Address, Handle, Address, Handle, usize, Handle);
        load = cuModuleLoadData(&mut Handle, *const c_void);
        function = cuModuleGetFunction(&mut Handle, Handle, *const c_char);
        launch = cuLaunchKernel(
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle,
            *const *const c_void, *const *const c_void
        );
        error_string = cuGetErrorString(c_int, *mut *const c_char);
        error_name = cuGetErrorName(c_int, *mut *const c_char);
    }
}

/// How many threads a kernel is launched with, and where.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Grid {
    pub(crate) blocks: [u32; 3],
    pub(crate) threads: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) stream: Handle,
}

impl Grid {
    /// Blocks along one axis, on the default stream.
    pub(crate) fn of(blocks: u32, threads: u32) -> Self {
        Self { blocks: [blocks, 1, 1], threads: [threads, 1, 1], ..Self::default() }
    }
}

/// A piece of memory, and the context that it belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) address: Address,
    pub(crate) context: Handle,
}

impl Driver {
    /// Loads the library: from the folders of `SLUICEGATE_CUDA_LIBS`, else as the system does.
    pub(crate) fn load_library() -> Result<Self, ProgramError> {
        let folders = env::var_os(FOLDERS).unwrap_or_default();
        let paths = env::split_paths(&folders).map(|folder| folder.join(LIBRARY));
        let found = paths.into_iter().find(|path| path.exists());
        let path = found.as_deref().unwrap_or(Path::new(LIBRARY));
        // SAFETY: what runs when the library is loaded is NVIDIA's, or the emulation's.
        let library = unsafe { Library::new(path) };
        library.and_then(Self::of).map_err(|error| ProgramError::NoDriver(error.to_string()))
    }

    /// Copies from memory of the host.
    ///
    /// # Safety
    /// If the memory is pinned, nobody writes it before the copy is done.
    pub(crate) unsafe fn upload(&self, target: Address, from: &[u8], stream: Handle) -> Code {
        // SAFETY: pageable memory is read before the call returns; the caller vouches for other.
        Code(unsafe { (self.upload)(target, from.as_ptr().cast(), from.len(), stream) })
    }

    /// Copies to memory of the host.
    ///
    /// # Safety
    /// If the memory is pinned, nobody uses it before the copy is done.
    pub(crate) unsafe fn download(&self, to: &mut [u8], from: Address, stream: Handle) -> Code {
        // SAFETY: pageable memory is written before the call returns; the caller vouches otherwise.
        Code(unsafe { (self.download)(to.as_mut_ptr().cast(), from, to.len(), stream) })
    }

    pub(crate) fn copy_peer(&self, to: Place, from: Place, bytes: usize, stream: Handle) -> Code {
        let (Place { address, context }, of) = (to, from);
        // SAFETY: all are numbers to the driver.
        Code(unsafe { (self.copy_peer)(address, context, of.address, of.context, bytes, stream) })
    }

    pub(crate) fn load(&self, module: &mut Handle, image: &CStr) -> Code {
        // SAFETY: the text ends with a zero, and the driver keeps no pointer to it.
        Code(unsafe { (self.load)(module, image.as_ptr().cast()) })
    }

    pub(crate) fn function(&self, function: &mut Handle, module: Handle, name: &CStr) -> Code {
        // SAFETY: the name ends with a zero, and the driver keeps no pointer to it.
        Code(unsafe { (self.function)(function, module, name.as_ptr()) })
    }

    /// Launches a kernel with its parameters, each as its bytes.
    ///
    /// # Safety
    /// The kernel has these parameters, of as many bytes each.
    pub(crate) unsafe fn launch(&self, function: Handle, grid: Grid, params: &[&[u8]]) -> Code {
        let pointers: Vec<*const c_void> = params.iter().map(|it| it.as_ptr().cast()).collect();
        let Grid { blocks: [grid_x, grid_y, grid_z], threads, shared_bytes, stream } = grid;
        let [block_x, block_y, block_z] = threads;
        let params = pointers.as_ptr();
        let none = std::ptr::null();
        // SAFETY: the driver copies the parameters before it returns; the caller vouches for them.
        Code(unsafe {
            (self.launch)(
                function,
                grid_x,
                grid_y,
                grid_z,
                block_x,
                block_y,
                block_z,
                shared_bytes,
                stream,
                params,
                none,
            )
        })
    }

    /// What the driver says about a result.
    pub(crate) fn words(&self, code: Code) -> String {
        self.error_string(code).1.unwrap_or_else(|| code.to_string())
    }

    /// What `cuGetErrorString` returns, and the text if there is one.
    pub(crate) fn error_string(&self, code: Code) -> (Code, Option<String>) {
        // SAFETY: the function is one of those for which this is so.
        unsafe { text_of(self.error_string, code) }
    }

    /// The same of `cuGetErrorName`.
    pub(crate) fn error_name(&self, code: Code) -> (Code, Option<String>) {
        // SAFETY: as above.
        unsafe { text_of(self.error_name, code) }
    }
}

/// # Safety
/// The function writes a pointer to a constant text, or null.
unsafe fn text_of(
    function: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
    code: Code,
) -> (Code, Option<String>) {
    let mut text = std::ptr::null();
    // SAFETY: the result goes to a variable.
    let told = Code(unsafe { function(code.0, &raw mut text) });
    // SAFETY: the caller vouches for what is not null.
    let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
    (told, text.map(|it| it.to_string_lossy().into_owned()))
}
