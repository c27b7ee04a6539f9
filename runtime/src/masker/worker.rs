//! One worker: its matchers, and the loop that does as the engine says.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::Receiver;
use sluicegate_constraint::{CancelHandle, Compiled, EncodedMask, Event, MatchError, Matcher};
use sluicegate_core::{
    messages::{GroupId, MaskBits, MaskRow, SequenceId, Stamp},
    sequence::Continuation,
    serve::{Answer, MatcherError},
};
use sluicegate_spec::units::TokenId;

use super::{
    BeforeMatcher, MaskerConfig, MaskerOutlet,
    job::Part,
    watch::{Ending, Watch},
};
use crate::pipeline::{PipelineEvent, panic_message};

/// Tokens that are taken at most behind a sampled one, since nothing else may follow.
const MAX_JUMP_FORWARD: usize = 64;

pub(super) enum Command {
    Open {
        sequence: SequenceId,
        compiled: Box<Compiled>,
        max_tokens: usize,
        jumps_forward: bool,
    },
    Advance {
        group: GroupId,
        continuations: Vec<Continuation>,
    },
    Fill(Part),
    Close(SequenceId),
    #[cfg(test)]
    Panic,
}

pub(super) struct Worker {
    /// What the worker is called where matchers are made.
    index: usize,
    outlet: Arc<MaskerOutlet>,
    watched: Watched,
    sequences: HashMap<SequenceId, State>,
}

/// Runs work that can be cancelled; what was cancelled for its time fails as that.
struct Watched {
    watch: Arc<Watch>,
    limit: Duration,
    before_matcher: Option<BeforeMatcher>,
}

enum State {
    Running(Running),
    /// Lost with everything that this worker had when it panicked.
    Lost(Arc<str>),
}

struct Running {
    matcher: Matcher,
    /// Whether it takes what must follow along with a token. Beams do not: they are weighed against
    /// each other at every token.
    jumps_forward: bool,
}

impl State {
    fn fork(&self) -> Self {
        match self {
            Self::Running(Running { matcher, jumps_forward }) => {
                Self::Running(Running { matcher: matcher.fork(), jumps_forward: *jumps_forward })
            }
            Self::Lost(message) => Self::Lost(Arc::clone(message)),
        }
    }
}

impl Worker {
    pub(super) fn new(
        index: usize,
        outlet: Arc<MaskerOutlet>,
        watch: Arc<Watch>,
        config: &MaskerConfig,
    ) -> Self {
        let before_matcher = config.before_matcher.clone();
        let watched = Watched { watch, limit: config.deadline, before_matcher };
        Self { index, outlet, watched, sequences: HashMap::new() }
    }

