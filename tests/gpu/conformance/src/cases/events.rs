//! Events.

use crate::{
    case::{Case, Seen, holds, same},
    code::Code,
    driver::{Driver, Grid},
    error::Outcome,
    gpu::{Gpu, NON_BLOCKING, TIMED, UNTIMED, bytes_of, must},
};

use super::ptx;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "event-orders-streams",
        source: "cuStreamWaitEvent: \"Makes all future work submitted to hStream wait for all \
                 work captured in hEvent.\"",
        run: orders_streams,
    },
    Case {
        name: "event-never-recorded",
        source: "cuEventRecord: \"Before the first call to cuEventRecord(), an event represents \
                 an empty set of work, so for example cuEventQuery() would return \
                 CUDA_SUCCESS.\"",
        run: never_recorded,
    },
    Case {
        name: "event-recorded-again",
        source: "cuEventRecord: \"can be called multiple times on the same event and will \
                 overwrite the previously captured state. Other APIs such as cuStreamWaitEvent() \
                 use the most recently captured state at the time of the API call, and are not \
                 affected by later calls to cuEventRecord().\"",
        run: recorded_again,
    },
    Case {
        name: "event-query",
        source: "cuEventQuery: \"Returns CUDA_SUCCESS if all captured work has been completed, \
                 or CUDA_ERROR_NOT_READY if any captured work is incomplete.\"",
        run: query,
    },
    Case {
        name: "event-synchronize",
        source: "cuEventSynchronize: \"Waits until the completion of all work currently captured \
                 in hEvent.\"",
        run: synchronize,
    },
    Case {
        name: "elapsed",
        source: "cuEventElapsedTime: \"If cuEventRecord() has been called on both events but one \
                 or both of them has not yet been completed …, CUDA_ERROR_NOT_READY is \
                 returned.\"",
        run: elapsed,
    },
    Case {
        name: "elapsed-without-timing",
        source: "cuEventElapsedTime: \"If either event was created with the \
                 CU_EVENT_DISABLE_TIMING flag, then this function will return \
                 CUDA_ERROR_INVALID_HANDLE.\"",
        run: elapsed_untimed,
    },
    Case {
        name: "elapsed-not-recorded",
        source: "cuEventElapsedTime: \"If cuEventRecord() has not been called on either event \
                 then CUDA_ERROR_INVALID_HANDLE is returned.\"",
        run: elapsed_unrecorded,
    },
    Case {
        name: "event-destroyed-early",
        source: "cuEventDestroy: \"An event may be destroyed before it is complete … In this \
                 case, the call does not block on completion of the event\"",
        run: destroyed,
    },
];

fn orders_streams(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::spin(), "k")?;
    let [a, b] = [gpu.stream(NON_BLOCKING)?, gpu.stream(NON_BLOCKING)?];
    let event = gpu.event(UNTIMED)?;
    let [from, to] = [gpu.alloc(4)?, gpu.alloc(4)?];
    gpu.upload(from, &bytes_of(&[20_000]), a)?;
    let grid = Grid { stream: a, ..Grid::of(1, 1) };
    must("cuLaunchKernel", gpu.launch(kernel, grid, &[from]))?;
    must("cuEventRecord", driver.record(event, a))?;
    must("cuStreamWaitEvent", driver.wait_event(b, event, 0))?;
    must("cuMemcpyDtoDAsync", driver.copy(to, from, 4, b))?;
    let found = gpu.download(to, 4, b)?;
    let want = (0..20_000).fold(1_u32, |it, _| it.wrapping_mul(5).wrapping_add(3));
    seen.note("what the kernel left", &found[..]);
    same("what the second stream copied", found, bytes_of(&[want]))
}

fn never_recorded(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let (stream, event) = (gpu.stream(NON_BLOCKING)?, gpu.event(TIMED)?);
    let want = &[Code::SUCCESS];
    seen.code("cuEventQuery", driver.query_event(event), want)?;
    seen.code("cuEventSynchronize", driver.synchronize_event(event), want)?;
    seen.code("cuStreamWaitEvent", driver.wait_event(stream, event, 0), want)?;
    gpu.wait(stream)
}

/// The second stream waits for what the event was first, and must not wait for the third.
fn recorded_again(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [a, b, c] =
        [gpu.stream(NON_BLOCKING)?, gpu.stream(NON_BLOCKING)?, gpu.stream(NON_BLOCKING)?];
    let event = gpu.event(UNTIMED)?;
    let [from, to, other] = [gpu.alloc(4096)?, gpu.alloc(4096)?, gpu.alloc(4096)?];
    gpu.fill(from, 1, 4096, a)?;
    must("cuEventRecord", driver.record(event, a))?;
    must("cuStreamWaitEvent", driver.wait_event(b, event, 0))?;
    gpu.fill(other, 2, 4096, c)?;
    must("cuEventRecord", driver.record(event, c))?;
    must("cuMemcpyDtoDAsync", driver.copy(to, from, 4096, b))?;
    same("what the second stream copied", gpu.download(to, 4096, b)?, vec![1; 4096])?;
    must("cuEventSynchronize", driver.synchronize_event(event))?;
    seen.code("cuStreamQuery of the third", driver.query_stream(c), &[Code::SUCCESS])?;
    same("what the third wrote", gpu.download(other, 4096, c)?, vec![2; 4096])
}

