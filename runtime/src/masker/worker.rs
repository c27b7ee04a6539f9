//! One worker: its groups' matchers, and the loop that does as the engine says.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use sluicegate_constraint::{CancelHandle, CodedMask, Compiled, Event, Matcher};
use sluicegate_model::units::TokenId;

use super::{
    Advanced, AdvancedRows, MaskerOutlet, RowFailure,
    job::Part,
    watch::{Ending, Watch},
};
use crate::{
    pipeline::{PipelineEvent, panic_message},
    sampler::{MaskBits, MaskRow, Stamp},
    scheduler::{Child, GroupId},
};

pub(super) enum Command {
    Open {
        group: GroupId,
        compiled: Box<Compiled>,
        max_tokens: usize,
    },
    Advance {
        group: GroupId,
        children: Vec<Child>,
        reply: Sender<AdvancedRows>,
    },
    Keep {
        group: GroupId,
        rows: Vec<usize>,
    },
    Fill(Part),
    Close {
        group: GroupId,
    },
    #[cfg(test)]
    Panic,
}

pub(super) struct Worker {
    /// What the worker is called where matchers are made.
    index: usize,
    outlet: Arc<MaskerOutlet>,
    watched: Watched,
    groups: HashMap<GroupId, Group>,
}

/// Does work that may be ended, and fails what was ended for its time.
struct Watched {
    watch: Arc<Watch>,
    limit: Duration,
}

enum Group {
    Running(Vec<Row>),
    /// Lost with everything that this worker had when it panicked.
    Lost(Arc<str>),
}

struct Row {
    matcher: Matcher,
    /// What must come next, as far as that is known.
    forced: VecDeque<TokenId>,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        outlet: Arc<MaskerOutlet>,
        watch: Arc<Watch>,
        deadline: Duration,
    ) -> Self {
        let watched = Watched { watch, limit: deadline };
        Self { index, outlet, watched, groups: HashMap::new() }
    }

    /// Works until nobody can ask for more. A panic costs the groups that are here, and no others.
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        for command in inbox {
            let advancing = match &command {
                Command::Advance { children, reply, .. } => Some((children.len(), reply.clone())),
                _ => None,
            };
            let done = catch_unwind(AssertUnwindSafe(|| self.obey(command)));
            let Err(panic) = done else { continue };
            let message: Arc<str> = panic_message(&*panic).into();
            for (group, state) in &mut self.groups {
                *state = Group::Lost(Arc::clone(&message));
                let failure = RowFailure::Panicked { message: Arc::clone(&message) };
                let failed = PipelineEvent::MaskFailed { group: *group, failure };
                let _ = self.outlet.events.send(failed);
            }
            if let Some((num_children, reply)) = advancing {
                let _ = reply.send(lost(&message, num_children));
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { group, compiled, max_tokens } => {
                // Admission has checked that it closes in time.
                let matcher = compiled.matcher_on_within(self.index, max_tokens);
                let matcher = matcher.unwrap_or_else(|_| compiled.matcher_on(self.index));
                let row = Row { matcher, forced: VecDeque::new() };
                self.groups.insert(group, Group::Running(vec![row]));
            }
            Command::Advance { group, children, reply } => {
                let _ = reply.send(self.advance(group, &children));
            }
            Command::Keep { group, rows } => {
                if let Some(Group::Running(held)) = self.groups.get_mut(&group) {
                    keep(held, &rows);
                }
            }
            Command::Fill(Part { job, rows }) => {
                for (row, stamp) in rows {
                    if let Some(mask) = self.mask(stamp) {
                        job.put(row, mask);
                    }
                }
            }
            Command::Close { group } => {
                self.groups.remove(&group);
                self.watched.watch.left(group);
            }
            #[cfg(test)]
            Command::Panic => panic!("as a test asked"),
        }
    }

    fn advance(&mut self, group: GroupId, children: &[Child]) -> AdvancedRows {
        let rows = match self.groups.get_mut(&group) {
            Some(Group::Running(rows)) => rows,
            Some(Group::Lost(message)) => return lost(message, children.len()),
            None => return Vec::new(),
        };
        let parents: Vec<usize> = children.iter().map(|child| child.parent).collect();
        keep(rows, &parents);
        let mut advanced = Vec::with_capacity(children.len());
        for (row, child) in rows.iter_mut().zip(children) {
            let handle = row.matcher.cancel_handle();
            let taken = self.watched.run(group, handle, || row.take(child.token));
            // Nobody reads what an unwanted row says.
            advanced.push(taken.unwrap_or_else(|| Err(cancelled(&row.matcher).into())));
        }
        advanced
    }

    /// Stamped with the step that the matcher is at, so that one that is not where it should be gives
    /// itself away.
    fn mask(&mut self, stamp: Stamp) -> Option<MaskRow> {
        let Group::Running(rows) = self.groups.get_mut(&stamp.group)? else { return None };
        let row = rows.get_mut(stamp.row as usize)?;
        let handle = row.matcher.cancel_handle();
        match self.watched.run(stamp.group, handle, || row.mask())? {
            Ok(coded) => {
                let step = u32::try_from(row.matcher.num_tokens()).unwrap_or(u32::MAX);
                Some(MaskRow { stamp: Stamp { step, ..stamp }, bits: MaskBits::Own(coded) })
            }
            Err(failure) => {
                let failed = PipelineEvent::MaskFailed { group: stamp.group, failure };
                let _ = self.outlet.events.send(failed);
                None
            }
        }
    }
}

