//! The mask workers: threads of their own that own every matcher.
//!
//! They advance matchers as the serving loop says, and answer it when they have; they fill masks
//! while the microbatch travels, and send bits to the last stage alone. Forks stay with the worker
//! of their parent, so that they share what its lexer has worked out. Decides nothing about who
//! runs.

mod job;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::{collections::HashMap, num::NonZero, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::{Sender, unbounded};
use sluicegate_constraint::Compiled;
use sluicegate_core::{
    messages::{GroupId, MicrobatchId, SequenceId, Stamp},
    sequence::Continuation,
    serve::MatcherError,
};

use crate::{
    clock::Clock,
    device::{Ledger, SendingEnd},
    pipeline::{MaskSender, PipelineEvent},
};
use job::{Job, Part};
use watch::{Jobs, Watch, Watchdog};
use worker::{Command, Worker};

/// Where masks and their failures go.
pub struct MaskerOutlet {
    pub link: SendingEnd,
    pub ledger: Ledger,
    pub clock: Clock,
    pub masks: MaskSender,
    pub events: Sender<PipelineEvent>,
    /// Words of a mask.
    pub num_words: usize,
}

impl MaskerOutlet {
    /// An engine that is gone needs no telling.
    fn tell(&self, event: PipelineEvent) {
        let _ = self.events.send(event);
    }
}

/// How much the workers may take.
#[derive(Clone)]
pub struct MaskerConfig {
    pub num_workers: NonZero<usize>,
    /// A row whose matcher works longer than this at one step fails.
    pub deadline: Duration,
    /// Masks that take longer than this keep no other row of their microbatch waiting.
    pub late: Duration,
    /// Called before a sequence's matcher works, so that tests can let it take its time.
    pub before_matcher: Option<BeforeMatcher>,
}

/// Called with the sequence whose matcher is about to work.
pub type BeforeMatcher = Arc<dyn Fn(SequenceId) + Send + Sync>;

impl std::fmt::Debug for MaskerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { num_workers, deadline, late, .. } = self;
        let mut config = f.debug_struct("MaskerConfig");
        config.field("num_workers", num_workers).field("deadline", deadline);
        config.field("late", late).finish_non_exhaustive()
    }
}

/// A hundred times what a mask takes as a rule, and less than a step of most models.
const LATE: Duration = Duration::from_millis(10);

impl Default for MaskerConfig {
    /// Two workers, or one on a single processor; a second for a mask, which is late after ten
    /// milliseconds.
    fn default() -> Self {
        let num_cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let num_workers = num_cores.min(NonZero::new(2).expect("two is not zero"));
        Self { num_workers, deadline: Duration::from_secs(1), late: LATE, before_matcher: None }
    }
}

/// The workers, seen from the engine. Dropping it ends the threads and closes the masks' channel.
pub struct Masker {
    workers: Vec<Handle>,
    /// Which worker has each sequence.
    sequences: HashMap<SequenceId, usize>,
    watchdog: Watchdog,
    jobs: Arc<Jobs>,
    outlet: Arc<MaskerOutlet>,
}

/// A worker, seen from here.
struct Handle {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    watch: Arc<Watch>,
    num_sequences: usize,
}

impl Masker {
    /// Starts the workers.
    ///
    /// # Errors
    /// The system's, if it has no thread left.
    pub fn start(outlet: MaskerOutlet, config: &MaskerConfig) -> std::io::Result<Self> {
        let outlet = Arc::new(outlet);
        let mut workers = Vec::with_capacity(config.num_workers.get());
        for index in 0..config.num_workers.get() {
            workers.push(Handle::start(index, &outlet, config)?);
        }
        let watches = workers.iter().map(|worker: &Handle| Arc::clone(&worker.watch)).collect();
        let jobs = Arc::new(Jobs::default());
        let times = (config.deadline, config.late);
        let watchdog = Watchdog::start(watches, Arc::clone(&jobs), times)?;
        Ok(Self { workers, sequences: HashMap::new(), watchdog, jobs, outlet })
    }

