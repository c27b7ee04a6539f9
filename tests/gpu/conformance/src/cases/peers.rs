//! Two devices.

use crate::{
    case::{Case, Seen, same},
    code::Code,
    driver::{Driver, Grid, Place},
    error::{Outcome, Stop},
    gpu::{Gpu, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "peer-copy",
        source: "cuMemcpyPeerAsync: \"Copies from device memory in one context to device memory \
                 in another context.\" Access need not be enabled",
        run: copy,
    },
    Case {
        name: "peer-access",
        source: "cuCtxEnablePeerAccess: \"Returns CUDA_ERROR_PEER_ACCESS_UNSUPPORTED if \
                 cuDeviceCanAccessPeer() indicates that the CUdevice of the current context \
                 cannot directly access memory from the CUdevice of peerContext. Returns \
                 CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED if direct access … has already been \
                 enabled. … Returns CUDA_ERROR_INVALID_CONTEXT … if the current context is \
                 peerContext. Returns CUDA_ERROR_INVALID_VALUE if Flags is not 0.\"",
        run: access,
    },
    Case {
        name: "peer-kernel",
        source: "cuCtxEnablePeerAccess: \"all allocations from peerContext will immediately be \
                 accessible by the current context\"",
        run: kernel,
    },
    Case {
        name: "kernel-of-another-context",
        source: "cuLaunchKernel: returns CUDA_ERROR_INVALID_HANDLE or CUDA_ERROR_INVALID_CONTEXT",
        run: foreign_kernel,
    },
    Case {
        name: "stream-of-another-context",
        source: "CUDA C++ Programming Guide, \"Stream and Event Behavior\": \"A kernel launch \
                 will fail if it is issued to a stream that is not associated to the current \
                 device\"",
        run: foreign_stream,
    },
    Case {
        name: "copy-on-stream-of-another-context",
        source: "CUDA C++ Programming Guide, \"Stream and Event Behavior\": \"A memory copy will \
                 succeed even if it is issued to a stream that is not associated to the current \
                 device.\" That is said of the runtime; of the driver it is observed.",
        run: copy_on_foreign_stream,
    },
    Case {
        name: "event-of-another-context",
        source: "CUDA C++ Programming Guide, \"Stream and Event Behavior\": \"cudaEventRecord() \
                 will fail if the input event and input stream are associated to different \
                 devices\"; \"cudaStreamWaitEvent() will succeed even if\" they are",
        run: foreign_event,
    },
    Case {
        name: "fault-and-another-device",
        source: "CUDA_ERROR_ILLEGAL_ADDRESS: \"This leaves the process in an inconsistent state \
                 and any further CUDA work will return the same error. To continue using CUDA, \
                 the process must be terminated and relaunched.\" Whether that is so of the \
                 contexts of other devices is observed.",
        run: fault,
    },
];

fn copy(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    let from = Place { address: first.alloc(4096)?, context: first.context };
    first.fill(from.address, 3, 4096, 0)?;
    first.synchronize()?;
    second.make_current()?;
    let to = Place { address: second.alloc(4096)?, context: second.context };
    let stream = second.stream(0)?;
    let code = driver.copy_peer(to, from, 4096, stream);
    seen.code("cuMemcpyPeerAsync", code, &[Code::SUCCESS])?;
    same("what was copied", second.download(to.address, 4096, stream)?, vec![3; 4096])
}

fn can_access(driver: &Driver, from: &Gpu<'_>, to: &Gpu<'_>) -> Outcome<bool> {
    let mut can = 0;
    must("cuDeviceCanAccessPeer", driver.can_access_peer(&mut can, from.device, to.device))?;
    Ok(can != 0)
}

