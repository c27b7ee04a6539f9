//! One worker: its groups' matchers, and the loop that does as the engine says.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use sluicegate_constraint::{CancelHandle, CodedMask, Compiled, Event, MatchError, Matcher};
use sluicegate_core::scheduler::GroupId;
use sluicegate_spec::units::TokenId;

use super::{
    Advanced, AdvancedRows, MaskerOutlet, RowFailure,
    job::Part,
    watch::{Ending, Watch},
};
use crate::{
    pipeline::{Interval, PipelineEvent, panic_message},
    sampler::{Choice, MaskBits, MaskRow, Stamp},
};

/// Tokens that are taken at most behind a sampled one, since nothing else may follow.
const MAX_FORCED: usize = 64;

pub(super) enum Command {
    Open {
        group: GroupId,
        compiled: Box<Compiled>,
        max_tokens: usize,
        takes_forced: bool,
    },
    Advance {
        group: GroupId,
        choices: Vec<Choice>,
        reply: Sender<AdvancedRows>,
    },
    Fork {
        group: GroupId,
        children: Vec<(GroupId, usize)>,
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
    Running(Matchers),
    /// Lost with everything that this worker had when it panicked.
    Lost(Arc<str>),
}

struct Matchers {
    rows: Vec<Matcher>,
    /// Whether a row takes what must follow along with a token. Beams do not: they are weighed
    /// against each other at every token.
    takes_forced: bool,
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
                Command::Advance { choices, reply, .. } => Some((choices.len(), reply.clone())),
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
            Command::Open { group, compiled, max_tokens, takes_forced } => {
                // Admission has checked that it closes in time.
                let matcher = compiled.matcher_on_within(self.index, max_tokens);
                let matcher = matcher.unwrap_or_else(|_| compiled.matcher_on(self.index));
                let matchers = Matchers { rows: vec![matcher], takes_forced };
                self.groups.insert(group, Group::Running(matchers));
            }
            Command::Advance { group, choices, reply } => {
                let _ = reply.send(self.advance(group, &choices));
            }
            Command::Fork { group, children } => self.fork(group, &children),
            Command::Keep { group, rows } => {
                if let Some(Group::Running(held)) = self.groups.get_mut(&group) {
                    keep(&mut held.rows, &rows);
                }
            }
            Command::Fill(Part { job, rows }) => {
                let from = Instant::now();
                for (row, stamp) in rows {
                    if let Some(mask) = self.mask(stamp) {
                        job.put(row, mask);
                    }
                }
                job.worked(Interval::since(from));
            }
            Command::Close { group } => {
                self.groups.remove(&group);
                self.watched.watch.left(group);
            }
            #[cfg(test)]
            Command::Panic => panic!("as a test asked"),
        }
    }

    fn advance(&mut self, group: GroupId, choices: &[Choice]) -> AdvancedRows {
        let matchers = match self.groups.get_mut(&group) {
            Some(Group::Running(matchers)) => matchers,
            Some(Group::Lost(message)) => return lost(message, choices.len()),
            None => return Vec::new(),
        };
        let parents: Vec<usize> = choices.iter().map(|choice| choice.parent).collect();
        keep(&mut matchers.rows, &parents);
        let takes_forced = matchers.takes_forced;
        let mut advanced = Vec::with_capacity(choices.len());
        for (matcher, choice) in matchers.rows.iter_mut().zip(choices) {
            let handle = matcher.cancel_handle();
            let work = || take(matcher, choice.token, takes_forced);
            let taken = self.watched.run(group, handle, work);
            // Nobody reads what an unwanted row says.
            advanced.push(taken.unwrap_or_else(|| Err(cancelled(matcher).into())));
        }
        advanced
    }

    /// Gives each child a matcher of the group's; the group has none then.
    fn fork(&mut self, group: GroupId, children: &[(GroupId, usize)]) {
        match self.groups.remove(&group) {
            Some(Group::Running(Matchers { rows, takes_forced })) => {
                let mut rows: Vec<Option<Matcher>> = rows.into_iter().map(Some).collect();
                for (child, row) in children {
                    let rows = rows.get_mut(*row).and_then(Option::take).into_iter().collect();
                    self.groups.insert(*child, Group::Running(Matchers { rows, takes_forced }));
                }
            }
            Some(Group::Lost(message)) => {
                for (child, _) in children {
                    self.groups.insert(*child, Group::Lost(Arc::clone(&message)));
                }
            }
            None => {}
        }
    }

    /// Stamped with the step that the matcher is at, so that one that is not where it should be gives
    /// itself away.
    fn mask(&mut self, stamp: Stamp) -> Option<MaskRow> {
        let Group::Running(held) = self.groups.get_mut(&stamp.group)? else { return None };
        let matcher = held.rows.get_mut(stamp.row as usize)?;
        let handle = matcher.cancel_handle();
        match self.watched.run(stamp.group, handle, || code(matcher))? {
            Ok(coded) => {
                let step = u32::try_from(matcher.num_tokens()).unwrap_or(u32::MAX);
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
        work: impl FnOnce() -> Result<T, MatchError>,
    ) -> Option<Result<T, RowFailure>> {
        let (done, ending) = self.watch.run(group, handle, work);
        let failed = |failure| match ending {
            Ending::Late => RowFailure::Deadline { limit: self.limit },
            Ending::InTime | Ending::Unwanted => RowFailure::Match(failure),
        };
        Some(done?.map_err(failed))
    }
}

/// Takes a token, and what must follow.
fn take(
    matcher: &mut Matcher,
    sampled: TokenId,
    takes_forced: bool,
) -> Result<Advanced, MatchError> {
    let (token, mut is_finished, is_vetoed) = match matcher.advance(sampled)? {
        Event::Vetoed { instead, finished } => (instead, finished, true),
        Event::Closed => {
            return Ok(Advanced { tokens: Vec::new(), is_finished: true, is_vetoed: true });
        }
        event => (sampled, event == Event::Finished, false),
    };
    let mut tokens = vec![token];
    while takes_forced && !is_finished && tokens.len() <= MAX_FORCED {
        // An end is left to the sampler, which knows whether it is wanted yet.
        let forced = matcher.forced();
        let Some(&next) = forced.first().filter(|token| !matcher.vocab().eos().contains(token))
        else {
            break;
        };
        match matcher.advance(next)? {
            Event::Vetoed { instead, finished } => {
                tokens.push(instead);
                is_finished = finished;
            }
            Event::Closed => is_finished = true,
            event => {
                tokens.push(next);
                is_finished = event == Event::Finished;
            }
        }
    }
    Ok(Advanced { tokens, is_finished, is_vetoed })
}

fn code(matcher: &mut Matcher) -> Result<CodedMask, MatchError> {
    let mask = matcher.mask()?;
    Ok(CodedMask::new(&mask, matcher.vocab()))
}

/// The last use of a row moves it, every other one forks it.
fn keep(held: &mut Vec<Matcher>, rows: &[usize]) {
    let mut earlier: Vec<Option<Matcher>> = std::mem::take(held).into_iter().map(Some).collect();
    for (position, &row) in rows.iter().enumerate() {
        let is_last_use = !rows[position + 1..].contains(&row);
        let Some(slot) = earlier.get_mut(row) else { continue };
        held.extend(if is_last_use { slot.take() } else { slot.as_ref().map(Matcher::fork) });
    }
}

fn lost(message: &Arc<str>, num_rows: usize) -> AdvancedRows {
    let failure = RowFailure::Panicked { message: Arc::clone(message) };
    vec![Err(failure); num_rows]
}

fn cancelled(matcher: &Matcher) -> MatchError {
    MatchError::Cancelled { num_tokens: matcher.num_tokens() }
}
