//! Memory of devices, and copies.

use std::ffi::{c_int, c_uchar, c_uint, c_void};

use super::{call, context::alive, current, current_stream, put, waiting::call_waiting};
use crate::{
    counts::Kind,
    error::{Code, Failure, Outcome},
    memory::{POISON, Span},
    work::{HostSpan, Work},
    world::World,
};

/// # Safety
/// As the driver: both can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> c_int {
    call("cuMemGetInfo", |world| {
        let device = current(world)?;
        let (has, of) = world.memory.info(device);
        let [has, of] = [has, of].map(|it| usize::try_from(it).unwrap_or(usize::MAX));
        // SAFETY: the caller's pointers.
        unsafe { put(free, has).and_then(|()| put(total, of)) }
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(target: *mut u64, bytes: usize) -> c_int {
    call("cuMemAlloc", |world| {
        let device = current(world)?;
        let address = world.allocate(device, bytes)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, address) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> c_int {
    call_waiting("cuMemFree", |world| {
        current(world)?;
        if address == 0 { Ok(()) } else { world.free(address) }
    })
}

/// The address may be used by the stream from here on, and by others that wait for it.
///
/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAllocAsync(target: *mut u64, bytes: usize, stream: u64) -> c_int {
    call("cuMemAllocAsync", |world| {
        let (_, stream) = current_stream(world, stream)?;
        let address = world.allocate_for(stream, bytes)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, address) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(address: u64, stream: u64) -> c_int {
    call("cuMemFreeAsync", |world| {
        let (device, stream) = current_stream(world, stream)?;
        world.free_on(device, stream, address)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(target: u64, value: c_uchar, bytes: usize, stream: u64) -> c_int {
    call("cuMemsetD8Async", |world| {
        let Some(target) = span(world, target, bytes)? else { return Ok(()) };
        enqueue(world, stream, Work::Fill { target, value })
    })
}

/// # Safety
/// As the driver: `bytes` at `source` can be read.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyHtoDAsync_v2(
    target: u64,
    source: *const c_void,
    bytes: usize,
    stream: u64,
) -> c_int {
    call("cuMemcpyHtoDAsync", |world| {
        let Some(Span { address, .. }) = span(world, target, bytes)? else { return Ok(()) };
        if source.is_null() {
            return Err(Failure::new(Code::InvalidValue, "a copy from a null pointer"));
        }
        // SAFETY: the caller vouches for the source. One that is pageable may be changed as soon as
        // the call returns; one that is pinned not before the copy is done.
        let source = unsafe { HostSpan::new(source.cast_mut().cast(), bytes) };
        let work = if world.pinned.holds(source.start(), bytes) {
            world.pinned_upload(source, address)
        } else {
            Work::Upload { bytes: source.bytes().to_vec(), target: address }
        };
        enqueue(world, stream, work)
    })
}

/// # Safety
/// As the driver: `bytes` at `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemcpyDtoHAsync_v2(
    target: *mut c_void,
    source: u64,
    bytes: usize,
    stream: u64,
) -> c_int {
    let mut is_asked_for = false;
    call_waiting("cuMemcpyDtoHAsync", |world| {
        if is_asked_for {
            let (_, stream) = current_stream(world, stream)?;
            return world.finish_copy(stream);
        }
        let Some(source) = span(world, source, bytes)? else { return Ok(()) };
        if target.is_null() {
            return Err(Failure::new(Code::InvalidValue, "a copy to a null pointer"));
        }
        // SAFETY: the caller vouches for the target until the copy is done.
        let target = unsafe { HostSpan::new(target.cast(), bytes) };
        let (device, stream) = current_stream(world, stream)?;
        let is_pinned = world.pinned.holds(target.start(), bytes);
        if is_pinned {
            // Who reads it before the copy is done reads nothing of use.
            target.write(&vec![POISON; bytes]);
        }
        let point = world.enqueue(device, stream, Work::Download { source, target, is_pinned })?;
        is_asked_for = true;
        if is_pinned {
            world.pinned.arrives(point, target);
        }
        // Source: "API synchronization behavior", to pageable memory the copy is complete on return.
        if is_pinned { Ok(()) } else { world.finish_copy(stream) }
    })
}

/// # Safety
/// As the driver: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemHostAlloc(
    target: *mut *mut c_void,
    bytes: usize,
    _flags: c_uint,
) -> c_int {
    call("cuMemHostAlloc", |world| {
        let device = current(world)?;
        let address = world.pinned.allocate(bytes)?;
        world.count(device, Kind::PinnedAllocation, bytes);
        // SAFETY: the caller's pointer.
        unsafe { put(target, address.cast()) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(address: *mut c_void) -> c_int {
    call_waiting("cuMemFreeHost", |world| {
        let device = current(world)?;
        world.free_pinned(address.cast())?;
        world.count(device, Kind::PinnedFree, 0);
        world.count(device, Kind::Synchronisation, 0);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(target: u64, source: u64, bytes: usize, stream: u64) -> c_int {
    call("cuMemcpyDtoDAsync", |world| {
        let devices = [current(world)?; 2];
        copy(world, [target, source], bytes, stream, devices)
    })
}

/// The driver stages the copy where the devices are no peers.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyPeerAsync(
    target: u64,
    target_context: u64,
    source: u64,
    source_context: u64,
    bytes: usize,
    stream: u64,
) -> c_int {
    call("cuMemcpyPeerAsync", |world| {
        let devices = [alive(world, source_context)?.device, alive(world, target_context)?.device];
        for (address, device) in [source, target].into_iter().zip(devices) {
            if world.memory.owner(address) != Some(device) {
                let detail = format!("{address:#x} is not of cuda:{device}, as its context says");
                return Err(Failure::new(Code::InvalidValue, detail));
            }
        }
        copy(world, [target, source], bytes, stream, devices)
    })
}

fn copy(
    world: &mut World,
    [target, source]: [u64; 2],
    bytes: usize,
    stream: u64,
    devices: [usize; 2],
) -> Outcome {
    let Some(source) = span(world, source, bytes)? else { return Ok(()) };
    let Some(Span { address: target, .. }) = span(world, target, bytes)? else { return Ok(()) };
    enqueue(world, stream, Work::Copy { source, target, devices })
}

fn enqueue(world: &mut World, stream: u64, work: Work) -> Outcome {
    let (device, stream) = current_stream(world, stream)?;
    world.enqueue(device, stream, work).map(drop)
}

/// Memory that is there when it is asked for; none of no bytes.
fn span(world: &World, address: u64, bytes: usize) -> Outcome<Option<Span>> {
    if bytes == 0 {
        return Ok(None);
    }
    let span = Span { address, bytes };
    let refused =
        |why| Failure::new(Code::InvalidValue, format!("{bytes} bytes at {address:#x}: {why}"));
    let owner = world.memory.owner(address);
    let owner = owner.ok_or_else(|| refused("this is no memory of a device".to_owned()))?;
    world.memory.reach(owner, span).map_err(refused)?;
    Ok(Some(span))
}
