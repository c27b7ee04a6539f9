//! Streams, and the order that they give.

use crate::{
    case::{Case, Seen, same},
    code::Code,
    driver::{Driver, Grid},
    error::Outcome,
    gpu::{BLOCKING, Gpu, LEGACY, NON_BLOCKING, PER_THREAD, bytes_of, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "stream-flags",
        source: "cuStreamCreate: Flags are CU_STREAM_DEFAULT or CU_STREAM_NON_BLOCKING; returns \
                 CUDA_ERROR_INVALID_VALUE",
        run: flags,
    },
    Case {
        name: "stream-order",
        source: "CUDA C++ Programming Guide, \"Streams\": \"a sequence of commands … that \
                 execute in order\"",
        run: order,
    },
    Case {
        name: "stream-query",
        source: "cuStreamQuery: \"Returns CUDA_SUCCESS if all operations in the stream specified \
                 by hStream have completed, or CUDA_ERROR_NOT_READY if not.\"",
        run: query,
    },
    Case {
        name: "default-stream-blocks",
        source: "Stream synchronization behavior, \"Legacy default stream\": \"when an action is \
                 taken in the legacy stream … the legacy stream first waits on all blocking \
                 streams, the action is queued in the legacy stream, and then all blocking \
                 streams wait on the legacy stream\"",
        run: default_stream,
    },
    Case {
        name: "default-stream-and-non-blocking",
        source: "CU_STREAM_NON_BLOCKING: \"Stream does not synchronize with stream 0 (the NULL \
                 stream)\"; whether both run at once is not said",
        run: non_blocking,
    },
    Case {
        name: "per-thread-stream",
        source: "Stream synchronization behavior, \"Per-thread default stream\": \"not a \
                 non-blocking stream and will synchronize with the legacy default stream if both \
                 are used in a program\"",
        run: per_thread,
    },
    Case {
        name: "not-capturing",
        source: "cuStreamIsCapturing: \"CU_STREAM_CAPTURE_STATUS_NONE: The stream is not \
                 capturing.\"",
        run: not_capturing,
    },
    Case {
        name: "destroyed-stream-finishes",
        source: "cuStreamDestroy: \"In case the device is still doing work in the stream hStream \
                 when cuStreamDestroy() is called, the function will return immediately and the \
                 resources associated with hStream will be released automatically once the \
                 device has completed all work in hStream.\"",
        run: destroyed,
    },
    Case {
        name: "synchronize-waits-for-all",
        source: "cuCtxSynchronize: \"Blocks until the current context has completed all \
                 preceding requested tasks.\"",
        run: synchronize_all,
    },
];

fn flags(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let mut stream = 0;
    gpu.stream(BLOCKING)?;
    gpu.stream(NON_BLOCKING)?;
    let code = driver.create_stream(&mut stream, 0x8000);
    seen.code("flags 0x8000", code, &[Code::INVALID_VALUE])
}

fn order(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::increment(), "k")?;
    for (name, flags) in [("blocking", BLOCKING), ("non-blocking", NON_BLOCKING)] {
        let stream = gpu.stream(flags)?;
        let address = gpu.alloc(4096)?;
        gpu.fill(address, 0, 4096, stream)?;
        for _ in 0..20 {
            let grid = Grid { stream, ..Grid::of(4, 256) };
            must("cuLaunchKernel", gpu.launch(kernel, grid, &[address]))?;
        }
        let found = gpu.download(address, 4096, stream)?;
        seen.note(name, found[0]);
        same("20 increments of each word", found, bytes_of(&[20; 1024]))?;
    }
    Ok(())
}

fn query(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::spin(), "k")?;
    let stream = gpu.stream(NON_BLOCKING)?;
    seen.code("of a new stream", driver.query_stream(stream), &[Code::SUCCESS])?;
    let address = gpu.alloc(4)?;
    gpu.upload(address, &bytes_of(&[20_000]), stream)?;
    let grid = Grid { stream, ..Grid::of(1, 1) };
    must("cuLaunchKernel", gpu.launch(kernel, grid, &[address]))?;
    let either = &[Code::NOT_READY, Code::SUCCESS];
    seen.varying_code("behind a kernel", driver.query_stream(stream), either)?;
    gpu.wait(stream)?;
    seen.code("once it was waited for", driver.query_stream(stream), &[Code::SUCCESS])
}

