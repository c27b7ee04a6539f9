//! Calls that wait for what another thread may still ask for: what is sent through NCCL is received
//! by another thread, as a rule.

use std::{
    ffi::c_int,
    sync::{Condvar, MutexGuard},
    time::Duration,
};

use super::{CURRENT, answered, lock};
use crate::{
    error::{Code, Failure, Outcome},
    world::World,
};

/// Told of whatever may end a wait.
static CHANGED: Condvar = Condvar::new();
/// After how long without anything new a program that waits has come to its end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does something, and tells those who wait if it has changed what there is to do.
pub(super) fn tell<T>(world: &mut World, body: impl FnOnce(&mut World) -> T) -> T {
    let before = world.num_changes();
    let outcome = body(world);
    if world.num_changes() != before {
        CHANGED.notify_all();
    }
    outcome
}

/// As `call`, for what waits: it is tried again whenever another thread has asked for something.
pub(super) fn call_waiting(
    function: &'static str,
    mut body: impl FnMut(&mut World) -> Outcome,
) -> c_int {
    answered(function, || {
        let mut world = lock()?;
        loop {
            world.check(CURRENT.get().map(|context| context.device))?;
            match tell(&mut world, &mut body) {
                Err(failure) if failure.code == Code::NotReady => {
                    world = await_change(world, &failure.detail)?;
                }
                outcome => return outcome,
            }
        }
    })
}

/// Waits until another thread asks for something.
pub(super) fn await_change<'w>(
    world: MutexGuard<'w, World>,
    why: &str,
) -> Outcome<MutexGuard<'w, World>> {
    let before = world.num_changes();
    let waited = CHANGED.wait_timeout_while(world, PATIENCE, |it| it.num_changes() == before);
    let (mut world, waited) = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
    if waited.timed_out() {
        let detail = format!("nothing can go on, {PATIENCE:?} long: {why}");
        let failure: Failure = world.give_up_waiting(&detail);
        CHANGED.notify_all();
        return Err(failure);
    }
    Ok(world)
}
