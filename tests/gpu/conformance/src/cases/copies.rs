//! Copies and fills.

use crate::{
    case::{Case, Seen, same},
    code::Code,
    driver::Driver,
    error::Outcome,
    gpu::{Gpu, must},
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "copy-zero",
        source: "cuMemcpyHtoDAsync, cuMemcpyDtoHAsync, cuMemcpyDtoDAsync, cuMemsetD8Async: \
                 nothing is said of 0 bytes; memory must be as it was",
        run: copy_zero,
    },
    Case {
        name: "copy-out-of-bounds",
        source: "nothing is said but that CUDA_ERROR_INVALID_VALUE may be returned; observed",
        run: out_of_bounds,
    },
    Case {
        name: "fill-and-copy-back",
        source: "cuMemsetD8: \"Sets the memory range of N 8-bit values to the specified value \
                 uc.\"",
        run: fill_and_copy_back,
    },
    Case {
        name: "pageable-source-overwritten",
        source: "API synchronization behavior, asynchronous copies: \"If pageable memory must \
                 first be staged to pinned memory, the driver may synchronize with the stream \
                 and stage the copy into pinned memory.\" That this is done before the call \
                 returns is said of synchronous ones alone; cudarc, and so the program, relies \
                 on it.",
        run: source_overwritten,
    },
    Case {
        name: "pageable-target-complete",
        source: "API synchronization behavior of CUDA 11.1, asynchronous copies: \"For transfers \
                 from device memory to pageable host memory, the function will return only once \
                 the copy has completed.\" From 12.4 on, if not before: \"the function might be \
                 synchronous with respect to host.\" cudarc, and so the program, relies on it.",
        run: target_complete,
    },
    Case {
        name: "copy-on-device",
        source: "cuMemcpyDtoDAsync: copies from device memory to device memory, in stream order",
        run: on_device,
    },
];

fn copy_zero(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [a, b] = [gpu.alloc(64)?, gpu.alloc(64)?];
    gpu.fill(a, 1, 64, 0)?;
    gpu.fill(b, 2, 64, 0)?;
    // SAFETY: no byte is copied.
    let codes = unsafe { [driver.upload(a, &[], 0), driver.download(&mut [], a, 0)] };
    seen.note_code("cuMemcpyHtoDAsync", codes[0]);
    seen.note_code("cuMemcpyDtoHAsync", codes[1]);
    seen.code("cuMemcpyDtoDAsync", driver.copy(a, b, 0, 0), &[Code::SUCCESS])?;
    seen.code("cuMemsetD8Async", driver.fill(a, 9, 0, 0), &[Code::SUCCESS])?;
    gpu.synchronize()?;
    same("memory afterwards", gpu.download(a, 64, 0)?, vec![1; 64])
}

/// Behind all that a driver may have mapped for a small allocation.
fn out_of_bounds(driver: &Driver, seen: &mut Seen) -> Outcome {
    const BYTES: usize = 64 << 20;
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(64)?;
    // SAFETY: the host's memory is there; what the device's is, the driver checks.
    let code = unsafe { driver.upload(address, &vec![0; BYTES], 0) };
    seen.note_code("cuMemcpyHtoDAsync", code);
    seen.note_code("cuCtxSynchronize", driver.synchronize());
    Ok(())
}

fn fill_and_copy_back(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(1000)?;
    gpu.fill(address, 0xAB, 1000, 0)?;
    gpu.fill(address + 1, 0xCD, 7, 0)?;
    let mut want = vec![0xAB; 1000];
    want[1..8].fill(0xCD);
    let found = gpu.download(address, 1000, 0)?;
    seen.note("first bytes", &found[..16]);
    same("what was filled", found, want)
}

fn source_overwritten(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(0)?;
    // Small ones are put into the command itself, and large ones are staged in pieces.
    for bytes in [64, 1 << 16, 1 << 20, 8 << 20] {
        let address = gpu.alloc(bytes)?;
        let mut source = vec![1; bytes];
        gpu.upload(address, &source, stream)?;
        source.fill(2);
        gpu.wait(stream)?;
        let found = gpu.download(address, bytes, stream)?;
        seen.note(&format!("{bytes} bytes"), found[bytes - 1]);
        same("whether all bytes are as before", found.iter().all(|it| *it == 1), true)?;
        must("cuMemFree", driver.free(address))?;
    }
    Ok(())
}

fn target_complete(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(0)?;
    for bytes in [64, 1 << 16, 1 << 20, 8 << 20] {
        let address = gpu.alloc(bytes)?;
        gpu.fill(address, 5, bytes, stream)?;
        let found = gpu.download(address, bytes, stream)?;
        same("whether all bytes are there", found.iter().all(|it| *it == 5), true)?;
        seen.note(&format!("{bytes} bytes"), found[bytes - 1]);
        must("cuMemFree", driver.free(address))?;
    }
    Ok(())
}

fn on_device(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(0)?;
    let [a, b] = [gpu.alloc(256)?, gpu.alloc(256)?];
    let bytes: Vec<u8> = (0..=255).collect();
    gpu.upload(a, &bytes, stream)?;
    must("cuMemcpyDtoDAsync", driver.copy(b, a, 256, stream))?;
    gpu.fill(a, 0, 256, stream)?;
    must("cuMemcpyDtoDAsync", driver.copy(a + 128, b, 128, stream))?;
    let want = [vec![0; 128], bytes[..128].to_vec()].concat();
    let found = gpu.download(a, 256, stream)?;
    seen.note("last bytes", &found[240..]);
    same("what was copied twice", found, want)
}
