//! The mask workers: threads of their own that own every matcher.
//!
//! They advance matchers before the next order is made, fill masks while the microbatch travels, and
//! send bits to the last stage alone. All rows of a group are one worker's, so that they share what
//! its lexer has worked out. Decides nothing about who runs.

mod job;
#[cfg(test)]
mod tests;
mod watch;
mod worker;

use std::{collections::HashMap, num::NonZero, sync::Arc, thread::JoinHandle, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sluicegate_constraint::{Compiled, MatchError};

use crate::{
    device::{Links, TransferError},
    pipeline::{MaskSender, PipelineEvent},
    sampler::{Choice, Stamp},
};
use job::{Job, Part};
use sluicegate_core::scheduler::{GroupId, MicrobatchId};
use sluicegate_placement::Endpoint;
use sluicegate_spec::units::TokenId;
use watch::{Watch, Watchdog};
use worker::{Command, Worker};

/// How a row went on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advanced {
    /// The token that was taken: the sampled one, or another if that was vetoed. Behind it those
    /// that had to follow, where the group takes them. Empty where the output ends before the token.
    pub tokens: Vec<TokenId>,
    /// Whether the output is complete.
    pub is_finished: bool,
    /// Whether no valid output was found that begins with the sampled token.
    pub is_vetoed: bool,
}

/// What a matcher made of each choice, in order.
pub type AdvancedRows = Vec<Result<Advanced, RowFailure>>;

/// Matchers on their way.
#[derive(Debug)]
pub struct Advancing(Receiver<AdvancedRows>);

impl Advancing {
    /// Waits until they have advanced; none if their worker is gone.
    pub fn wait(self) -> Option<AdvancedRows> {
        self.0.recv().ok()
    }
}

/// Why a row of a constrained group cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFailure {
    #[error(transparent)]
    Match(#[from] MatchError),
    #[error("its mask took longer than {limit:?}")]
    Deadline { limit: Duration },
    #[error("the mask worker that had it panicked: {message}")]
    Panicked { message: Arc<str> },
}

/// Where masks and their failures go.
pub struct MaskerOutlet {
    pub links: Arc<Links>,
    pub last_stage: Endpoint,
    pub masks: MaskSender,
    pub events: Sender<PipelineEvent>,
    /// Words of a mask.
    pub num_words: usize,
}

/// How much the workers may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskerConfig {
    pub num_workers: NonZero<usize>,
    /// A row whose matcher works longer than this at one step fails.
    pub deadline: Duration,
}

impl Default for MaskerConfig {
    /// Two workers, or one on a single processor; a second for a mask.
    fn default() -> Self {
        let num_cores = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let num_workers = num_cores.min(NonZero::new(2).expect("two is not zero"));
        Self { num_workers, deadline: Duration::from_secs(1) }
    }
}

/// Why the workers ended while they were needed.
#[derive(Debug, thiserror::Error)]
pub enum MaskerFailure {
    #[error("masks did not reach the last stage")]
    Transfer(#[from] TransferError),
}

/// The workers, seen from the engine. Dropping it ends the threads and closes the masks' channel.
pub struct Masker {
    workers: Vec<Handle>,
    /// Which worker has each group.
    groups: HashMap<GroupId, usize>,
    watchdog: Watchdog,
    outlet: Arc<MaskerOutlet>,
}

/// A worker, seen from here.
struct Handle {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    watch: Arc<Watch>,
    num_groups: usize,
}

impl Masker {
    /// Starts the workers.
    ///
    /// # Errors
    /// The system's, if it has no thread left.
    pub fn start(outlet: MaskerOutlet, config: MaskerConfig) -> std::io::Result<Self> {
        let outlet = Arc::new(outlet);
        let mut workers = Vec::with_capacity(config.num_workers.get());
        for index in 0..config.num_workers.get() {
            workers.push(Handle::start(index, &outlet, config.deadline)?);
        }
        let watches = workers.iter().map(|worker: &Handle| Arc::clone(&worker.watch)).collect();
        let watchdog = Watchdog::start(watches, config.deadline)?;
        Ok(Self { workers, groups: HashMap::new(), watchdog, outlet })
    }

