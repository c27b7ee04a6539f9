//! Pins threads to cores.

use core_affinity::CoreId;

/// A core to which threads of this process cannot be pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("core {core} is not available; the cores are {allowed:?}")]
pub struct UnknownCore {
    pub core: usize,
    pub allowed: Vec<usize>,
}

/// Checks that the caller's threads may be pinned to these cores, by the system's numbers.
///
/// # Errors
/// The first core that does not exist or is not available to this process.
pub fn check_cores(cores: &[usize]) -> Result<(), UnknownCore> {
    let allowed = allowed();
    match cores.iter().find(|core| !allowed.contains(core)) {
        Some(&core) => Err(UnknownCore { core, allowed }),
        None => Ok(()),
    }
}

/// Pins the caller's thread to this core.
///
/// # Errors
/// The system refuses or does not support pinning.
pub fn pin_to(core: usize) -> Result<(), UnknownCore> {
    if core_affinity::set_for_current(CoreId { id: core }) {
        return Ok(());
    }
    Err(UnknownCore { core, allowed: allowed() })
}

/// Returns the cores on which the caller's thread may run; none if the system does not tell.
fn allowed() -> Vec<usize> {
    core_affinity::get_core_ids().into_iter().flatten().map(|core| core.id).collect()
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;
    use crate::threads::Threads;

    #[test]
    fn threads_keep_to_their_cores() {
        let all = allowed();
        let pinned = [all[0], all[all.len() - 1]];
        let seen = Mutex::new(Vec::new());
        let work = || {
            pin_to(pinned[0]).unwrap();
            let threads = Threads::on_cores(&pinned);
            // Until both have had a part: a late thread finds nothing left.
            for _ in 0..10_000 {
                threads.run(8, &|_| {
                    let on = allowed();
                    let mut seen = seen.lock().unwrap();
                    if !seen.contains(&on) {
                        seen.push(on);
                    }
                    drop(seen);
                    thread::yield_now();
                });
                if seen.lock().unwrap().len() == all.len().min(2) {
                    break;
                }
            }
        };
        thread::scope(|scope| scope.spawn(work).join()).unwrap();
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        let mut want = pinned.map(|core| vec![core]).to_vec();
        want.dedup();
        assert_eq!(seen, want);
        assert_eq!(allowed(), all, "the others' threads run where they did");
    }

    #[test]
    fn cores_that_are_not_there_are_named() {
        assert_eq!(check_cores(&allowed()), Ok(()));
        let error = check_cores(&[100_000]).unwrap_err().to_string();
        assert!(error.starts_with("core 100000 is not available; the cores are ["), "{error}");
    }
}