fn default_stream(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [a, b] = [gpu.stream(BLOCKING)?, gpu.stream(BLOCKING)?];
    let address = gpu.alloc(1 << 20)?;
    for (name, default) in [("null", 0), ("CU_STREAM_LEGACY", LEGACY)] {
        gpu.fill(address, 1, 1 << 20, a)?;
        gpu.fill(address, 2, 1 << 19, default)?;
        gpu.fill(address, 3, 1 << 18, b)?;
        let found = gpu.download(address, 1 << 20, b)?;
        let last = [found[0], found[1 << 18], found[1 << 19]];
        seen.note(name, &last[..]);
        same("who wrote last in each part", last, [3, 2, 1])?;
    }
    Ok(())
}

/// A wait for the default stream returns whether or not the other stream has come to its end.
fn non_blocking(driver: &Driver, seen: &mut Seen) -> Outcome {
    const ROUNDS: u32 = 500_000;
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::spin(), "k")?;
    let stream = gpu.stream(NON_BLOCKING)?;
    let [long, short] = [gpu.alloc(4)?, gpu.alloc(4096)?];
    gpu.upload(long, &bytes_of(&[ROUNDS]), stream)?;
    gpu.wait(stream)?;
    let grid = Grid { stream, ..Grid::of(1, 1) };
    must("cuLaunchKernel", gpu.launch(kernel, grid, &[long]))?;
    gpu.fill(short, 4, 4096, 0)?;
    gpu.wait(0)?;
    let either = &[Code::NOT_READY, Code::SUCCESS];
    seen.varying_code("once the default stream is idle", driver.query_stream(stream), either)?;
    same("what the default stream wrote", gpu.download(short, 4096, 0)?, vec![4; 4096])?;
    let want = (0..ROUNDS).fold(1_u32, |it, _| it.wrapping_mul(5).wrapping_add(3));
    same("what the other stream wrote", gpu.download(long, 4, stream)?, bytes_of(&[want]))
}

fn per_thread(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(1 << 20)?;
    gpu.fill(address, 1, 1 << 20, PER_THREAD)?;
    gpu.fill(address, 2, 1 << 19, LEGACY)?;
    gpu.fill(address, 3, 1 << 18, PER_THREAD)?;
    let found = gpu.download(address, 1 << 20, PER_THREAD)?;
    let last = [found[0], found[1 << 18], found[1 << 19]];
    seen.note("last", &last[..]);
    same("who wrote last in each part", last, [3, 2, 1])
}

fn not_capturing(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    for (name, stream) in [("a stream", gpu.stream(BLOCKING)?), ("the default stream", 0)] {
        let mut status = -1;
        seen.code(name, driver.capture_status(stream, &mut status), &[Code::SUCCESS])?;
        same("the status", status, 0)?;
    }
    Ok(())
}

fn destroyed(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(NON_BLOCKING)?;
    let address = gpu.alloc(1 << 20)?;
    gpu.fill(address, 1, 1 << 20, stream)?;
    gpu.fill(address, 2, 1 << 20, stream)?;
    seen.code("cuStreamDestroy", driver.destroy_stream(stream), &[Code::SUCCESS])?;
    gpu.synchronize()?;
    let found = gpu.download(address, 1 << 20, 0)?;
    same("whether its work is done", found.iter().all(|it| *it == 2), true)
}

fn synchronize_all(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let address = gpu.alloc(8 * 4096)?;
    let mut streams = Vec::new();
    for number in 0..8 {
        let stream = gpu.stream(NON_BLOCKING)?;
        gpu.fill(address + u64::from(number) * 4096, number, 4096, stream)?;
        streams.push(stream);
    }
    gpu.synchronize()?;
    for stream in streams {
        seen.code("cuStreamQuery", driver.query_stream(stream), &[Code::SUCCESS])?;
    }
    let found = gpu.download(address, 8 * 4096, 0)?;
    let firsts: Vec<u8> = found.chunks(4096).map(|it| it[0]).collect();
    same("what each stream wrote", firsts, (0..8).collect())
}
