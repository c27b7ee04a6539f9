//! NCCL: ranks in one process, and what they send each other.

use std::{
    cell::RefCell,
    ffi::{CStr, CString, c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
};

use super::{SUCCESS, calls, current, lock, waiting};
use crate::{
    nccl::{Answer, NcclCode, Refusal},
    world::{Operation, World},
};

/// `NCCL_UNIQUE_ID_BYTES`.
const ID_BYTES: usize = 128;
/// 2.28.3, as `NCCL_VERSION` makes a number of it.
const VERSION: c_int = 22803;

/// `ncclUniqueId`; its first bytes are a communicator's number here.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([u8; ID_BYTES]);

/// What a thread has asked for since its group began.
#[derive(Debug, Default)]
struct Group {
    depth: u32,
    operations: Vec<Operation>,
    /// Ranks that were made, and where their handles go.
    made: Vec<(u64, *mut u64)>,
    ended: Vec<Ending>,
}

/// A rank that is to be ended.
#[derive(Debug, Clone, Copy)]
struct Ending {
    rank: u64,
    is_aborted: bool,
}

thread_local! {
    static GROUP: RefCell<Group> = RefCell::default();
}

/// What was said last.
static LAST: Mutex<&'static CStr> = Mutex::new(c"");

/// Does what a function is for. What waits is tried again whenever another thread has asked for
/// something.
fn ask(function: &'static str, mut body: impl FnMut(&mut World) -> Answer) -> c_int {
    let answer = || {
        let mut world = lock()?;
        loop {
            world.check(None)?;
            match waiting::tell(&mut world, &mut body) {
                Err(Refusal { code: NcclCode::InProgress, detail }) => {
                    world = waiting::await_change(world, &detail)?;
                }
                outcome => return outcome,
            }
        }
    };
    let outcome = catch_unwind(AssertUnwindSafe(answer));
    calls::count(function);
    let outcome =
        outcome.unwrap_or_else(|_| Err(Refusal::usage("the emulation itself has failed")));
    match outcome {
        Ok(()) => SUCCESS,
        Err(Refusal { code, detail }) => {
            say_last(&format!("{function}: {detail}"));
            code as c_int
        }
    }
}

fn say_last(text: &str) {
    let mut last = LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Ok(text) = CString::new(text.replace('\0', " "))
        && *last != text.as_c_str()
    {
        // Kept, since programs hold the pointers.
        *last = Box::leak(text.into_boxed_c_str());
    }
}

/// Takes something into the group of this thread; none if it is in no group.
fn grouped<T>(take: impl FnOnce(&mut Group) -> T) -> Option<T> {
    GROUP.with_borrow_mut(|group| (group.depth > 0).then(|| take(group)))
}

unsafe fn put<T>(target: *mut T, value: T) -> Answer {
    // SAFETY: the caller vouches for it.
    unsafe { super::put(target, value) }.map_err(|failure| Refusal::argument(failure.detail))
}

/// # Safety
/// As NCCL: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn ncclGetVersion(target: *mut c_int) -> c_int {
    // SAFETY: the caller's pointer.
    match unsafe { put(target, VERSION) } {
        Ok(()) => SUCCESS,
        Err(refusal) => refusal.code as c_int,
    }
}

/// # Safety
/// As NCCL: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn ncclGetUniqueId(target: *mut UniqueId) -> c_int {
    ask("ncclGetUniqueId", |world| {
        let mut id = [0; ID_BYTES];
        id[..size_of::<u64>()].copy_from_slice(&world.new_nccl_id().to_le_bytes());
        // SAFETY: the caller's pointer.
        unsafe { put(target, UniqueId(id)) }
    })
}

