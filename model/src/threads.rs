//! The threads that a stage computes with: its own, or only the caller's.
//!
//! Owns the pool and the splitting of buffers over it. Never touches a process-wide pool, never
//! spins, and lets no result depend on how many threads there are.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{Builder, JoinHandle},
};

mod parts;
pub use parts::Columns;

/// Threads that share one stage's loops. Clones share the same pool.
#[derive(Clone, Default)]
pub struct Threads(Option<Arc<Pool>>);

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Threads").field(&self.count()).finish()
    }
}

impl Threads {
    /// Computes in the caller's thread alone.
    pub fn inline() -> Self {
        Self(None)
    }

    /// Starts a pool of `count - 1` threads, which the caller joins for each loop.
    ///
    /// Where the system gives fewer threads, the loops run on those.
    pub fn new(count: NonZero<usize>) -> Self {
        if count.get() == 1 {
            return Self::inline();
        }
        Self(Some(Arc::new(Pool::start(count.get() - 1))))
    }

    /// How many threads share a loop, the caller included.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.workers.len() + 1)
    }

    /// Calls `work` once for every index below `num_parts`, in any order, and returns when all
    /// calls have.
    pub fn run(&self, num_parts: usize, work: &(dyn Fn(usize) + Sync)) {
        match &self.0 {
            Some(pool) if num_parts > 1 => pool.run(num_parts, work),
            _ => (0..num_parts).for_each(work),
        }
    }
}

/// A loop in progress: borrowed from the caller of [`Pool::run`], which outlives it.
#[derive(Clone, Copy)]
struct Job {
    work: &'static (dyn Fn(usize) + Sync),
    next: &'static AtomicUsize,
    panicked: &'static AtomicBool,
    num_parts: usize,
}

impl Job {
    /// Takes parts until none is left.
    fn help(&self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let part = self.next.fetch_add(1, Ordering::Relaxed);
                if part >= self.num_parts {
                    return;
                }
                (self.work)(part);
            }
        }));
        if outcome.is_err() {
            self.panicked.store(true, Ordering::Relaxed);
            self.next.store(self.num_parts, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Counts the jobs, so that a worker joins each at most once.
    turn: u64,
    num_helping: usize,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    posted: Condvar,
    left: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain numbers, whole after every statement: poison means nothing here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One loop at a time.
    busy: Mutex<()>,
}

impl Pool {
    fn start(num_workers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            Builder::new().name("kernel".to_owned()).spawn(move || serve(&shared)).ok()
        };
        let workers = (0..num_workers).map_while(spawn).collect();
        Self { shared, workers, busy: Mutex::new(()) }
    }

    fn run(&self, num_parts: usize, work: &(dyn Fn(usize) + Sync)) {
        let turn = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let next = AtomicUsize::new(0);
        let panicked = AtomicBool::new(false);
        // SAFETY: the three borrows are handed to workers only through `state.job`. It is taken
        // back below, under the lock, and this function returns only when no worker that joined
        // the job is still in it (`Job::help` does not unwind). So they outlive every use.
        let job = unsafe {
            Job {
                work: std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(
                    work,
                ),
                next: std::mem::transmute::<&AtomicUsize, &'static AtomicUsize>(&next),
                panicked: std::mem::transmute::<&AtomicBool, &'static AtomicBool>(&panicked),
                num_parts,
            }
        };
        let mut state = self.shared.lock();
        state.job = Some(job);
        state.turn += 1;
        drop(state);
        self.shared.posted.notify_all();
        job.help();
        // Workers that have not joined by now are too late, and not waited for.
        let mut state = self.shared.lock();
        state.job = None;
        while state.num_helping > 0 {
            state = self.shared.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        drop(turn);
        assert!(!panicked.load(Ordering::Relaxed), "a kernel panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.posted.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches what its kernels do, so it has nothing to report.
            let _ = worker.join();
        }
    }
}

fn serve(shared: &Shared) {
    let mut last_turn = 0;
    let mut state = shared.lock();
    loop {
        if state.closing {
            return;
        }
        let Some(job) = state.job.filter(|_| state.turn != last_turn) else {
            state = shared.posted.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        last_turn = state.turn;
        state.num_helping += 1;
        drop(state);
        job.help();
        state = shared.lock();
        state.num_helping -= 1;
        if state.num_helping == 0 {
            shared.left.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(count: usize) -> Threads {
        Threads::new(NonZero::new(count).unwrap())
    }

    #[test]
    fn every_chunk_is_worked_on_once() {
        for count in [1, 2, 3] {
            let threads = threads(count);
            for len in [0, 1, 7, 64, 1000] {
                let mut buffer = vec![0_usize; len];
                threads.for_chunks(&mut buffer, 7, |chunk_idx, chunk| {
                    for value in chunk {
                        *value += chunk_idx + 1;
                    }
                });
                let want: Vec<usize> = (0..len).map(|i| i / 7 + 1).collect();
                assert_eq!(buffer, want, "{count} threads, {len} elements");
            }
        }
    }

    #[test]
    fn every_column_of_every_row_is_worked_on_once() {
        for count in [1, 2, 3] {
            let threads = threads(count);
            for (rows, columns) in [(0, 5), (1, 1), (3, 20), (4, 21)] {
                let mut buffer = vec![0_usize; rows * columns];
                threads.for_columns(&mut buffer, columns, 8, |span, output| {
                    let middle = span.len() / 2;
                    for part in [0..middle, middle..span.len()] {
                        let first = span.start + part.start;
                        let mut output = output.part(part);
                        for row in 0..rows {
                            for (i, value) in output.row(row).iter_mut().enumerate() {
                                *value += 100 * row + first + i;
                            }
                        }
                    }
                });
                let want: Vec<usize> =
                    (0..rows * columns).map(|i| 100 * (i / columns) + i % columns).collect();
                assert_eq!(buffer, want, "{count} threads, {rows} x {columns}");
            }
        }
    }

    #[test]
    fn two_callers_may_share_a_pool() {
        let threads = threads(2);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let sum = AtomicUsize::new(0);
                        threads.run(10, &|part| {
                            sum.fetch_add(part, Ordering::Relaxed);
                        });
                        assert_eq!(sum.into_inner(), 45);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller_and_the_pool_lives_on() {
        let threads = threads(2);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            threads.run(50, &|part| assert!(part != 20, "part 20"));
        }));
        assert!(outcome.is_err());
        let sum = AtomicUsize::new(0);
        threads.run(10, &|part| {
            sum.fetch_add(part, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}
