//! A device with its context: steps that have to succeed before a case comes to its point.

use std::ffi::{CString, c_int};

use crate::{
    code::Code,
    driver::{Address, Driver, Grid, Handle},
    error::{Outcome, Stop},
};

/// `cuda.h`: `CU_STREAM_DEFAULT`, `CU_STREAM_NON_BLOCKING`.
pub(crate) const BLOCKING: u32 = 0;
pub(crate) const NON_BLOCKING: u32 = 1;
/// `cuda.h`: `CU_EVENT_DEFAULT`, `CU_EVENT_DISABLE_TIMING`.
pub(crate) const TIMED: u32 = 0;
pub(crate) const UNTIMED: u32 = 2;
/// `cuda.h`: `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `…_MINOR`.
pub(crate) const CAPABILITY_MAJOR: u32 = 75;
pub(crate) const CAPABILITY_MINOR: u32 = 76;
/// `cuda.h`: `CU_STREAM_LEGACY`, as null is, and `CU_STREAM_PER_THREAD`.
pub(crate) const LEGACY: Handle = 1;
pub(crate) const PER_THREAD: Handle = 2;

/// A device whose primary context is current.
pub(crate) struct Gpu<'d> {
    pub(crate) driver: &'d Driver,
    pub(crate) device: c_int,
    pub(crate) context: Handle,
}

/// Fails unless a step has succeeded.
pub(crate) fn must(call: &str, code: Code) -> Outcome {
    if code == Code::SUCCESS {
        Ok(())
    } else {
        Err(Stop::failed(format!("{call} to succeed"), code))
    }
}

impl<'d> Gpu<'d> {
    /// The first device.
    pub(crate) fn first(driver: &'d Driver) -> Outcome<Self> {
        must("cuInit", driver.init(0))?;
        Self::of(driver, 0)
    }

    /// The first two devices, the first being current.
    pub(crate) fn pair(driver: &'d Driver) -> Outcome<[Self; 2]> {
        must("cuInit", driver.init(0))?;
        let mut count = 0;
        must("cuDeviceGetCount", driver.device_count(&mut count))?;
        if count < 2 {
            return Err(Stop::skipped("needs two devices"));
        }
        let pair = [Self::of(driver, 0)?, Self::of(driver, 1)?];
        pair[0].make_current()?;
        Ok(pair)
    }

    fn of(driver: &'d Driver, device: c_int) -> Outcome<Self> {
        let mut context = 0;
        must("cuDevicePrimaryCtxRetain", driver.retain(&mut context, device))?;
        must("cuCtxSetCurrent", driver.set_current(context))?;
        Ok(Self { driver, device, context })
    }

    pub(crate) fn make_current(&self) -> Outcome {
        must("cuCtxSetCurrent", self.driver.set_current(self.context))
    }

    /// Major and minor compute capability.
    pub(crate) fn capability(&self) -> Outcome<(c_int, c_int)> {
        Ok((self.attribute(CAPABILITY_MAJOR)?, self.attribute(CAPABILITY_MINOR)?))
    }

    pub(crate) fn attribute(&self, attribute: u32) -> Outcome<c_int> {
        let mut value = 0;
        let code = self.driver.attribute(&mut value, attribute, self.device);
        must("cuDeviceGetAttribute", code)?;
        Ok(value)
    }

    pub(crate) fn alloc(&self, bytes: usize) -> Outcome<Address> {
        let mut address = 0;
        must("cuMemAlloc", self.driver.alloc(&mut address, bytes))?;
        Ok(address)
    }

    pub(crate) fn stream(&self, flags: u32) -> Outcome<Handle> {
        let mut stream = 0;
        must("cuStreamCreate", self.driver.create_stream(&mut stream, flags))?;
        Ok(stream)
    }

    pub(crate) fn event(&self, flags: u32) -> Outcome<Handle> {
        let mut event = 0;
        must("cuEventCreate", self.driver.create_event(&mut event, flags))?;
        Ok(event)
    }

    pub(crate) fn fill(&self, target: Address, value: u8, bytes: usize, on: Handle) -> Outcome {
        must("cuMemsetD8Async", self.driver.fill(target, value, bytes, on))
    }

    /// Copies from pageable memory.
    pub(crate) fn upload(&self, target: Address, bytes: &[u8], stream: Handle) -> Outcome {
        // SAFETY: vectors and arrays of this program are pageable.
        must("cuMemcpyHtoDAsync", unsafe { self.driver.upload(target, bytes, stream) })
    }

    /// Copies to pageable memory.
    pub(crate) fn download(&self, from: Address, bytes: usize, stream: Handle) -> Outcome<Vec<u8>> {
        let mut target = vec![0xEE; bytes];
        // SAFETY: a vector of this program is pageable.
        let code = unsafe { self.driver.download(&mut target, from, stream) };
        must("cuMemcpyDtoHAsync", code)?;
        Ok(target)
    }

    /// Pinned memory, by its handle and as bytes.
    pub(crate) fn pinned(&self, bytes: usize) -> Outcome<(Handle, &'static mut [u8])> {
        let mut handle = 0;
        must("cuMemHostAlloc", self.driver.host_alloc(&mut handle, bytes, 0))?;
        // SAFETY: the driver has allocated so many bytes, they are used by nobody else, and no case
        // uses them once it has freed them.
        Ok((handle, unsafe { std::slice::from_raw_parts_mut(handle as *mut u8, bytes) }))
    }

    pub(crate) fn synchronize(&self) -> Outcome {
        must("cuCtxSynchronize", self.driver.synchronize())
    }

    pub(crate) fn wait(&self, stream: Handle) -> Outcome {
        must("cuStreamSynchronize", self.driver.synchronize_stream(stream))
    }

    /// Loads a module of one kernel.
    ///
    /// # Errors
    /// The driver's result, if it does not take the module or the kernel.
    pub(crate) fn try_kernel(&self, ptx: &str, name: &str) -> Result<Handle, Code> {
        let [ptx, name] = [ptx, name].map(|it| CString::new(it).expect("it holds no zero"));
        let (mut module, mut function) = (0, 0);
        for code in [
            self.driver.load(&mut module, &ptx),
            self.driver.function(&mut function, module, &name),
        ] {
            if code != Code::SUCCESS {
                return Err(code);
            }
        }
        Ok(function)
    }

    pub(crate) fn kernel(&self, ptx: &str, name: &str) -> Outcome<Handle> {
        self.try_kernel(ptx, name).map_err(|code| {
            Stop::failed(format!("the kernel `{name}` to be loaded"), self.driver.words(code))
        })
    }

    /// Launches a kernel whose parameters are all addresses.
    pub(crate) fn launch(&self, kernel: Handle, grid: Grid, params: &[Address]) -> Code {
        let params: Vec<[u8; 8]> = params.iter().map(|it| it.to_ne_bytes()).collect();
        let params: Vec<&[u8]> = params.iter().map(<[u8; 8]>::as_slice).collect();
        // SAFETY: the kernels of this program that are launched with it have such parameters.
        unsafe { self.driver.launch(kernel, grid, &params) }
    }
}

/// Numbers as the device has them.
pub(crate) fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|it| it.to_le_bytes()).collect()
}

pub(crate) fn words_of(bytes: &[u8]) -> Vec<u32> {
    let word = |it: &[u8]| u32::from_le_bytes(it.try_into().expect("it has four bytes"));
    bytes.chunks_exact(4).map(word).collect()
}
