//! NCCL: values from one GPU to another, as entries of their streams.
//!
//! Loaded when it is first asked for, and apart from CUDA's other libraries: most programs need none
//! of it. Only the few functions that links between stages call are declared
//! (`docs/adr/0010-nccl-declared-by-hand.md`).
//!
//! Source: `nccl.h` of NCCL 2.28.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem::transmute,
    ptr::{self, NonNull},
    sync::OnceLock,
};

use crate::load::{self, LoadError};

/// `NCCL_UNIQUE_ID_BYTES`.
const ID_BYTES: usize = 128;
const SUCCESS: c_int = 0;
/// What is not over yet: `ncclInProgress`.
const IN_PROGRESS: c_int = 7;

/// `ncclUniqueId`: what ranks of the same communicator have in common.
#[repr(C)]
#[derive(Clone, Copy)]
struct UniqueId([c_char; ID_BYTES]);

/// `ncclComm_t`.
type Handle = *mut c_void;

type NoArgument = unsafe extern "C" fn() -> c_int;
type OfHandle = unsafe extern "C" fn(Handle) -> c_int;
/// `ncclSend` and `ncclRecv`, the buffer of one of which is constant.
type Transfer = unsafe extern "C" fn(u64, usize, c_int, c_int, Handle, *mut c_void) -> c_int;

/// Declares functions of the library: their names there, and their signatures.
macro_rules! functions {
    ($($field:ident = $name:literal: $signature:ty;)*) => {
        #[derive(Debug)]
        struct Functions { $($field: $signature),* }

        impl Functions {
            fn find() -> Result<Self, LoadError> {
                let mut addresses = load::nccl(&[$($name),*])?.into_iter();
                Ok(Self { $($field: {
                    let address = addresses.next().expect("each name has an address");
                    // SAFETY: it is the address of the function with that name, which has this
                    // signature in all releases whose library is `libnccl.so.2`.
                    unsafe { transmute::<*mut (), $signature>(address) }
                }),* })
            }
        }
    };
}

functions! {
    get_unique_id = c"ncclGetUniqueId": unsafe extern "C" fn(*mut UniqueId) -> c_int;
    init_rank = c"ncclCommInitRank":
        unsafe extern "C" fn(*mut Handle, c_int, UniqueId, c_int) -> c_int;
    group_start = c"ncclGroupStart": NoArgument;
    group_end = c"ncclGroupEnd": NoArgument;
    send = c"ncclSend": Transfer;
    recv = c"ncclRecv": Transfer;
    get_async_error = c"ncclCommGetAsyncError":
        unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
    abort = c"ncclCommAbort": OfHandle;
    destroy = c"ncclCommDestroy": OfHandle;
    get_error_string = c"ncclGetErrorString": unsafe extern "C" fn(c_int) -> *const c_char;
    get_last_error = c"ncclGetLastError": unsafe extern "C" fn(Handle) -> *const c_char;
}

/// The library, once it is loaded.
#[derive(Debug)]
pub struct Nccl(Functions);

/// A rank of a communicator.
#[derive(Debug)]
pub struct Rank(NonNull<c_void>);

// SAFETY: NCCL lets any thread use a communicator, as long as no two do at the same time.
unsafe impl Send for Rank {}

/// What numbers are sent, by NCCL's own codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Number {
    F16 = 6,
    F32 = 7,
    Bf16 = 9,
}

/// Numbers in a GPU's memory, the other rank, and the stream that sends or receives them.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    pub address: u64,
    pub count: usize,
    pub number: Number,
    pub peer: u32,
    /// `cudaStream_t`, which is the driver's.
    pub stream: *mut c_void,
}

/// What NCCL says about a call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{function}: {said}{}", more(said, last))]
pub struct NcclError {
    pub function: &'static str,
    /// The error's name in words.
    pub said: String,
    /// The library's last error in words; empty if it has none.
    pub last: String,
}

fn more(said: &str, last: &str) -> String {
    if last.is_empty() || last == said { String::new() } else { format!(": {last}") }
}

