//! How often each function was called.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::CURRENT;
use crate::counts::Calls;

static CALLS: Mutex<Calls> = Mutex::new(Calls::new());
/// Until the machine is known all is counted: somebody may want to know.
static IS_COUNTING: AtomicBool = AtomicBool::new(true);

/// Counts a call of this thread, once it is done: which device is current may be what it sets.
pub(super) fn count(function: &'static str) {
    if IS_COUNTING.load(Ordering::Relaxed) {
        let device = CURRENT.get().map(|context| context.device);
        with(|calls| calls.add(function, device));
    }
}

/// Counts no more, since nobody wants to know.
pub(super) fn stop() {
    IS_COUNTING.store(false, Ordering::Relaxed);
}

/// Shows what was counted.
pub(super) fn with<T>(body: impl FnOnce(&mut Calls) -> T) -> T {
    body(&mut CALLS.lock().unwrap_or_else(PoisonError::into_inner))
}