    /// Gives a group a matcher, with the worker that has the fewest groups; it has one row, which may
    /// take so many tokens, and takes what must follow a token along if it `takes_forced`.
    pub fn open(
        &mut self,
        group: GroupId,
        compiled: Compiled,
        max_tokens: usize,
        takes_forced: bool,
    ) {
        let least = self.workers.iter().enumerate().min_by_key(|(_, worker)| worker.num_groups);
        let Some((index, _)) = least else { return };
        if self.groups.is_empty() {
            self.watchdog.wake();
        }
        self.groups.insert(group, index);
        self.workers[index].num_groups += 1;
        let compiled = Box::new(compiled);
        self.workers[index].send(Command::Open { group, compiled, max_tokens, takes_forced });
    }

    /// Lets the group's matchers fork by parent, and each advance by its choice's token, while the
    /// caller goes on; none if the group has no matchers.
    ///
    /// The choices become the group's rows.
    pub fn advance(&self, group: GroupId, choices: Vec<Choice>) -> Option<Advancing> {
        let (reply, answer) = bounded(1);
        self.worker_of(group)?.send(Command::Advance { group, choices, reply });
        Some(Advancing(answer))
    }

    /// Makes groups of their own of these of the group's rows; the group ends.
    ///
    /// They stay with its worker: matchers of one lexer do not move between threads.
    pub fn fork(&mut self, group: GroupId, children: Vec<(GroupId, usize)>) {
        let Some(index) = self.groups.remove(&group) else { return };
        let worker = &mut self.workers[index];
        worker.num_groups = worker.num_groups + children.len() - 1;
        self.groups.extend(children.iter().map(|(child, _)| (*child, index)));
        worker.send(Command::Fork { group, children });
    }

    /// Whether a group has matchers.
    pub fn has(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    /// Groups that have matchers.
    pub fn num_groups(&self) -> usize {
        self.groups.len()
    }

    /// Keeps these of the group's rows, in this order, and drops the others.
    pub fn keep(&self, group: GroupId, rows: Vec<usize>) {
        if let Some(worker) = self.worker_of(group) {
            worker.send(Command::Keep { group, rows });
        }
    }

    /// Computes the masks of a microbatch, per logit row, and sends them to the last stage once all
    /// workers have done theirs.
    pub fn fill(&self, microbatch: MicrobatchId, stamps: &[Option<Stamp>]) {
        let job = Arc::new(Job::new(Arc::clone(&self.outlet), microbatch, stamps.len()));
        let mut parts = vec![Vec::new(); self.workers.len()];
        for (row, stamp) in stamps.iter().enumerate() {
            let Some(stamp) = stamp else { continue };
            if let Some(worker) = self.groups.get(&stamp.group) {
                parts[*worker].push((row, *stamp));
            }
        }
        for (worker, rows) in self.workers.iter().zip(parts) {
            if !rows.is_empty() {
                worker.send(Command::Fill(Part { job: Arc::clone(&job), rows }));
            }
        }
    }

    /// Drops a group's matchers, and ends what is being computed for them.
    pub fn close(&mut self, group: GroupId) {
        let Some(index) = self.groups.remove(&group) else { return };
        let worker = &mut self.workers[index];
        worker.num_groups -= 1;
        worker.watch.leave(group);
        worker.send(Command::Close { group });
        if self.groups.is_empty() {
            self.watchdog.rest();
        }
    }

    fn worker_of(&self, group: GroupId) -> Option<&Handle> {
        self.workers.get(*self.groups.get(&group)?)
    }
}

impl Handle {
    fn start(
        index: usize,
        outlet: &Arc<MaskerOutlet>,
        deadline: Duration,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded();
        let watch = Arc::new(Watch::default());
        let worker = Worker::new(index, Arc::clone(outlet), Arc::clone(&watch), deadline);
        let thread = std::thread::Builder::new()
            .name(format!("sluicegate-masker-{index}"))
            .spawn(move || worker.run(&inbox))?;
        Ok(Self { commands: Some(commands), thread: Some(thread), watch, num_groups: 0 })
    }

    /// A worker that is gone shows in the answers that do not come.
    fn send(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
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