fn query(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let kernel = gpu.kernel(&ptx::spin(), "k")?;
    let (stream, event) = (gpu.stream(NON_BLOCKING)?, gpu.event(UNTIMED)?);
    let address = gpu.alloc(4)?;
    gpu.upload(address, &bytes_of(&[20_000]), stream)?;
    let grid = Grid { stream, ..Grid::of(1, 1) };
    must("cuLaunchKernel", gpu.launch(kernel, grid, &[address]))?;
    must("cuEventRecord", driver.record(event, stream))?;
    let either = &[Code::NOT_READY, Code::SUCCESS];
    seen.varying_code("behind a kernel", driver.query_event(event), either)?;
    must("cuEventSynchronize", driver.synchronize_event(event))?;
    seen.code("once it was waited for", driver.query_event(event), &[Code::SUCCESS])
}

/// To pinned memory a copy may end at any time: what is there then was waited for.
fn synchronize(driver: &Driver, seen: &mut Seen) -> Outcome {
    const BYTES: usize = 1 << 20;
    let gpu = Gpu::first(driver)?;
    let (stream, event) = (gpu.stream(NON_BLOCKING)?, gpu.event(UNTIMED)?);
    let (address, (_, target)) = (gpu.alloc(BYTES)?, gpu.pinned(BYTES)?);
    for round in 1..5 {
        gpu.fill(address, round, BYTES, stream)?;
        // SAFETY: it is left alone until the event was waited for.
        let code = unsafe { driver.download(target, address, stream) };
        must("cuMemcpyDtoHAsync", code)?;
        must("cuEventRecord", driver.record(event, stream))?;
        seen.code("cuEventSynchronize", driver.synchronize_event(event), &[Code::SUCCESS])?;
        same("whether all bytes are there", target.iter().all(|it| *it == round), true)?;
    }
    Ok(())
}

fn elapsed(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let stream = gpu.stream(NON_BLOCKING)?;
    let [start, end] = [gpu.event(TIMED)?, gpu.event(TIMED)?];
    let address = gpu.alloc(1 << 20)?;
    must("cuEventRecord", driver.record(start, stream))?;
    gpu.fill(address, 1, 1 << 20, stream)?;
    must("cuEventRecord", driver.record(end, stream))?;
    let mut time = -1.0;
    let either = &[Code::NOT_READY, Code::SUCCESS];
    seen.varying_code("before they are waited for", driver.elapsed(&mut time, start, end), either)?;
    gpu.wait(stream)?;
    seen.code("cuEventElapsedTime", driver.elapsed(&mut time, start, end), &[Code::SUCCESS])?;
    holds("a time that is not negative", time >= 0.0, time)
}

fn elapsed_untimed(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [start, end] = [gpu.event(TIMED)?, gpu.event(UNTIMED)?];
    must("cuEventRecord", driver.record(start, 0))?;
    must("cuEventRecord", driver.record(end, 0))?;
    gpu.synchronize()?;
    let mut time = 0.0;
    let code = driver.elapsed(&mut time, start, end);
    seen.code("cuEventElapsedTime", code, &[Code::INVALID_HANDLE])
}

fn elapsed_unrecorded(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [start, end] = [gpu.event(TIMED)?, gpu.event(TIMED)?];
    must("cuEventRecord", driver.record(start, 0))?;
    gpu.synchronize()?;
    let mut time = 0.0;
    let code = driver.elapsed(&mut time, start, end);
    seen.code("cuEventElapsedTime", code, &[Code::INVALID_HANDLE])
}

fn destroyed(driver: &Driver, seen: &mut Seen) -> Outcome {
    let gpu = Gpu::first(driver)?;
    let [a, b] = [gpu.stream(NON_BLOCKING)?, gpu.stream(NON_BLOCKING)?];
    let event = gpu.event(UNTIMED)?;
    let [from, to] = [gpu.alloc(4096)?, gpu.alloc(4096)?];
    gpu.fill(from, 6, 4096, a)?;
    must("cuEventRecord", driver.record(event, a))?;
    must("cuStreamWaitEvent", driver.wait_event(b, event, 0))?;
    seen.code("cuEventDestroy", driver.destroy_event(event), &[Code::SUCCESS])?;
    must("cuMemcpyDtoDAsync", driver.copy(to, from, 4096, b))?;
    same("what the second stream copied", gpu.download(to, 4096, b)?, vec![6; 4096])
}