    /// Gives a sequence a matcher, with the worker that has the fewest. It may take so many tokens,
    /// and takes what must follow a token along if it `jumps_forward`.
    pub fn open(
        &mut self,
        sequence: SequenceId,
        compiled: Compiled,
        max_tokens: usize,
        jumps_forward: bool,
    ) {
        let workers = self.workers.iter().enumerate();
        let Some((index, _)) = workers.min_by_key(|(_, it)| it.num_sequences) else { return };
        if self.sequences.is_empty() {
            self.watchdog.wake();
        }
        self.add(sequence, index);
        let compiled = Box::new(compiled);
        self.workers[index].send(Command::Open { sequence, compiled, max_tokens, jumps_forward });
    }

    /// Lets matchers fork by parent, and each child advance by its tokens. They answer with
    /// [`PipelineEvent::Advanced`].
    ///
    /// All parents are of one group, and so with one worker.
    pub fn advance(&mut self, group: GroupId, continuations: Vec<Continuation>) {
        let first = continuations.first();
        let worker = first.and_then(|first| self.sequences.get(&first.parent).copied());
        let Some(index) = worker else {
            let missing = || MatcherError::Failed { message: "it has no matcher".into() };
            let answers = continuations.iter().map(|_| Err(missing())).collect();
            self.outlet.tell(PipelineEvent::Advanced { group, answers });
            return;
        };
        for continuation in &continuations {
            if !self.sequences.contains_key(&continuation.child) {
                self.add(continuation.child, index);
            }
        }
        let wanted = continuations.len();
        if !self.workers[index].send(Command::Advance { group, continuations }) {
            let gone = || MatcherError::Failed { message: "its mask worker is gone".into() };
            let answers = (0..wanted).map(|_| Err(gone())).collect();
            self.outlet.tell(PipelineEvent::Advanced { group, answers });
        }
    }

    fn add(&mut self, sequence: SequenceId, index: usize) {
        self.sequences.insert(sequence, index);
        self.workers[index].num_sequences += 1;
    }

    /// Computes the masks of a microbatch, per logit row, and sends them to the last stage.
    pub fn fill(&self, microbatch: MicrobatchId, stamps: &[Option<Stamp>]) {
        let job = Arc::new(Job::new(Arc::clone(&self.outlet), microbatch, stamps));
        self.jobs.add(&job);
        let mut parts = vec![Vec::new(); self.workers.len()];
        for (row, stamp) in stamps.iter().enumerate() {
            let Some(stamp) = stamp else { continue };
            if let Some(worker) = self.sequences.get(&stamp.sequence) {
                parts[*worker].push((row, *stamp));
            }
        }
        for (worker, rows) in self.workers.iter().zip(parts) {
            if !rows.is_empty() {
                worker.send(Command::Fill(Part { job: Arc::clone(&job), rows }));
            }
        }
    }

    /// Drops these matchers, and ends what is being computed for them.
    pub fn close(&mut self, sequences: &[SequenceId]) {
        for sequence in sequences {
            let Some(index) = self.sequences.remove(sequence) else { continue };
            let worker = &mut self.workers[index];
            worker.num_sequences -= 1;
            worker.watch.leave(*sequence);
            worker.send(Command::Close(*sequence));
        }
        if self.sequences.is_empty() {
            self.watchdog.rest();
        }
    }
}

impl Handle {
    fn start(
        index: usize,
        outlet: &Arc<MaskerOutlet>,
        config: &MaskerConfig,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded();
        let watch = Arc::new(Watch::default());
        let worker = Worker::new(index, Arc::clone(outlet), Arc::clone(&watch), config);
        let thread = std::thread::Builder::new()
            .name(format!("sluicegate-masker-{index}"))
            .spawn(move || worker.run(&inbox))?;
        Ok(Self { commands: Some(commands), thread: Some(thread), watch, num_sequences: 0 })
    }

    /// False if the worker is gone.
    fn send(&self, command: Command) -> bool {
        self.commands.as_ref().is_some_and(|commands| commands.send(command).is_ok())
    }
}

impl Drop for Masker {
    fn drop(&mut self) {
        // All are told before the first is waited for.
        for worker in &mut self.workers {
            worker.commands = None;
            worker.watch.leave_all();
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                let _ = thread.join();
            }
        }
    }
}
