//! Contexts: which device a thread's calls are for.

use std::{
    cell::Cell,
    ffi::{c_int, c_uint},
};

use super::{CURRENT, answered, call, current, lock, put, waiting::call_waiting};
use crate::{
    counts::Kind,
    error::{Code, Failure, Outcome},
    world::{ContextId, World},
};

thread_local! {
    /// Whether this thread is one that makes no context current, once it has asked for one.
    static FORGETS: Cell<Option<bool>> = const { Cell::new(None) };
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(target: *mut u64, device: c_int) -> c_int {
    call("cuDevicePrimaryCtxRetain", |world| {
        let device = world.check_device(device)?;
        let context = world.retain(device)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, context.handle()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> c_int {
    call_waiting("cuDevicePrimaryCtxRelease", |world| {
        let device = world.check_device(device)?;
        world.release(device)
    })
}

/// Contexts of a program's own are not made here, so none can be destroyed.
#[unsafe(no_mangle)]
extern "C" fn cuCtxDestroy_v2(context: u64) -> c_int {
    call("cuCtxDestroy", |_| {
        let detail = format!("{context:#x} was not made by cuCtxCreate");
        Err(Failure::new(Code::InvalidContext, detail))
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuCtxGetCurrent(target: *mut u64) -> c_int {
    answered("cuCtxGetCurrent", || {
        drop(lock()?);
        let handle = CURRENT.get().map_or(0, ContextId::handle);
        // SAFETY: the caller's pointer.
        unsafe { put(target, handle) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: u64) -> c_int {
    if context == 0 {
        return answered("cuCtxSetCurrent", || {
            drop(lock()?);
            CURRENT.set(None);
            Ok(())
        });
    }
    call("cuCtxSetCurrent", |world| {
        let context = alive(world, context)?;
        let forgets = FORGETS.get().unwrap_or_else(|| world.forgets_context());
        FORGETS.set(Some(forgets));
        if !forgets {
            CURRENT.set(Some(context));
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSynchronize() -> c_int {
    call_waiting("cuCtxSynchronize", |world| {
        let device = current(world)?;
        world.synchronize_device(device)?;
        world.count(device, Kind::Synchronisation, 0);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxEnablePeerAccess(peer: u64, flags: c_uint) -> c_int {
    call("cuCtxEnablePeerAccess", |world| {
        let device = current(world)?;
        let peer = alive(world, peer)?.device;
        if flags != 0 {
            return Err(Failure::new(Code::InvalidValue, format!("flags {flags:#x}")));
        }
        if device == peer {
            let detail = format!("cuda:{device} is no peer of itself");
            return Err(Failure::new(Code::InvalidContext, detail));
        }
        if !world.machine.has_peers {
            let detail = format!("cuda:{device} and cuda:{peer} are no peers");
            return Err(Failure::new(Code::PeerAccessUnsupported, detail));
        }
        if !world.memory.let_reach(device, peer) {
            let detail = format!("cuda:{device} reaches cuda:{peer} already");
            return Err(Failure::new(Code::PeerAccessAlreadyEnabled, detail));
        }
        Ok(())
    })
}

pub(super) fn alive(world: &World, handle: u64) -> Outcome<ContextId> {
    ContextId::of_handle(handle).filter(|context| world.is_alive(*context)).ok_or_else(|| {
        Failure::new(Code::InvalidContext, format!("{handle:#x} is no context, or it has ended"))
    })
}
