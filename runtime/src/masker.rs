//! The mask worker: a thread of its own that owns every matcher.
//!
//! Advances matchers before the next order is made, fills masks while the microbatch travels, and
//! sends bits to the last stage alone. Decides nothing about who runs.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use sluicegate_constraint::{Event, MatchError, Matcher};
use sluicegate_model::placed::{DeviceId, Placed};

use crate::{
    device::{Links, Masks, TransferError},
    pipeline::{MaskSender, PipelineEvent, panic_message},
    placement::Endpoint,
    sampler::{MaskRow, Stamp},
    scheduler::{Child, GroupId, MicrobatchId},
};

/// What a matcher made of each child, in order.
pub type Advanced = Vec<Result<Event, MatchError>>;

enum Command {
    Open { group: GroupId, matcher: Box<Matcher> },
    Advance { group: GroupId, children: Vec<Child>, reply: Sender<Advanced> },
    Keep { group: GroupId, rows: Vec<usize> },
    Fill { microbatch: MicrobatchId, stamps: Vec<Option<Stamp>> },
    Close { group: GroupId },
}

/// Where masks and their failures go.
pub struct MaskerOutlet {
    pub links: Arc<Links>,
    pub last_stage: Endpoint,
    pub masks: MaskSender,
    pub events: Sender<PipelineEvent>,
}

/// Why the worker ended while it was needed.
#[derive(Debug, thiserror::Error)]
pub enum MaskerFailure {
    #[error("masks did not reach the last stage")]
    Transfer(#[from] TransferError),
    #[error("the mask worker panicked: {0}")]
    Panicked(String),
}

/// The worker, seen from the engine. Dropping it ends the thread and closes the masks' channel.
pub struct Masker {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Masker {
    /// Starts the worker.
    ///
    /// # Errors
    /// The system's, if it has no thread left.
    pub fn start(outlet: MaskerOutlet) -> std::io::Result<Self> {
        let (commands, inbox) = unbounded();
        let worker = Worker { outlet, groups: HashMap::new() };
        let thread = std::thread::Builder::new()
            .name("sluicegate-masker".to_owned())
            .spawn(move || worker.run_guarded(&inbox))?;
        Ok(Self { commands: Some(commands), thread: Some(thread) })
    }

    /// Gives a group its matcher; it has one row.
    pub fn open(&self, group: GroupId, matcher: Matcher) {
        self.send(Command::Open { group, matcher: Box::new(matcher) });
    }

    /// Forks the group's matchers by parent and advances each by its child's token.
    ///
    /// The children become the group's rows. None if the worker is gone.
    pub fn advance(&self, group: GroupId, children: Vec<Child>) -> Option<Advanced> {
        let (reply, answer) = bounded(1);
        self.send(Command::Advance { group, children, reply });
        answer.recv().ok()
    }

    /// Keeps these of the group's rows, in this order, and drops the others.
    pub fn keep(&self, group: GroupId, rows: Vec<usize>) {
        self.send(Command::Keep { group, rows });
    }

    /// Computes the masks of a microbatch, per logit row, and sends them to the last stage.
    pub fn fill(&self, microbatch: MicrobatchId, stamps: Vec<Option<Stamp>>) {
        self.send(Command::Fill { microbatch, stamps });
    }

    /// Drops a group's matchers.
    pub fn close(&self, group: GroupId) {
        self.send(Command::Close { group });
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
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    outlet: MaskerOutlet,
    /// A matcher per row.
    groups: HashMap<GroupId, Vec<Matcher>>,
}

impl Worker {
    /// Says why it ends, if nobody asked it to.
    fn run_guarded(self, inbox: &Receiver<Command>) {
        let events = self.outlet.events.clone();
        let ended = catch_unwind(AssertUnwindSafe(|| self.run(inbox)));
        let ended =
            ended.unwrap_or_else(|panic| Err(MaskerFailure::Panicked(panic_message(&*panic))));
        if let Err(failure) = ended {
            let _ = events.send(PipelineEvent::MaskerFailed(failure));
        }
    }

    fn run(mut self, inbox: &Receiver<Command>) -> Result<(), MaskerFailure> {
        for command in inbox {
            match command {
                Command::Open { group, matcher } => {
                    self.groups.insert(group, vec![*matcher]);
                }
                Command::Advance { group, children, reply } => {
                    let _ = reply.send(self.advance(group, &children));
                }
                Command::Keep { group, rows } => self.keep(group, &rows),
                Command::Fill { microbatch, stamps } => {
                    if !self.fill(microbatch, &stamps)? {
                        return Ok(());
                    }
                }
                Command::Close { group } => {
                    self.groups.remove(&group);
                }
            }
        }
        Ok(())
    }

    fn advance(&mut self, group: GroupId, children: &[Child]) -> Advanced {
        let parents: Vec<usize> = children.iter().map(|child| child.parent).collect();
        self.keep(group, &parents);
        let matchers = self.groups.entry(group).or_default();
        let advance = |(matcher, child): (&mut Matcher, &Child)| matcher.advance(child.token);
        matchers.iter_mut().zip(children).map(advance).collect()
    }

    /// The last use of a matcher moves it, every other one forks it.
    fn keep(&mut self, group: GroupId, rows: &[usize]) {
        let matchers = self.groups.entry(group).or_default();
        let mut earlier: Vec<Option<Matcher>> =
            std::mem::take(matchers).into_iter().map(Some).collect();
        for (position, &row) in rows.iter().enumerate() {
            let is_last_use = !rows[position + 1..].contains(&row);
            let Some(slot) = earlier.get_mut(row) else { continue };
            let kept = if is_last_use { slot.take() } else { slot.as_ref().map(Matcher::fork) };
            matchers.extend(kept);
        }
    }

    /// False if the last stage is gone.
    fn fill(
        &mut self,
        microbatch: MicrobatchId,
        stamps: &[Option<Stamp>],
    ) -> Result<bool, TransferError> {
        let rows = stamps.iter().map(|stamp| self.mask(stamp.as_ref()?)).collect();
        let masks = Placed::new(Masks { microbatch, rows }, DeviceId::Host);
        let masks = self.outlet.links.carry(&masks, Endpoint::Host, self.outlet.last_stage)?;
        Ok(self.outlet.masks.send(masks).is_ok())
    }

    /// Stamped with the step that the matcher is at, so that one that is not where it should be gives
    /// itself away.
    fn mask(&mut self, stamp: &Stamp) -> Option<MaskRow> {
        let matcher = self.groups.get_mut(&stamp.group)?.get_mut(stamp.row as usize)?;
        match matcher.mask() {
            Ok(mask) => {
                let step = u32::try_from(matcher.num_tokens()).unwrap_or(u32::MAX);
                Some(MaskRow { stamp: Stamp { step, ..*stamp }, words: mask.into_words().into() })
            }
            Err(error) => {
                let failed = PipelineEvent::MaskFailed { group: stamp.group, error };
                let _ = self.outlet.events.send(failed);
                None
            }
        }
    }
}
