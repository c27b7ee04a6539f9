//! The functions of NVIDIA's libraries, as programs call them.
//!
//! Each takes what the headers declare, checks what the driver checks, and asks the [`World`].

mod blas;
mod calls;
mod context;
mod device;
mod gemm;
mod memory;
mod module;
mod nccl;
mod nvml;
mod rand;
mod runtime;
mod stream;
mod text;
mod waiting;

use std::{
    cell::Cell,
    ffi::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use crate::{
    error::{Code, Failure, Outcome},
    installed::VISIBLE,
    machine::{Machine, VARIABLE},
    world::{ContextId, World},
};

const SUCCESS: c_int = 0;

/// The one machine of the process, once `cuInit` has read what it is.
static WORLD: OnceLock<Outcome<Mutex<World>>> = OnceLock::new();

thread_local! {
    static CURRENT: Cell<Option<ContextId>> = const { Cell::new(None) };
}

/// Reads what machine there is, the first time.
fn initialize() -> Outcome {
    let read = || match std::env::var(VARIABLE) {
        Ok(text) => match Machine::parse(&text) {
            Ok(machine) => {
                if !machine.mistakes.is_empty() || machine.counts.is_some() {
                    // SAFETY: the function can be called at the process's end.
                    unsafe { atexit(at_exit) };
                }
                if machine.counts.is_none() {
                    calls::stop();
                }
                let list = std::env::var_os(VISIBLE).map(|it| it.to_string_lossy().into_owned());
                Ok(Mutex::new(World::new(machine, list.as_deref())))
            }
            Err(error) => Err(Failure::new(Code::Unknown, format!("{VARIABLE}: {error}"))),
        },
        Err(_) => Err(Failure::new(Code::NoDevice, format!("{VARIABLE} describes no machine"))),
    };
    WORLD.get_or_init(read).as_ref().map(drop).map_err(Clone::clone)
}

unsafe extern "C" {
    /// Of the C library: calls a function when the process ends.
    fn atexit(function: extern "C" fn()) -> c_int;
}

extern "C" fn at_exit() {
    if let Ok(world) = world() {
        world.report_missed();
        calls::with(|calls| world.write_counts(calls));
    }
}

/// The world, for the driver, which has not come up where it shows no devices.
fn lock() -> Outcome<MutexGuard<'static, World>> {
    let world = world()?;
    if world.machine.devices.is_empty() { Err(no_driver()) } else { Ok(world) }
}

fn no_driver() -> Failure {
    Failure::new(Code::NotInitialized, "the driver is used before it was initialised")
}

/// The world, whether or not the driver shows any devices.
fn world() -> Outcome<MutexGuard<'static, World>> {
    let world = WORLD.get().ok_or_else(no_driver)?;
    let world = world.as_ref().map_err(Clone::clone)?;
    Ok(world.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Does what a function is for, and turns what comes of it into a number.
fn call(function: &'static str, body: impl FnOnce(&mut World) -> Outcome) -> c_int {
    answered(function, || {
        let mut world = lock()?;
        world.check(CURRENT.get().map(|context| context.device))?;
        waiting::tell(&mut world, body)
    })
}

/// As [`call`], for what also works once a kernel has faulted, or before there is a machine.
fn answered(function: &'static str, body: impl FnOnce() -> Outcome) -> c_int {
    let outcome = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
        Err(Failure::new(Code::Unknown, format!("a panic: {}", said.unwrap_or_default())))
    });
    calls::count(function);
    match outcome {
        Ok(()) => SUCCESS,
        Err(failure) => {
            text::remember(function, &failure);
            failure.code as c_int
        }
    }
}

/// The device whose context is current in this thread.
fn current(world: &World) -> Outcome<usize> {
    let context = CURRENT.get().ok_or_else(|| {
        Failure::new(Code::InvalidContext, "no context is current in this thread")
    })?;
    if world.is_alive(context) {
        return Ok(context.device);
    }
    let detail = format!("the context of cuda:{} has ended", context.device);
    Err(Failure::new(Code::ContextIsDestroyed, detail))
}

/// Checks that what was made in a context is used where that context is current.
///
/// Source: cuBLAS, "cuBLAS Context": the device of a handle is that which is current when it is made.
fn check_context(what: &str, made_in: ContextId, current: ContextId) -> Outcome {
    if made_in == current {
        return Ok(());
    }
    let (made, found) = (made_in.device, current.device);
    let detail = format!("{what} that was made on cuda:{made} while cuda:{found} is current");
    Err(Failure::new(Code::InvalidContext, detail))
}

/// Handles of the default streams.
const LEGACY: [u64; 2] = [0, 1];
const PER_THREAD: u64 = 2;

/// The device that is current, and a stream's handle, whichever way it is named.
fn current_stream(world: &mut World, stream: u64) -> Outcome<(usize, u64)> {
    let device = current(world)?;
    let stream = match stream {
        PER_THREAD => world.default_stream(device, true),
        stream if LEGACY.contains(&stream) => world.default_stream(device, false),
        stream => stream,
    };
    Ok((device, stream))
}

/// Writes a result where the program wants it.
///
/// # Safety
/// `target` is null, or can be written.
unsafe fn put<T>(target: *mut T, value: T) -> Outcome {
    if target.is_null() {
        return Err(Failure::new(Code::InvalidValue, "a null pointer for a result"));
    }
    // SAFETY: the caller vouches for it.
    unsafe { target.write(value) };
    Ok(())
}
