//! Kernels that fault, and what is left of the process.

use crate::{
    case::{Case, Seen},
    code::Code,
    driver::{Driver, Grid},
    error::Outcome,
    gpu::{Gpu, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "illegal-address",
        source: "CUDA_ERROR_ILLEGAL_ADDRESS: \"the device encountered a load or store \
                 instruction on an invalid memory address. This leaves the process in an \
                 inconsistent state and any further CUDA work will return the same error.\"",
        run: |driver, seen| stays(driver, seen, &ptx::store(), 16, &[Code::ILLEGAL_ADDRESS]),
    },
    Case {
        name: "misaligned-address",
        source: "CUDA_ERROR_MISALIGNED_ADDRESS: \"the device encountered a load or store \
                 instruction on a memory address which is not aligned. This leaves the process \
                 in an inconsistent state and any further CUDA work will return the same \
                 error.\"",
        run: misaligned,
    },
    Case {
        name: "trap",
        source: "PTX ISA, \"trap\": \"Abort execution and generate an interrupt to the host \
                 CPU.\" The code is not said; it is one of those that stay",
        run: |driver, seen| {
            let want = &[Code::LAUNCH_FAILED, Code::ILLEGAL_INSTRUCTION];
            stays(driver, seen, &ptx::trap(), 0, want)
        },
    },
    Case {
        name: "assertion",
        source: "CUDA_ERROR_ASSERT: \"A device-side assert triggered during kernel execution. The \
                 context cannot be used anymore, and must be destroyed.\"",
        run: assertion,
    },
    Case {
        name: "fault-is-asynchronous",
        source: "cuStreamSynchronize: \"Note that this function may also return error codes from \
                 previous, asynchronous launches.\"",
        run: asynchronous,
    },
    Case {
        name: "fault-seen-by-events",
        source: "cuEventSynchronize, cuEventQuery: \"Note that this function may also return \
                 error codes from previous, asynchronous launches.\"",
        run: seen_by_events,
    },
];

fn misaligned(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(64)?;
    stays(driver, seen, &ptx::store(), address + 2, &[Code::MISALIGNED_ADDRESS])
}

/// Launches a kernel that faults: the error comes at the next wait, and with all that is asked
/// later.
fn stays(driver: &Driver, seen: &mut Seen, ptx: &str, at: u64, want: &[Code]) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(0)?;
    let address = gpu.alloc(64)?;
    let kernel = gpu.kernel(ptx, "k")?;
    // On an eager device the kernel may have run before this returns.
    let code = gpu.launch(kernel, Grid { stream, ..Grid::of(1, 1) }, &[at]);
    seen.varying_code("cuLaunchKernel", code, &[&[Code::SUCCESS], want].concat())?;
    let first = driver.synchronize();
    seen.code("cuCtxSynchronize", first, want)?;
    let want = &[first];
    let (mut other, mut handle) = (0, 0);
    seen.code("cuStreamSynchronize", driver.synchronize_stream(stream), want)?;
    seen.code("cuMemAlloc", driver.alloc(&mut other, 64), want)?;
    seen.code("cuMemsetD8Async", driver.fill(address, 0, 64, stream), want)?;
    seen.code("cuLaunchKernel later", gpu.launch(kernel, Grid::of(1, 1), &[address]), want)?;
    seen.note_code("cuMemFree", driver.free(address));
    seen.note_code("cuStreamCreate", driver.create_stream(&mut handle, 0));
    seen.note_code("cuStreamQuery", driver.query_stream(stream));
    seen.note_code("cuCtxGetCurrent", driver.current(&mut handle));
    seen.note_code("cuDevicePrimaryCtxRelease", driver.release(gpu.device));
    seen.note_code("cuDevicePrimaryCtxRetain", driver.retain(&mut handle, gpu.device));
    Ok(())
}

fn assertion(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::assertion(), "k")?;
    let (mut address, mut stream) = (gpu.alloc(64)?, 0);
    gpu.fill(address, 0, 64, 0)?;
    must("an assertion that holds", gpu.launch(kernel, Grid::of(1, 1), &[address]))?;
    gpu.synchronize()?;
    gpu.fill(address, 1, 64, 0)?;
    let want = &[Code::ASSERT];
    let code = gpu.launch(kernel, Grid::of(1, 1), &[address]);
    seen.varying_code("cuLaunchKernel", code, &[Code::SUCCESS, Code::ASSERT])?;
    seen.code("cuCtxSynchronize", driver.synchronize(), want)?;
    seen.refused("cuMemAlloc", driver.alloc(&mut address, 64))?;
    seen.note_code("cuStreamCreate", driver.create_stream(&mut stream, 0));
    seen.refused("cuCtxSynchronize again", driver.synchronize())
}

fn asynchronous(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [stream, other] = [gpu.stream(1)?, gpu.stream(1)?];
    let kernel = gpu.kernel(&ptx::store(), "k")?;
    let code = gpu.launch(kernel, Grid { stream, ..Grid::of(1, 1) }, &[16]);
    let want = &[Code::ILLEGAL_ADDRESS];
    seen.varying_code("cuLaunchKernel", code, &[Code::SUCCESS, Code::ILLEGAL_ADDRESS])?;
    seen.code("cuStreamSynchronize", driver.synchronize_stream(stream), want)?;
    seen.code("of another stream", driver.synchronize_stream(other), want)
}

fn seen_by_events(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let (stream, event) = (gpu.stream(1)?, gpu.event(2)?);
    let kernel = gpu.kernel(&ptx::store(), "k")?;
    must("cuEventRecord", driver.record(event, stream))?;
    let either = &[Code::SUCCESS, Code::ILLEGAL_ADDRESS];
    let code = gpu.launch(kernel, Grid { stream, ..Grid::of(1, 1) }, &[16]);
    seen.varying_code("cuLaunchKernel", code, either)?;
    seen.varying_code("cuEventRecord", driver.record(event, stream), either)?;
    let want = &[Code::ILLEGAL_ADDRESS];
    seen.code("cuEventSynchronize", driver.synchronize_event(event), want)?;
    seen.code("cuEventQuery", driver.query_event(event), want)
}
