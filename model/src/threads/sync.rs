//! What the pool is made of: the standard library's locks and threads, or those of loom, which
//! tries every order of their steps (`tests/loom`).

#[cfg(not(loom))]
pub(super) use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle},
};

#[cfg(loom)]
pub(super) use loom::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle},
};

/// Whether threads look again and again before they sleep. It changes when they sleep and nothing
/// else, and depends on the time, which an order that is tried again must not.
pub(super) const SPINS: bool = !cfg!(loom);
