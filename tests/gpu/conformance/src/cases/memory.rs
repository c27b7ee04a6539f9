//! Memory of devices, and pinned memory.

use crate::{
    case::{Case, Seen, holds, same},
    code::Code,
    driver::Driver,
    error::Outcome,
    gpu::{BLOCKING, Gpu, NON_BLOCKING, UNTIMED, must},
};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "alloc-zero",
        source: "cuMemAlloc: \"If bytesize is 0, cuMemAlloc() returns \
                 CUDA_ERROR_INVALID_VALUE.\" Of cuMemAllocAsync and cuMemHostAlloc it is only \
                 observed.",
        run: alloc_zero,
    },
    Case {
        name: "alloc-aligned",
        source: "CUDA C++ Programming Guide, \"Device Memory Accesses\": \"Any address of a \
                 variable … returned by one of the memory allocation routines … is always \
                 aligned to at least 256 bytes.\"",
        run: alloc_aligned,
    },
    Case {
        name: "out-of-memory",
        source: "CUDA_ERROR_OUT_OF_MEMORY: \"unable to allocate enough memory or other resources \
                 to perform the requested operation\"; it is not among the errors that leave the \
                 process in an inconsistent state",
        run: out_of_memory,
    },
    Case {
        name: "free-twice",
        source: "cudaFree: \"If cudaFree(devPtr) has already been called before, an error is \
                 returned.\"",
        run: free_twice,
    },
    Case {
        name: "free-inside",
        source: "cuMemFree: dptr \"must have been returned by a previous call to one of the \
                 following memory allocation APIs\"; returns CUDA_ERROR_INVALID_VALUE",
        run: free_inside,
    },
    Case {
        name: "memory-info",
        source: "cuMemGetInfo: \"the amount of memory on the device that is free\"",
        run: memory_info,
    },
    Case {
        name: "alloc-async",
        source: "cuMemAllocAsync: \"The allocation comes from the memory pool current to the \
                 stream's device.\", usable in stream order; cuMemFreeAsync inserts a free into \
                 it",
        run: alloc_async,
    },
    Case {
        name: "alloc-async-across-streams",
        source: "cuMemAllocAsync: \"Stream query, stream synchronize, and CUDA events can be \
                 used to guarantee that the allocation operation completes before work submitted \
                 in a separate stream runs.\"",
        run: across_streams,
    },
    Case {
        name: "free-of-async",
        source: "cuMemFree: dptr \"must have been returned by a previous call to one of the \
                 following memory allocation APIs\", cuMemAllocAsync among them; \"Callers must \
                 ensure that all accesses to these pointer have completed\"",
        run: free_of_async,
    },
    Case {
        name: "pinned",
        source: "cuMemHostAlloc: memory that is \"page-locked and accessible to the device\"; \
                 cuMemFreeHost frees it",
        run: pinned,
    },
];

fn alloc_zero(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let (mut address, mut host) = (0, 0);
    let stream = gpu.stream(0)?;
    seen.note_code("cuMemAllocAsync", driver.alloc_async(&mut address, 0, stream));
    seen.note_code("cuMemHostAlloc", driver.host_alloc(&mut host, 0, 0));
    seen.note_code("cuMemFree(0)", driver.free(0));
    seen.code("cuMemAlloc", driver.alloc(&mut address, 0), &[Code::INVALID_VALUE])
}

fn alloc_aligned(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    for bytes in [1, 3, 255, 257, 4097] {
        let address = gpu.alloc(bytes)?;
        holds("an address aligned to 256 bytes", address % 256 == 0, address)?;
    }
    seen.note("sizes", 5);
    Ok(())
}

fn out_of_memory(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let (mut total, mut address) = (0, 0);
    must("cuDeviceTotalMem", driver.total_memory(&mut total, gpu.device))?;
    let want = &[Code::OUT_OF_MEMORY];
    seen.code("cuMemAlloc of twice the memory", driver.alloc(&mut address, total * 2), want)?;
    let stream = gpu.stream(0)?;
    let code = driver.alloc_async(&mut address, total * 2, stream);
    seen.code("cuMemAllocAsync of twice the memory", code, want)?;
    let address = gpu.alloc(64)?;
    gpu.fill(address, 7, 64, 0)?;
    same("memory afterwards", gpu.download(address, 64, 0)?, vec![7; 64])
}