impl Nccl {
    /// Finds the library and its functions.
    ///
    /// The first call decides for the whole process.
    ///
    /// # Errors
    /// [`LoadError`] if the library is missing, or one of its functions.
    pub fn load() -> Result<&'static Self, LoadError> {
        static OUTCOME: OnceLock<Result<Nccl, LoadError>> = OnceLock::new();
        let outcome = OUTCOME.get_or_init(|| Functions::find().map(Self));
        outcome.as_ref().map_err(Clone::clone)
    }

    /// Makes a communicator of two ranks, both in this process. `enter` makes the GPU of a rank the
    /// one that this thread's calls are for.
    ///
    /// # Errors
    /// [`NcclError`], or that of `enter`.
    pub fn pair<E: From<NcclError>>(
        &self,
        mut enter: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<[Rank; 2], E> {
        let mut id = UniqueId([0; ID_BYTES]);
        // SAFETY: the library writes the identifier.
        self.check("ncclGetUniqueId", unsafe { (self.0.get_unique_id)(&raw mut id) })?;
        let mut handles: [Handle; 2] = [ptr::null_mut(); 2];
        self.grouped::<E>(|| {
            for (index, handle) in handles.iter_mut().enumerate() {
                enter(index)?;
                let rank = c_int::from(index == 1);
                // SAFETY: the library writes the handle by the end of the group, which is still here.
                let outcome = unsafe { (self.0.init_rank)(&raw mut *handle, 2, id, rank) };
                self.check("ncclCommInitRank", outcome)?;
            }
            Ok(())
        })?;
        let missing = || NcclError {
            function: "ncclCommInitRank",
            said: "it made no communicator".to_owned(),
            last: String::new(),
        };
        let rank = |handle: Handle| NonNull::new(handle).map(Rank).ok_or_else(missing);
        let [first, second] = handles.map(rank);
        Ok([first?, second?])
    }

    /// Does something between the beginning and the end of a group: what is asked for within is done
    /// together.
    ///
    /// # Errors
    /// Those of `work`, else [`NcclError`].
    pub fn grouped<E: From<NcclError>>(
        &self,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        // SAFETY: it takes nothing.
        self.check("ncclGroupStart", unsafe { (self.0.group_start)() })?;
        let outcome = work();
        // SAFETY: the group was begun by this thread; it ends whatever came of the work.
        let ended = self.check("ncclGroupEnd", unsafe { (self.0.group_end)() });
        outcome.and(ended.map_err(E::from))
    }

    /// Enqueues a send.
    ///
    /// # Safety
    /// So many numbers are at the address, in memory of the rank's GPU, and stay there until the
    /// other rank has received them. The stream is of that GPU.
    ///
    /// # Errors
    /// [`NcclError`], also of a rank that has failed before.
    pub unsafe fn send(&self, rank: &Rank, passage: Passage) -> Result<(), NcclError> {
        // SAFETY: the caller vouches for it.
        unsafe { self.pass("ncclSend", self.0.send, rank, passage) }
    }

    /// Enqueues a receive.
    ///
    /// # Safety
    /// There is room for so many numbers at the address, in memory of the rank's GPU that nobody else
    /// uses until the stream, which is of that GPU, has come so far.
    ///
    /// # Errors
    /// [`NcclError`], also of a rank that has failed before.
    pub unsafe fn recv(&self, rank: &Rank, passage: Passage) -> Result<(), NcclError> {
        // SAFETY: the caller vouches for it.
        unsafe { self.pass("ncclRecv", self.0.recv, rank, passage) }
    }

    unsafe fn pass(
        &self,
        name: &'static str,
        function: Transfer,
        Rank(handle): &Rank,
        Passage { address, count, number, peer, stream }: Passage,
    ) -> Result<(), NcclError> {
        let (number, peer) = (number as c_int, peer.cast_signed());
        // SAFETY: the caller vouches for address, count and stream; the handle is a communicator's
        // until it is ended, which takes the rank.
        self.check(name, unsafe { function(address, count, number, peer, handle.as_ptr(), stream) })
    }

    /// Asks whether a rank has failed since it was made.
    ///
    /// # Errors
    /// [`NcclError`] with what has happened to it.
    pub fn check_rank(&self, Rank(handle): &Rank) -> Result<(), NcclError> {
        let mut failed = SUCCESS;
        // SAFETY: the handle is a communicator's, and the library writes a number.
        let outcome = unsafe { (self.0.get_async_error)(handle.as_ptr(), &raw mut failed) };
        self.check("ncclCommGetAsyncError", outcome)?;
        if failed == IN_PROGRESS {
            return Ok(());
        }
        // SAFETY: as above.
        self.check("ncclCommGetAsyncError", failed)
    }

    /// Ends a rank of which all that was asked is done or will be.
    ///
    /// # Errors
    /// [`NcclError`]; the rank has ended nonetheless.
    pub fn destroy(&self, Rank(handle): Rank) -> Result<(), NcclError> {
        // SAFETY: the handle is a communicator's, and nobody has it any more.
        self.check("ncclCommDestroy", unsafe { (self.0.destroy)(handle.as_ptr()) })
    }

    /// Ends a rank, with all that it has not done.
    ///
    /// # Errors
    /// [`NcclError`]; the rank has ended nonetheless.
    pub fn abort(&self, Rank(handle): Rank) -> Result<(), NcclError> {
        // SAFETY: the handle is a communicator's, and nobody has it any more.
        self.check("ncclCommAbort", unsafe { (self.0.abort)(handle.as_ptr()) })
    }

    fn check(&self, function: &'static str, outcome: c_int) -> Result<(), NcclError> {
        if outcome == SUCCESS {
            return Ok(());
        }
        // SAFETY: the library's texts are constants, or stay until its next error.
        let text = |text: *const c_char| match unsafe { text.as_ref() } {
            None => String::new(),
            // SAFETY: it is text that ends with a zero.
            Some(text) => unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned(),
        };
        // SAFETY: both take what they are given; the second takes no communicator, too.
        let (said, last) = unsafe {
            (
                text((self.0.get_error_string)(outcome)),
                text((self.0.get_last_error)(ptr::null_mut())),
            )
        };
        Err(NcclError { function, said, last })
    }
}
