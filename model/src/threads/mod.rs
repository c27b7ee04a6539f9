//! The threads that a stage computes with: its own, or only the caller's.
//!
//! Owns the pool, the division of buffers among its threads, and the core of each thread. Never
//! uses a process-wide pool, spins for tens of microseconds at most, and no result depends on the
//! number of threads.

use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::PoisonError,
    time::{Duration, Instant},
};

mod cores;
mod parts;
mod sync;

use sync::{
    Arc, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Builder, Condvar, JoinHandle, Mutex,
    MutexGuard, Ordering, SPINS,
};

pub use cores::{UnknownCore, check_cores, pin_to};
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
    /// Computes in the caller's thread only.
    pub fn inline() -> Self {
        Self(None)
    }

    /// Starts a pool of `count - 1` threads, which the caller joins for each loop.
    ///
    /// If the system allows fewer threads, the loops run on those.
    pub fn new(count: NonZero<usize>) -> Self {
        if count.get() == 1 {
            return Self::inline();
        }
        Self(Some(Arc::new(Pool::start(count.get() - 1, None))))
    }

    /// As [`Threads::new`], with one thread per core: each core except the first gets a thread
    /// pinned to it; the caller [pins](pin_to) its own thread to the first.
    pub fn on_cores(cores: &[usize]) -> Self {
        match cores {
            [] | [_] => Self::inline(),
            [_, others @ ..] => Self(Some(Arc::new(Pool::start(others.len(), Some(others))))),
        }
    }

    /// Returns the number of threads that share a loop, the caller included.
    pub fn count(&self) -> usize {
        self.0.as_ref().map_or(1, |pool| pool.workers.len() + 1)
    }

    /// Calls `work` once for every index below `num_parts`, in any order, and returns when all
    /// calls have returned.
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

/// How long a worker spins for the next job before it sleeps.
///
/// Sleeping and waking cost about as much as a small product, of which a token takes hundreds; so
/// this is slightly longer than the time between two of them.
const WORKER_SPIN: Duration = Duration::from_micros(50);

/// How long the caller spins for the workers to leave before it sleeps: the time of a part of a
/// small product. A worker that needs longer may be waiting for the caller's processor.
const CALLER_SPIN: Duration = Duration::from_micros(5);

/// If two looks are further apart, or workers take longer to leave, other work occupies a
/// processor. Spinning then takes time from the very threads it waits for.
const LONGEST_LOOK: Duration = Duration::from_micros(20);
const LONGEST_LEAVE: Duration = Duration::from_micros(500);

/// The number of jobs after that in which no thread spins.
const NUM_CALM: u32 = 4096;

#[derive(Default)]
struct State {
    job: Option<Job>,
    num_sleeping: usize,
    /// Whether the caller of [`Pool::run`] sleeps.
    caller_sleeps: bool,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Counts the jobs, so that a worker joins each at most once. Changes only under the lock.
    turn: AtomicU64,
    /// Workers in the current job. Changes only under the lock.
    num_helping: AtomicUsize,
    /// Jobs until threads spin again.
    num_calm: AtomicU32,
    posted: Condvar,
    left: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain numbers, consistent after every statement, so poisoning does not
        // matter.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the workers that `state` has changed, and wakes those that sleep.
    fn post(&self, state: MutexGuard<'_, State>) {
        self.turn.fetch_add(1, Ordering::Release);
        let wakes = state.num_sleeping > 0;
        drop(state);
        if wakes {
            self.posted.notify_all();
        }
    }

    /// Spins until `ready`, but no longer than `limit`, and not at all if other work needs the
    /// processors.
    fn spin(&self, limit: Duration, ready: impl Fn() -> bool) {
        let start = Instant::now();
        let mut last = start;
        while !ready() && SPINS && self.num_calm.load(Ordering::Relaxed) == 0 {
            for _ in 0..8 {
                std::hint::spin_loop();
            }
            let now = Instant::now();
            if now - last > LONGEST_LOOK {
                self.num_calm.store(NUM_CALM, Ordering::Relaxed);
            }
            if now - start > limit {
                return;
            }
            last = now;
        }
    }

    /// Waits for a turn after `last_turn`.
    fn next_turn(&self, last_turn: u64) -> MutexGuard<'_, State> {
        let ready = || self.turn.load(Ordering::Acquire) != last_turn;
        self.spin(WORKER_SPIN, ready);
        let mut state = self.lock();
        state.num_sleeping += 1;
        while !ready() {
            state = self.posted.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.num_sleeping -= 1;
        state
    }

    /// Waits until no worker is in the job. None can join it any more.
    fn all_left(&self) {
        let ready = || self.num_helping.load(Ordering::Acquire) == 0;
        let start = Instant::now();
        self.spin(CALLER_SPIN, ready);
        let mut state = self.lock();
        state.caller_sleeps = true;
        while !ready() {
            state = self.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.caller_sleeps = false;
        drop(state);
        let num_calm = self.num_calm.load(Ordering::Relaxed);
        let is_late = SPINS && start.elapsed() > LONGEST_LEAVE;
        let num_calm = if is_late { NUM_CALM } else { num_calm.saturating_sub(1) };
        self.num_calm.store(num_calm, Ordering::Relaxed);
    }
}

struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// One loop at a time.
    busy: Mutex<()>,
}

impl Pool {
    /// Starts the workers, each on one of `cores` if they are given.
    fn start(num_workers: usize, cores: Option<&[usize]>) -> Self {
        let shared = Arc::new(Shared::default());
        let spawn = |worker: usize| {
            let shared = Arc::clone(&shared);
            let core = cores.map(|cores| cores[worker]);
            let work = move || {
                if let Some(Err(error)) = core.map(pin_to) {
                    tracing::warn!("a kernel's thread is not pinned: {error}");
                }
                serve(&shared);
            };
            Builder::new().name("kernel".to_owned()).spawn(work).ok()
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
        self.shared.post(state);
        job.help();
        // Workers that have not joined by now are too late and are not waited for.
        self.shared.lock().job = None;
        self.shared.all_left();
        drop(turn);
        assert!(!panicked.load(Ordering::Relaxed), "a kernel panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closing = true;
        self.shared.post(state);
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its kernels, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

fn serve(shared: &Shared) {
    let mut last_turn = 0;
    loop {
        let state = shared.next_turn(last_turn);
        if state.closing {
            return;
        }
        last_turn = shared.turn.load(Ordering::Relaxed);
        let Some(job) = state.job else { continue };
        shared.num_helping.fetch_add(1, Ordering::Relaxed);
        drop(state);
        job.help();
        let state = shared.lock();
        if shared.num_helping.fetch_sub(1, Ordering::Release) == 1 && state.caller_sleeps {
            drop(state);
            shared.left.notify_all();
        }
    }
}

#[cfg(not(loom))]
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
