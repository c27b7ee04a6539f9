//! Ends what takes too long, and what nobody wants any more.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use sluicegate_constraint::CancelHandle;
use sluicegate_core::messages::SequenceId;

use super::job::Job;

/// Looks at a worker this often within a deadline, but not more often than the shortest pause.
const LOOKS_PER_DEADLINE: u32 = 8;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The masks that are being computed, since when.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Vec<(Weak<Job>, Instant)>>);

impl Jobs {
    /// Takes note of masks that are wanted from now on.
    pub(super) fn add(&self, job: &Arc<Job>) {
        self.lock().push((Arc::downgrade(job), Instant::now()));
    }

    /// Lets masks that are ready go ahead of others that have taken longer than this.
    fn send_ready(&self, late: Duration) {
        let mut jobs = self.lock();
        jobs.retain(|(job, _)| job.strong_count() > 0);
        let is_late = |(_, since): &&(Weak<Job>, Instant)| since.elapsed() > late;
        let late: Vec<Arc<Job>> =
            jobs.iter().filter(is_late).filter_map(|(job, _)| job.upgrade()).collect();
        // Whoever adds a job does not wait for what is sent.
        drop(jobs);
        for job in late {
            job.send_ready();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Weak<Job>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker is doing, for those who may have to end it.
#[derive(Default)]
pub(super) struct Watch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    /// Sequences whose close is on its way to the worker.
    leaving: HashSet<SequenceId>,
    is_leaving_all: bool,
}

struct Running {
    sequence: SequenceId,
    handle: CancelHandle,
    started: Instant,
    is_late: bool,
}

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    InTime,
    /// It was cancelled for the time that it took.
    Late,
    /// It was not begun: its sequence is leaving.
    Unwanted,
}

impl Watch {
    /// Does a sequence's work where others can end it through `handle`.
    pub(super) fn run<T>(
        &self,
        sequence: SequenceId,
        handle: CancelHandle,
        work: impl FnOnce() -> T,
    ) -> (Option<T>, Ending) {
        {
            let mut state = self.lock();
            if state.is_leaving_all || state.leaving.contains(&sequence) {
                return (None, Ending::Unwanted);
            }
            state.running =
                Some(Running { sequence, handle, started: Instant::now(), is_late: false });
        }
        let result = work();
        let running = self.lock().running.take();
        let is_late = running.is_some_and(|running| running.is_late);
        (Some(result), if is_late { Ending::Late } else { Ending::InTime })
    }

    /// Ends what runs for a sequence, and what would begin for it before [`Watch::left`].
    pub(super) fn leave(&self, sequence: SequenceId) {
        let mut state = self.lock();
        state.leaving.insert(sequence);
        if let Some(running) = state.running.as_ref().filter(|running| running.sequence == sequence)
        {
            running.handle.cancel();
        }
    }

    /// Takes note that the worker has dropped a sequence.
    pub(super) fn left(&self, sequence: SequenceId) {
        self.lock().leaving.remove(&sequence);
    }

    /// Ends everything.
    pub(super) fn leave_all(&self) {
        let mut state = self.lock();
        state.is_leaving_all = true;
        if let Some(running) = &state.running {
            running.handle.cancel();
        }
    }

    /// Ends what has run for longer than `limit`, and from half of it on its search, so that a
    /// token is vetoed and no row fails.
    fn check(&self, limit: Duration) {
        let mut state = self.lock();
        let Some(running) = &mut state.running else { return };
        let elapsed = running.started.elapsed();
        if elapsed > limit {
            running.is_late = true;
            running.handle.cancel();
        } else if elapsed > limit / 2 {
            running.handle.end_search();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that looks at the clock for all workers. It sleeps while there is nothing to watch.
pub(super) struct Watchdog {
    signals: Option<Sender<Signal>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    Wake,
    Rest,
}

impl Watchdog {
    /// Watches what workers do for longer than `limit`, and masks that take longer than `late`.
    pub(super) fn start(
        watches: Vec<Arc<Watch>>,
        jobs: Arc<Jobs>,
        (limit, late): (Duration, Duration),
    ) -> std::io::Result<Self> {
        let (signals, inbox) = unbounded();
        let thread = std::thread::Builder::new()
            .name("sluicegate-mask-watchdog".to_owned())
            .spawn(move || watch_all(&watches, &jobs, (limit, late), &inbox))?;
        Ok(Self { signals: Some(signals), thread: Some(thread) })
    }

    /// There is something to watch.
    pub(super) fn wake(&self) {
        self.send(Signal::Wake);
    }

    /// There is nothing to watch.
    pub(super) fn rest(&self) {
        self.send(Signal::Rest);
    }

    fn send(&self, signal: Signal) {
        if let Some(signals) = &self.signals {
            let _ = signals.send(signal);
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.signals = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch_all(
    watches: &[Arc<Watch>],
    jobs: &Jobs,
    (limit, late): (Duration, Duration),
    inbox: &Receiver<Signal>,
) {
    let pause = (limit / LOOKS_PER_DEADLINE).min(late / 2).max(SHORTEST_PAUSE);
    let mut is_awake = false;
    loop {
        let signal = if is_awake {
            inbox.recv_timeout(pause)
        } else {
            inbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        };
        match signal {
            Ok(signal) => is_awake = signal == Signal::Wake,
            Err(RecvTimeoutError::Timeout) => {
                for watch in watches {
                    watch.check(limit);
                }
                jobs.send_ready(late);
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
