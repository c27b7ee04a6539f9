//! Streams and events.

use std::ffi::{c_int, c_uint};

use super::{answered, call, current, current_stream, put, waiting::call_waiting};
use crate::error::{Code, Failure};

/// Source: `cuda.h`, `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: c_uint = 1;
/// Source: `cuda.h`, `CU_EVENT_BLOCKING_SYNC`, `CU_EVENT_DISABLE_TIMING`.
const EVENT_FLAGS: c_uint = 3;
const DISABLE_TIMING: c_uint = 2;

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(target: *mut u64, flags: c_uint) -> c_int {
    call("cuStreamCreate", |world| {
        let device = current(world)?;
        if flags > NON_BLOCKING {
            return Err(Failure::new(Code::InvalidValue, format!("flags {flags:#x}")));
        }
        let stream = world.create_stream(device, flags != NON_BLOCKING);
        // SAFETY: the caller's pointer.
        unsafe { put(target, stream) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: u64) -> c_int {
    call("cuStreamDestroy", |world| {
        current(world)?;
        world.destroy_stream(stream)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: u64) -> c_int {
    call_waiting("cuStreamSynchronize", |world| {
        let (_, stream) = current_stream(world, stream)?;
        world.synchronize(stream)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamQuery(stream: u64) -> c_int {
    call("cuStreamQuery", |world| {
        let (_, stream) = current_stream(world, stream)?;
        ready(world.is_idle(stream)?, "work of the stream is not done")
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamIsCapturing(_stream: u64, target: *mut c_uint) -> c_int {
    // SAFETY: the caller's pointer. There are no graphs, so nothing is captured.
    answered("cuStreamIsCapturing", || unsafe { put(target, 0) })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(stream: u64, event: u64, _flags: c_uint) -> c_int {
    call("cuStreamWaitEvent", |world| {
        let (_, stream) = current_stream(world, stream)?;
        world.wait_event(stream, event)
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(target: *mut u64, flags: c_uint) -> c_int {
    call("cuEventCreate", |world| {
        let device = current(world)?;
        if flags & !EVENT_FLAGS != 0 {
            return Err(Failure::new(Code::InvalidValue, format!("flags {flags:#x}")));
        }
        let event = world.create_event(device, flags & DISABLE_TIMING == 0);
        // SAFETY: the caller's pointer.
        unsafe { put(target, event) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: u64) -> c_int {
    call("cuEventDestroy", |world| world.destroy_event(event))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: u64, stream: u64) -> c_int {
    call("cuEventRecord", |world| {
        let (_, stream) = current_stream(world, stream)?;
        world.record(event, stream)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventQuery(event: u64) -> c_int {
    call("cuEventQuery", |world| ready(world.is_reached(event)?, "the event is not reached"))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventSynchronize(event: u64) -> c_int {
    call_waiting("cuEventSynchronize", |world| world.synchronize_event(event))
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime_v2(target: *mut f32, start: u64, end: u64) -> c_int {
    call("cuEventElapsedTime", |world| {
        let milliseconds = world.elapsed([start, end])?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, milliseconds as f32) }
    })
}

fn ready(is_so: bool, detail: &str) -> crate::error::Outcome {
    if is_so { Ok(()) } else { Err(Failure::new(Code::NotReady, detail)) }
}