fn free_twice(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(64)?;
    must("cuMemFree", driver.free(address))?;
    seen.code("cuMemFree again", driver.free(address), &[Code::INVALID_VALUE])?;
    gpu.alloc(64).map(drop)
}

fn free_inside(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(4096)?;
    seen.code("cuMemFree", driver.free(address + 256), &[Code::INVALID_VALUE])?;
    must("cuMemFree of the whole", driver.free(address))
}

fn memory_info(driver: &Driver, seen: &mut Seen) -> Outcome {
    const BYTES: usize = 32 << 20;
    let gpu = Gpu::first(driver)?;
    let info = || {
        let (mut free, mut total) = (0, 0);
        must("cuMemGetInfo", driver.memory_info(&mut free, &mut total))?;
        Ok((free, total))
    };
    let (before, total) = info()?;
    holds("less free than there is", before < total, format!("{before} of {total}"))?;
    let address = gpu.alloc(BYTES)?;
    let (during, _) = info()?;
    must("cuMemFree", driver.free(address))?;
    let (after, _) = info()?;
    let [taken, given] = [before, after].map(|it: usize| it.saturating_sub(during));
    seen.note_varying("bytes taken", taken);
    seen.note_varying("bytes given back", given);
    // Other processes may allocate meanwhile, but hardly as much.
    holds("32 MiB taken", taken >= BYTES / 2, taken)?;
    holds("32 MiB given back", given >= BYTES / 2, given)
}

fn alloc_async(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(0)?;
    for round in 0..8 {
        let mut address = 0;
        must("cuMemAllocAsync", driver.alloc_async(&mut address, 4096, stream))?;
        gpu.fill(address, round, 4096, stream)?;
        let found = gpu.download(address, 4096, stream)?;
        same("what was filled", found, vec![round; 4096])?;
        must("cuMemFreeAsync", driver.free_async(address, stream))?;
    }
    seen.note("rounds", 8);
    gpu.wait(stream)
}

fn across_streams(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [a, b] = [gpu.stream(NON_BLOCKING)?, gpu.stream(NON_BLOCKING)?];
    let [allocated, used] = [gpu.event(UNTIMED)?, gpu.event(UNTIMED)?];
    for round in 0..8 {
        let mut address = 0;
        must("cuMemAllocAsync", driver.alloc_async(&mut address, 4096, a))?;
        must("cuEventRecord", driver.record(allocated, a))?;
        must("cuStreamWaitEvent", driver.wait_event(b, allocated, 0))?;
        gpu.fill(address, round, 4096, b)?;
        must("cuEventRecord", driver.record(used, b))?;
        must("cuStreamWaitEvent", driver.wait_event(a, used, 0))?;
        same("what was filled", gpu.download(address, 4096, a)?, vec![round; 4096])?;
        must("cuMemFreeAsync", driver.free_async(address, a))?;
    }
    seen.note("rounds", 8);
    gpu.synchronize()
}

fn free_of_async(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(BLOCKING)?;
    let mut address = 0;
    must("cuMemAllocAsync", driver.alloc_async(&mut address, 4096, stream))?;
    gpu.fill(address, 1, 4096, stream)?;
    gpu.wait(stream)?;
    seen.code("cuMemFree", driver.free(address), &[Code::SUCCESS])?;
    seen.refused("cuMemFree again", driver.free(address))
}

fn pinned(driver: &Driver, seen: &mut Seen) -> Outcome {
    const BYTES: usize = 1 << 16;
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(0)?;
    let ((from, source), (to, target)) = (gpu.pinned(BYTES)?, gpu.pinned(BYTES)?);
    for (byte, value) in source.iter_mut().zip((0..=u8::MAX).cycle()) {
        *byte = value;
    }
    let address = gpu.alloc(BYTES)?;
    // SAFETY: both are left alone until the stream was waited for.
    unsafe {
        must("cuMemcpyHtoDAsync", driver.upload(address, source, stream))?;
        must("cuMemcpyDtoHAsync", driver.download(target, address, stream))?;
    }
    gpu.wait(stream)?;
    holds("what was copied there and back", source == target, "something else")?;
    must("cuMemFreeHost", driver.host_free(from))?;
    must("cuMemFreeHost", driver.host_free(to))?;
    seen.refused("cuMemFreeHost again", driver.host_free(to))
}