impl Watched {
    /// Returns nothing if the work was not begun, because its group is leaving.
    fn run<T>(
        &self,
        group: GroupId,
        handle: CancelHandle,
        work: impl FnOnce() -> Result<T, RowFailure>,
    ) -> Option<Result<T, RowFailure>> {
        let (done, ending) = self.watch.run(group, handle, work);
        let late = |failure| match ending {
            Ending::Late => RowFailure::Deadline { limit: self.limit },
            Ending::InTime | Ending::Unwanted => failure,
        };
        Some(done?.map_err(late))
    }
}

impl Row {
    /// Takes a token, and finds out what must follow.
    fn take(&mut self, sampled: TokenId) -> Result<Advanced, RowFailure> {
        let (token, is_finished, is_vetoed) = match self.matcher.advance(sampled)? {
            Event::Vetoed { instead, finished } => (instead, finished, true),
            event => (sampled, event == Event::Finished, false),
        };
        let was_forced = self.forced.pop_front() == Some(token);
        if is_finished || !was_forced {
            self.forced.clear();
        }
        if !is_finished && self.forced.is_empty() {
            self.forced = self.matcher.forced().into();
        }
        Ok(Advanced {
            token,
            is_finished,
            is_vetoed,
            forced: self.forced.iter().copied().collect(),
        })
    }

    /// A token that is known to be forced needs no engine.
    fn mask(&mut self) -> Result<CodedMask, RowFailure> {
        if let Some(token) = self.forced.front() {
            return Ok(CodedMask::Only(*token));
        }
        let mask = self.matcher.mask()?;
        Ok(CodedMask::new(&mask, self.matcher.vocab()))
    }
}

/// The last use of a row moves it, every other one forks its matcher.
fn keep(held: &mut Vec<Row>, rows: &[usize]) {
    let mut earlier: Vec<Option<Row>> = std::mem::take(held).into_iter().map(Some).collect();
    for (position, &row) in rows.iter().enumerate() {
        let is_last_use = !rows[position + 1..].contains(&row);
        let Some(slot) = earlier.get_mut(row) else { continue };
        let fork = |row: &Row| Row { matcher: row.matcher.fork(), forced: row.forced.clone() };
        held.extend(if is_last_use { slot.take() } else { slot.as_ref().map(fork) });
    }
}

fn lost(message: &Arc<str>, num_rows: usize) -> AdvancedRows {
    let failure = RowFailure::Panicked { message: Arc::clone(message) };
    vec![Err(failure); num_rows]
}

fn cancelled(matcher: &Matcher) -> sluicegate_constraint::MatchError {
    sluicegate_constraint::MatchError::Cancelled { num_tokens: matcher.num_tokens() }
}