    /// Works until nobody can ask for more. A panic costs the matchers that are here, and no
    /// others.
    pub(super) fn run(mut self, inbox: &Receiver<Command>) {
        for command in inbox {
            let advancing = match &command {
                Command::Advance { group, continuations } => Some((*group, continuations.len())),
                _ => None,
            };
            let done = catch_unwind(AssertUnwindSafe(|| self.obey(command)));
            let Err(panic) = done else { continue };
            let message: Arc<str> = panic_message(&*panic).into();
            for (sequence, state) in &mut self.sequences {
                *state = State::Lost(Arc::clone(&message));
                let error = MatcherError::Panicked { message: Arc::clone(&message) };
                self.outlet.tell(PipelineEvent::MaskFailed { sequence: *sequence, error });
            }
            if let Some((group, num_children)) = advancing {
                let error = MatcherError::Panicked { message };
                let answers = vec![Err(error); num_children];
                self.outlet.tell(PipelineEvent::Advanced { group, answers });
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { sequence, compiled, max_tokens, jumps_forward } => {
                // Admission has checked that it closes in time.
                let matcher = compiled.matcher_on_within(self.index, max_tokens);
                let matcher = matcher.unwrap_or_else(|_| compiled.matcher_on(self.index));
                let running = Running { matcher, jumps_forward };
                self.sequences.insert(sequence, State::Running(running));
            }
            Command::Advance { group, continuations } => {
                let answers = self.advance(&continuations);
                self.outlet.tell(PipelineEvent::Advanced { group, answers });
            }
            Command::Fill(Part { job, rows }) => {
                let from = self.outlet.clock.now();
                for (row, stamp) in rows {
                    job.put(row, self.mask(stamp));
                }
                job.worked(self.outlet.clock.since(from));
            }
            Command::Close(sequence) => {
                self.sequences.remove(&sequence);
                self.watched.watch.left(sequence);
            }
            #[cfg(test)]
            Command::Panic => panic!("as a test asked"),
        }
    }

    /// Forks by parent, before the parents themselves go on; then each child takes its tokens.
    fn advance(&mut self, continuations: &[Continuation]) -> Vec<Result<Answer, MatcherError>> {
        for Continuation { parent, child, .. } in continuations {
            if parent != child
                && let Some(forked) = self.sequences.get(parent).map(State::fork)
            {
                self.sequences.insert(*child, forked);
            }
        }
        continuations.iter().map(|continuation| self.advance_one(continuation)).collect()
    }

    fn advance_one(&mut self, next: &Continuation) -> Result<Answer, MatcherError> {
        let failed = |message: &str| MatcherError::Failed { message: message.into() };
        let Running { matcher, jumps_forward } = match self.sequences.get_mut(&next.child) {
            Some(State::Running(running)) => running,
            Some(State::Lost(message)) => {
                return Err(MatcherError::Panicked { message: Arc::clone(message) });
            }
            None => return Err(failed("it has no matcher")),
        };
        if next.tokens.is_empty() {
            return Err(failed("it goes on by no token"));
        }
        let handle = matcher.cancel_handle();
        let work = || take(matcher, &next.tokens, *jumps_forward);
        let taken = self.watched.run(next.child, handle, work);
        // Nobody reads what an unwanted one says.
        taken.unwrap_or_else(|| Err(failed("nobody waits for it any more")))
    }

    /// Stamped with the step that the matcher is at, so that one that is not where it should be
    /// gives itself away.
    fn mask(&mut self, stamp: Stamp) -> Option<MaskRow> {
        let State::Running(running) = self.sequences.get_mut(&stamp.sequence)? else { return None };
        let matcher = &mut running.matcher;
        let handle = matcher.cancel_handle();
        match self.watched.run(stamp.sequence, handle, || encode(matcher))? {
            Ok(encoded) => {
                let step = u32::try_from(matcher.num_tokens()).unwrap_or(u32::MAX);
                let bits = MaskBits::Own(encoded.into_bytes());
                Some(MaskRow::new(Stamp { step, ..stamp }, bits))
            }
            Err(error) => {
                self.outlet.tell(PipelineEvent::MaskFailed { sequence: stamp.sequence, error });
                None
            }
        }
    }
}

impl Watched {
    /// Returns nothing if the work was not begun, because its sequence is leaving.
    fn run<T>(
        &self,
        sequence: SequenceId,
        handle: CancelHandle,
        work: impl FnOnce() -> Result<T, MatchError>,
    ) -> Option<Result<T, MatcherError>> {
        let work = || {
            if let Some(before_matcher) = &self.before_matcher {
                before_matcher(sequence);
            }
            work()
        };
        let (done, ending) = self.watch.run(sequence, handle, work);
        let failed = |error: MatchError| match ending {
            Ending::Late => MatcherError::Deadline { limit: self.limit },
            Ending::InTime | Ending::Unwanted => {
                MatcherError::Failed { message: error.to_string().into() }
            }
        };
        Some(done?.map_err(failed))
    }
}

/// Takes sampled tokens up to the first that is vetoed or ends the output, and what must follow
/// them.
fn take(
    matcher: &mut Matcher,
    sampled: &[TokenId],
    jumps_forward: bool,
) -> Result<Answer, MatchError> {
    let mut answer = Answer { tokens: Vec::new(), is_finished: false, is_vetoed: false };
    for token in sampled {
        answer.is_vetoed = !take_one(matcher, *token, &mut answer)?;
        if answer.is_vetoed || answer.is_finished {
            break;
        }
    }
    let num_sampled = answer.tokens.len();
    while jumps_forward
        && !answer.is_finished
        && answer.tokens.len() < num_sampled + MAX_JUMP_FORWARD
    {
        // An end is left to the sampler, which knows whether it is wanted yet.
        let follows = matcher.jump_forward();
        let Some(&next) = follows.first().filter(|token| !matcher.vocab().eos().contains(token))
        else {
            break;
        };
        take_one(matcher, next, &mut answer)?;
    }
    Ok(answer)
}

/// Takes a token, or another where it is vetoed, or ends before it; says whether it was this one.
fn take_one(
    matcher: &mut Matcher,
    token: TokenId,
    answer: &mut Answer,
) -> Result<bool, MatchError> {
    let (taken, is_finished) = match matcher.advance(token)? {
        Event::Vetoed { instead, finished } => (Some(instead), finished),
        Event::Closed => (None, true),
        event => (Some(token), event == Event::Finished),
    };
    answer.tokens.extend(taken);
    answer.is_finished = is_finished;
    Ok(taken == Some(token))
}

fn encode(matcher: &mut Matcher) -> Result<EncodedMask, MatchError> {
    let mask = matcher.mask()?;
    Ok(EncodedMask::new(&mask, matcher.vocab()))
}