fn access(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    seen.code("flags 1", driver.enable_peer(second.context, 1), &[Code::INVALID_VALUE])?;
    let of_itself = driver.enable_peer(first.context, 0);
    seen.code("of itself", of_itself, &[Code::INVALID_CONTEXT])?;
    let code = driver.enable_peer(second.context, 0);
    if !can_access(driver, &first, &second)? {
        return seen.code("cuCtxEnablePeerAccess", code, &[Code::PEER_ACCESS_UNSUPPORTED]);
    }
    seen.code("cuCtxEnablePeerAccess", code, &[Code::SUCCESS])?;
    let want = &[Code::PEER_ACCESS_ALREADY_ENABLED];
    seen.code("cuCtxEnablePeerAccess again", driver.enable_peer(second.context, 0), want)
}

fn kernel(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    if !can_access(driver, &first, &second)? {
        return Err(Stop::skipped("needs devices that reach each other"));
    }
    second.make_current()?;
    let address = second.alloc(64)?;
    second.fill(address, 0, 64, 0)?;
    second.synchronize()?;
    first.make_current()?;
    must("cuCtxEnablePeerAccess", driver.enable_peer(second.context, 0))?;
    let kernel = first.kernel(&ptx::increment(), "k")?;
    must("cuLaunchKernel", first.launch(kernel, Grid::of(1, 16), &[address]))?;
    first.synchronize()?;
    second.make_current()?;
    let found = second.download(address, 64, 0)?;
    seen.note("bytes", &found[..4]);
    same("what the other device added", found, [1, 0, 0, 0].repeat(16))
}

fn foreign_kernel(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    let kernel = first.kernel(&ptx::increment(), "k")?;
    second.make_current()?;
    let address = second.alloc(64)?;
    second.fill(address, 0, 64, 0)?;
    seen.refused("cuLaunchKernel", second.launch(kernel, Grid::of(1, 1), &[address]))?;
    second.synchronize()
}

fn foreign_stream(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    let stream = first.stream(0)?;
    second.make_current()?;
    let kernel = second.kernel(&ptx::increment(), "k")?;
    let address = second.alloc(64)?;
    second.fill(address, 0, 64, 0)?;
    let grid = Grid { stream, ..Grid::of(1, 1) };
    seen.refused("cuLaunchKernel", second.launch(kernel, grid, &[address]))?;
    second.synchronize()
}

fn copy_on_foreign_stream(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    let stream = first.stream(0)?;
    second.make_current()?;
    let address = second.alloc(64)?;
    second.fill(address, 1, 64, 0)?;
    second.synchronize()?;
    // SAFETY: an array of this program is pageable.
    let code = unsafe { driver.upload(address, &[2; 64], stream) };
    seen.note_code("cuMemcpyHtoDAsync", code);
    first.make_current()?;
    first.wait(stream)?;
    second.make_current()?;
    let want = if code == Code::SUCCESS { 2 } else { 1 };
    same("what was copied", second.download(address, 64, 0)?, vec![want; 64])
}

fn foreign_event(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    let (of_first, event) = (first.stream(0)?, first.event(2)?);
    must("cuEventRecord", driver.record(event, of_first))?;
    second.make_current()?;
    let of_second = second.stream(0)?;
    let code = driver.wait_event(of_second, event, 0);
    seen.code("cuStreamWaitEvent", code, &[Code::SUCCESS])?;
    seen.refused("cuEventRecord", driver.record(event, of_second))?;
    second.wait(of_second)
}

fn fault(driver: &Driver, seen: &mut Seen) -> Outcome {
    let [first, second] = Gpu::pair(driver)?;
    let kernel = first.kernel(&ptx::store(), "k")?;
    let want = &[Code::ILLEGAL_ADDRESS];
    let code = first.launch(kernel, Grid::of(1, 1), &[16]);
    seen.varying_code("cuLaunchKernel", code, &[Code::SUCCESS, Code::ILLEGAL_ADDRESS])?;
    seen.code("cuCtxSynchronize", driver.synchronize(), want)?;
    let (mut address, either) = (0, &[Code::SUCCESS, Code::ILLEGAL_ADDRESS]);
    seen.code("cuCtxSetCurrent of the other", driver.set_current(second.context), either)?;
    seen.code("cuMemAlloc on the other", driver.alloc(&mut address, 64), either)?;
    seen.code("cuCtxSynchronize of the other", driver.synchronize(), either)
}
