//! The functions to which cudarc and the compiled kernels link, each a jump through a table.
//!
//! A function that is missing here is an undefined symbol when the program is linked.

use std::{
    ffi::{CStr, c_char, c_int},
    sync::atomic::{AtomicPtr, Ordering},
};

/// The functions of one library and their addresses.
pub(crate) struct Import {
    pub(crate) names: &'static [&'static CStr],
    slots: &'static [AtomicPtr<()>],
}

impl Import {
    /// Makes the functions jump to `addresses`, in the order of their names.
    ///
    /// # Safety
    /// Each address is that of a function with the signature that its callers declare, and stays
    /// valid for the rest of the process.
    pub(crate) unsafe fn point_to(&self, addresses: &[*mut ()]) {
        for (slot, address) in self.slots.iter().zip(addresses) {
            slot.store(*address, Ordering::Release);
        }
    }
}

/// Defines one library's functions, which return `$before` until the library is loaded.
macro_rules! import {
    ($import:ident, $module:ident, $before:path, [$($name:ident)*]) => {
        pub(crate) static $import: Import = Import { names: &$module::NAMES, slots: &$module::SLOTS };

        #[allow(
            non_camel_case_types,
            non_snake_case,
            clippy::enum_variant_names,
            reason = "the names are the libraries'"
        )]
        mod $module {
            use super::{AtomicPtr, CStr, before};

            #[repr(usize)]
            enum Slot { $($name),* }

            const NUM_SLOTS: usize = [$(Slot::$name as usize),*].len();

            pub(super) static NAMES: [&CStr; NUM_SLOTS] = [$({
                const NAME: &CStr =
                    match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                        Ok(name) => name,
                        Err(_) => panic!("identifiers hold no zero"),
                    };
                NAME
            }),*];

            pub(super) static SLOTS: [AtomicPtr<()>; NUM_SLOTS] =
                [const { AtomicPtr::new($before as *mut ()) }; NUM_SLOTS];

            $(
                /// Jumps to the library's own, with all registers as the caller left them.
                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                extern "C" fn $name() {
                    #[cfg(target_arch = "x86_64")]
                    core::arch::naked_asm!(
                        "jmp qword ptr [rip + {slots} + {offset}]",
                        slots = sym SLOTS,
                        offset = const Slot::$name as usize * size_of::<usize>(),
                    );
                    #[cfg(target_arch = "aarch64")]
                    core::arch::naked_asm!(
                        "adrp x16, {slots}",
                        "add x16, x16, :lo12:{slots}",
                        "ldr x16, [x16, #{offset}]",
                        "br x16",
                        slots = sym SLOTS,
                        offset = const Slot::$name as usize * size_of::<usize>(),
                    );
                }
            )*
        }
    };
}

import!(DRIVER, driver, before::driver, [
    cuCtxDestroy_v2 cuCtxGetCurrent cuCtxSetCurrent cuCtxSynchronize
    cuDeviceCanAccessPeer cuDeviceGet cuDeviceGetAttribute cuDeviceGetCount cuDeviceGetName
    cuDevicePrimaryCtxRelease_v2 cuDevicePrimaryCtxRetain cuDeviceTotalMem_v2
    cuDeviceGetDefaultMemPool cuDriverGetVersion
    cuEventCreate cuEventDestroy_v2 cuEventElapsedTime_v2 cuEventQuery cuEventRecord
    cuEventSynchronize
    cuGetErrorName cuGetErrorString cuInit cuLaunchKernel
    cuMemAllocAsync cuMemAlloc_v2 cuMemFreeAsync cuMemFreeHost cuMemFree_v2 cuMemGetInfo_v2
    cuMemHostAlloc cuMemPoolSetAttribute
    cuMemcpyDtoDAsync_v2 cuMemcpyDtoHAsync_v2 cuMemcpyHtoDAsync_v2 cuMemcpyPeerAsync
    cuMemsetD8Async
    cuModuleGetFunction cuModuleLoad cuModuleLoadData cuModuleUnload
    cuStreamCreate cuStreamDestroy_v2 cuStreamIsCapturing cuStreamSynchronize cuStreamWaitEvent
]);

import!(BLAS, blas, before::blas, [
    cublasCreate_v2 cublasDestroy_v2 cublasDgemmStridedBatched cublasGemmStridedBatchedEx
    cublasSetStream_v2
]);

import!(RAND, rand, before::rand, [
    curandCreateGenerator curandDestroyGenerator curandGenerateUniform curandGenerateUniformDouble
    curandSetPseudoRandomGeneratorSeed curandSetStream
]);

// What registers kernels is called before `main`: see `kernels`.
import!(RUNTIME, runtime, before::runtime, [
    __cudaGetKernel __cudaLaunchKernel_ptsz __cudaPopCallConfiguration
    cudaDeviceGetAttribute cudaFree cudaFreeAsync_ptsz cudaFuncGetAttributes cudaFuncSetAttribute
    cudaGetDevice cudaGetDeviceCount cudaGetLastError cudaLaunchKernelExC_ptsz cudaMalloc cudaMallocAsync_ptsz
    cudaMemsetAsync_ptsz cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
    cudaPeekAtLastError cudaSetDevice cudaStreamSynchronize_ptsz __cudaPushCallConfiguration
]);

import!(RUNTIME_TEXTS, runtime_texts, before::text, [cudaGetErrorName cudaGetErrorString]);

/// What functions do before their library is there.
mod before {
    use super::{c_char, c_int};

    /// `CUDA_ERROR_STUB_LIBRARY`: the driver's own code for a program that runs without it.
    pub(super) extern "C" fn driver() -> c_int {
        34
    }

    /// `CUBLAS_STATUS_NOT_INITIALIZED`.
    pub(super) extern "C" fn blas() -> c_int {
        1
    }

    /// `CURAND_STATUS_INITIALIZATION_FAILED`.
    pub(super) extern "C" fn rand() -> c_int {
        203
    }

    /// `cudaErrorStubLibrary`.
    pub(super) extern "C" fn runtime() -> c_int {
        34
    }

    pub(super) extern "C" fn text() -> *const c_char {
        c"the CUDA runtime is not loaded".as_ptr()
    }
}
