use std::{
    num::NonZero,
    panic::{AssertUnwindSafe, catch_unwind},
};

use loom::{cell::UnsafeCell, model::Builder};

use crate::threads::Threads;

/// How often a thread is interrupted where it could go on: bugs of this kind take few.
const MAX_PREEMPTIONS: usize = 3;

/// Tries every order of a pool of so many threads, the caller's among them.
fn try_all(num_threads: usize, run: impl Fn(&Threads) + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(MAX_PREEMPTIONS);
    builder.check(move || run(&Threads::new(NonZero::new(num_threads).unwrap())));
}

/// Numbers without a lock: loom ends the test where two threads could touch one at once, or one
/// could see an old one.
struct Numbers<const N: usize>([UnsafeCell<usize>; N]);

// SAFETY: loom checks each access.
unsafe impl<const N: usize> Sync for Numbers<N> {}

impl<const N: usize> Numbers<N> {
    fn new() -> Self {
        Self(std::array::from_fn(|_| UnsafeCell::new(0)))
    }

    fn add(&self, idx: usize, number: usize) {
        // SAFETY: loom checks that nobody else is here.
        self.0[idx].with_mut(|it| unsafe { *it += number });
    }

    fn all(&self) -> [usize; N] {
        // SAFETY: loom checks that nobody writes.
        std::array::from_fn(|idx| self.0[idx].with(|it| unsafe { *it }))
    }
}

#[test]
fn every_part_of_a_job_is_done_once_before_it_returns() {
    try_all(2, |threads| {
        let done = Numbers::<3>::new();
        threads.run(3, &|part| done.add(part, part + 1));
        assert_eq!(done.all(), [1, 2, 3]);
    });
}

#[test]
fn two_workers_may_join_a_job_or_come_too_late() {
    try_all(3, |threads| {
        let done = Numbers::<2>::new();
        threads.run(2, &|part| done.add(part, 1));
        assert_eq!(done.all(), [1, 1]);
    });
}

#[test]
fn a_job_after_another_sees_what_that_did() {
    try_all(2, |threads| {
        let done = Numbers::<2>::new();
        threads.run(2, &|part| done.add(part, 1));
        threads.run(2, &|part| done.add(1 - part, 10));
        assert_eq!(done.all(), [11, 11]);
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_next_job_runs() {
    try_all(2, |threads| {
        let run = || threads.run(2, &|part| assert!(part != 1, "a part fails"));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        let done = Numbers::<2>::new();
        threads.run(2, &|part| done.add(part, 1));
        assert_eq!(done.all(), [1, 1]);
    });
}

#[test]
fn two_callers_take_turns() {
    try_all(2, |threads| {
        let (mine, other) = (threads.clone(), threads.clone());
        let caller = loom::thread::spawn(move || {
            let done = Numbers::<2>::new();
            other.run(2, &|part| done.add(part, 1));
            assert_eq!(done.all(), [1, 1]);
        });
        let done = Numbers::<2>::new();
        mine.run(2, &|part| done.add(part, 1));
        assert_eq!(done.all(), [1, 1]);
        caller.join().unwrap();
    });
}

#[test]
fn a_pool_that_did_nothing_ends() {
    try_all(3, |threads| assert_eq!(threads.count(), 3));
}