/// Waits for the other ranks, at the end of the group if there is one.
///
/// # Safety
/// As NCCL: `target` can be written, until the end of the group.
#[unsafe(no_mangle)]
unsafe extern "C" fn ncclCommInitRank(
    target: *mut u64,
    num_ranks: c_int,
    UniqueId(id): UniqueId,
    rank: c_int,
) -> c_int {
    let mut made = None;
    ask("ncclCommInitRank", |world| {
        let handle = if let Some(handle) = made {
            handle
        } else {
            let mut number = [0; size_of::<u64>()];
            number.copy_from_slice(&id[..size_of::<u64>()]);
            let place = [rank, num_ranks].map(usize::try_from);
            let [Ok(rank), Ok(num_ranks)] = place else {
                return Err(Refusal::argument(format!("rank {rank} of {num_ranks}")));
            };
            let device = current(world)?;
            world.join(u64::from_le_bytes(number), (rank, num_ranks), device)?
        };
        made = Some(handle);
        if grouped(|group| group.made.push((handle, target))).is_some() {
            return Ok(());
        }
        world.await_ranks(handle)?;
        // SAFETY: the caller's pointer.
        unsafe { put(target, handle) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn ncclGroupStart() -> c_int {
    GROUP.with_borrow_mut(|group| group.depth += 1);
    SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn ncclGroupEnd() -> c_int {
    let group = GROUP.with_borrow_mut(|group| match group.depth {
        0 => Err(Refusal::usage("no group has begun")),
        1 => Ok(std::mem::take(group)),
        _ => {
            group.depth -= 1;
            Ok(Group::default())
        }
    });
    let mut is_posted = false;
    ask("ncclGroupEnd", |world| {
        let Group { operations, made, ended, .. } = group.as_ref().map_err(Clone::clone)?;
        for (handle, target) in made {
            world.await_ranks(*handle)?;
            // SAFETY: who made the rank vouches for the pointer until the end of the group.
            unsafe { put(*target, *handle) }?;
        }
        if !is_posted {
            is_posted = true;
            world.post(operations)?;
        }
        ended.iter().try_for_each(|ending| end(world, *ending))
    })
}

fn end(world: &mut World, Ending { rank, is_aborted }: Ending) -> Answer {
    if is_aborted { world.abort(rank) } else { world.destroy(rank) }
}

fn pass(function: &'static str, operation: Operation) -> c_int {
    if grouped(|group| group.operations.push(operation)).is_some() {
        return SUCCESS;
    }
    ask(function, |world| world.post(&[operation]))
}

#[unsafe(no_mangle)]
extern "C" fn ncclSend(
    address: u64,
    count: usize,
    number: c_int,
    peer: c_int,
    rank: u64,
    stream: u64,
) -> c_int {
    pass("ncclSend", Operation { is_send: true, address, count, number, peer, rank, stream })
}

#[unsafe(no_mangle)]
extern "C" fn ncclRecv(
    address: u64,
    count: usize,
    number: c_int,
    peer: c_int,
    rank: u64,
    stream: u64,
) -> c_int {
    pass("ncclRecv", Operation { is_send: false, address, count, number, peer, rank, stream })
}

/// # Safety
/// As NCCL: `target` can be written.
#[unsafe(no_mangle)]
unsafe extern "C" fn ncclCommGetAsyncError(rank: u64, target: *mut c_int) -> c_int {
    ask("ncclCommGetAsyncError", |world| {
        let error = world.async_error(rank)?;
        if error != SUCCESS {
            say_last("a rank has failed: an injected fault");
        }
        // SAFETY: the caller's pointer.
        unsafe { put(target, error) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn ncclCommAbort(rank: u64) -> c_int {
    finish("ncclCommAbort", Ending { rank, is_aborted: true })
}

#[unsafe(no_mangle)]
extern "C" fn ncclCommDestroy(rank: u64) -> c_int {
    finish("ncclCommDestroy", Ending { rank, is_aborted: false })
}

fn finish(function: &'static str, ending: Ending) -> c_int {
    if grouped(|group| group.ended.push(ending)).is_some() {
        return SUCCESS;
    }
    ask(function, |world| end(world, ending))
}

/// Source: `ncclGetErrorString` of NCCL 2.28.
#[unsafe(no_mangle)]
extern "C" fn ncclGetErrorString(code: c_int) -> *const c_char {
    let text = match code {
        0 => c"no error",
        1 => c"unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
        2 => c"unhandled system error (run with NCCL_DEBUG=INFO for details)",
        3 => c"internal error - please report this issue to the NCCL developers",
        4 => c"invalid argument (run with NCCL_DEBUG=WARN for details)",
        5 => c"invalid usage (run with NCCL_DEBUG=WARN for details)",
        6 => c"remote process exited or there was a network error",
        7 => c"NCCL operation in progress",
        _ => c"unknown result code",
    };
    text.as_ptr()
}

/// The last error of the process, whatever communicator is asked about.
#[unsafe(no_mangle)]
extern "C" fn ncclGetLastError(_rank: *const c_void) -> *const c_char {
    LAST.lock().unwrap_or_else(std::sync::PoisonError::into_inner).as_ptr()
}
