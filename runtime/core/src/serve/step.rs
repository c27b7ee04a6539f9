//! A step of a group: tokens come back, matchers answer, text grows, outputs end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    action::Action,
    group::{RunningGroup, without_vetoed},
    input::{Answer, MatcherError},
    output::{Event, Output, OutputId, RequestError},
    serve::{Sent, Serve},
};
use crate::{
    messages::{
        Choice, GroupChoices, GroupId, MaskError, RequestId, RowError, Sampled, SequenceId,
    },
    scheduler::{Onward, Scheduler, Step},
    sequence::{Continuation, Rules, Sequence, Token},
};

/// What a group goes on with, before its matchers have said what they make of it.
#[derive(Debug)]
pub(super) struct Selected {
    /// What was chosen for each of the continuations.
    pub(super) choices: Vec<Choice>,
    pub(super) continuations: Vec<Continuation>,
    /// Which of the finished beams stay among the best.
    finished: Vec<usize>,
}

/// What a step brought a caller.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Newly shown text, and the tokens that have come since there was some.
    pub(super) texts: Vec<(OutputId, String, Vec<Token>)>,
    pub(super) outputs: Vec<Output>,
    /// Tokens that each sequence got, at most.
    tokens_each: usize,
    /// Tokens that were kept.
    pub(super) num_tokens: usize,
    /// Those of them that followed without being sampled.
    pub(super) num_forced: usize,
    /// Tokens that the constraint vetoed.
    pub(super) num_vetoed: usize,
}

/// For how long a microbatch that is not full waits for matchers that are at work: half of what a
/// step takes, so that a slow one never costs the others more than that.
#[derive(Debug, Default)]
pub(super) struct Patience(BTreeMap<GroupId, Duration>);

const LEAST_PATIENCE: Duration = Duration::from_micros(500);
const MOST_PATIENCE: Duration = Duration::from_millis(100);

impl Patience {
    fn begin(&mut self, group: GroupId, step: Duration, now: Duration) {
        self.0.insert(group, now + (step / 2).clamp(LEAST_PATIENCE, MOST_PATIENCE));
    }

    pub(super) fn end(&mut self, group: GroupId) {
        self.0.remove(&group);
    }

    pub(super) fn expire(&mut self, now: Duration) {
        self.0.retain(|_, until| *until > now);
    }

    /// Whether somebody is waited for.
    pub(super) fn holds(&self) -> bool {
        !self.0.is_empty()
    }

    /// When nobody is waited for any more.
    pub(super) fn until(&self) -> Option<Duration> {
        self.0.values().max().copied()
    }
}

impl Serve {
    pub(super) fn sampled(&mut self, sampled: Sampled, now: Duration) {
        let Sampled { microbatch, groups, stage_s, mask_wait } = sampled;
        self.scheduler.retire(microbatch);
        let sent = self.sent.remove(&microbatch);
        let step = sent.map_or(Duration::ZERO, |sent| now.saturating_sub(sent.at));
        if let Some(sent) = sent.filter(|sent| sent.is_decoding) {
            self.measure(sent, &stage_s, step);
        }
        if let Some(wait) = mask_wait {
            self.add_wait(wait, &groups);
        }
        for GroupChoices { group, choices } in groups {
            match choices {
                Ok(choices) => self.begin_step(group, choices, step, now),
                Err(error) => self.row_failed(group, error),
            }
        }
    }

    /// Learns from what a microbatch took, and adapts how many are in flight.
    fn measure(&mut self, sent: Sent, stage_s: &[f64], step: Duration) {
        let Some(depth) = &mut self.depth else { return };
        depth.observe(sent.num_rows, stage_s, step.as_secs_f64());
        let current = self.scheduler.config().max_in_flight;
        let best = depth.best(self.scheduler.num_decoding_rows(), current);
        if best != current {
            self.scheduler.set_max_in_flight(best);
        }
    }

    /// Takes note of a wait for masks, for the requests whose rows were sampled.
    fn add_wait(&mut self, wait: Duration, groups: &[GroupChoices]) {
        self.tally.waits.add(wait);
        let request_of = |group: &GroupChoices| Some(self.groups.get(&group.group)?.request);
        let mut requests: Vec<RequestId> = groups.iter().filter_map(request_of).collect();
        requests.sort_unstable();
        requests.dedup();
        for request in requests {
            if let Some(running) = self.requests.get_mut(&request) {
                running.add_wait(wait);
            }
        }
    }

    fn begin_step(&mut self, id: GroupId, choices: Vec<Choice>, step: Duration, now: Duration) {
        // A cancelled group's tokens are nobody's.
        let Some(group) = self.groups.get_mut(&id) else { return };
        let rows = self.scheduler.sequences(id);
        let (choices, finished) = group.select(choices, rows);
        let child = |choice: &Choice| Some((rows.get(choice.row as usize)?.id(), choice.token));
        let children: Vec<_> = choices.iter().filter_map(child).collect();
        let continuations = self.scheduler.continuations(&children);
        let is_constrained = group.admitted.is_constrained;
        if !is_constrained {
            let selected = Selected { choices, continuations, finished };
            return self.finish_step(id, selected, Vec::new(), now);
        }
        for Continuation { child, .. } in &continuations {
            self.matchers.entry(*child).or_default();
        }
        self.patience.begin(id, step, now);
        let asked = continuations.clone();
        self.actions.push(Action::Advance { group: id, continuations: asked });
        group.stepping = Some(Selected { choices, continuations, finished });
    }

    /// The matchers of a group have answered.
    pub(super) fn advanced(
        &mut self,
        id: GroupId,
        answers: Vec<Result<Answer, MatcherError>>,
        now: Duration,
    ) {
        self.patience.end(id);
        let Some(group) = self.groups.get_mut(&id) else { return };
        let Some(mut selected) = group.stepping.take() else { return };
        let (wanted, found) = (selected.continuations.len(), answers.len());
        let answers: Result<Vec<Answer>, MatcherError> = answers.into_iter().collect();
        // A row that its matcher said nothing about does not pass for a free one.
        let answers = answers.and_then(|answers| match found {
            found if found == wanted => Ok(answers),
            found => Err(MatcherError::Answers { wanted, found }),
        });
        let (request, prompt) = (group.request, group.prompt);
        match answers {
            Ok(answers) => {
                for (continuation, answer) in selected.continuations.iter_mut().zip(&answers) {
                    continuation.tokens.clone_from(&answer.tokens);
                }
                self.finish_step(id, selected, answers, now);
            }
            Err(source) => {
                // Its children's matchers go with it.
                group.stepping = Some(selected);
                self.fail(request, RequestError::Constraint { prompt, source });
            }
        }
    }

    /// Takes a step: `answers` say what the matchers made of it, and nothing for a free group.
    fn finish_step(
        &mut self,
        id: GroupId,
        selected: Selected,
        answers: Vec<Answer>,
        now: Duration,
    ) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let rows = self.scheduler.sequences(id);
        let is_first =
            group.finished.is_empty() && rows.iter().all(|row| row.generated().is_empty());
        let mut matched: Vec<SequenceId> = Vec::new();
        if group.admitted.is_constrained {
            matched.extend(rows.iter().map(Sequence::id));
            matched.extend(selected.continuations.iter().map(|it| it.child));
        }
        let taken = group.take(selected, answers, is_first);
        let Some((onward, outcome)) = group.grow(&mut self.scheduler, id, &taken) else { return };
        let request = group.request;
        self.actions.push(Action::Stepped {
            request,
            tokens: outcome.tokens_each,
            since: group.note_token(now),
            forced: outcome.num_forced,
            vetoed: outcome.num_vetoed,
        });
        let groups = match onward {
            Onward::Ended => Vec::new(),
            Onward::Same => vec![id],
            Onward::Split(groups) => groups,
        };
        self.go_on(id, &groups);
        let rows = || groups.iter().flat_map(|group| self.scheduler.sequences(*group));
        matched.retain(|sequence| !rows().any(|row| row.id() == *sequence));
        self.close_matchers(matched);
        self.tell(request, outcome, is_first, now);
    }

    /// Takes note of the groups as which a group goes on.
    fn go_on(&mut self, id: GroupId, groups: &[GroupId]) {
        if *groups == [id] {
            return;
        }
        let Some(group) = self.groups.remove(&id) else { return };
        if let Some(running) = self.requests.get_mut(&group.request) {
            running.replace(id, groups);
        }
        self.groups.extend(groups.iter().map(|child| (*child, group.split())));
    }

    fn tell(&mut self, request: RequestId, outcome: Outcome, is_first: bool, now: Duration) {
        let Some(running) = self.requests.get_mut(&request) else { return };
        running.count(&outcome, is_first, now);
        let texts = outcome.texts.into_iter();
        let texts = texts.map(|(output, text, tokens)| Event::Text { output, text, tokens });
        let events = texts.chain(outcome.outputs.into_iter().map(Event::Output));
        self.actions.extend(events.map(|event| Action::Tell { request, event }));
        if running.groups.is_empty()
            && let Some(running) = self.requests.remove(&request)
        {
            let (event, usage) = running.finish(now);
            self.tally.finished += 1;
            self.tally.usage.add(usage);
            self.actions.push(Action::Tell { request, event });
        }
    }

    /// A mask that is missing because its matcher failed is reported as that.
    fn row_failed(&mut self, group: GroupId, source: RowError) {
        let Some(group) = self.groups.get(&group) else { return };
        let (request, prompt) = (group.request, group.prompt);
        let failure = match &source {
            RowError::Mask(MaskError::Missing { wanted }) => {
                self.matchers.get(&wanted.sequence).cloned().flatten()
            }
            _ => None,
        };
        self.fail(
            request,
            match failure {
                Some(source) => RequestError::Constraint { prompt, source },
                None => RequestError::Row { prompt, source },
            },
        );
    }
}

/// A step as it is taken.
struct Taken {
    choices: Vec<Choice>,
    continuations: Vec<Continuation>,
    /// What the matchers made of the continuations; nothing for a free group.
    answers: Vec<Answer>,
    num_vetoed: usize,
    /// Whether the group had no tokens before.
    is_first: bool,
}

impl RunningGroup {
    /// Leaves out what a beam search does not keep: finished beams that were outdone, and beams that
    /// ended up with another token than it had chosen.
    fn take(&mut self, selected: Selected, answers: Vec<Answer>, is_first: bool) -> Taken {
        let Selected { choices, continuations, finished } = selected;
        let num_vetoed = answers.iter().filter(|answer| answer.is_vetoed).count();
        if self.admitted.beam_width().is_none() {
            return Taken { choices, continuations, answers, num_vetoed, is_first };
        }
        self.finished = pick(std::mem::take(&mut self.finished), &finished);
        let mut kept: Vec<usize> = (0..choices.len()).collect();
        if num_vetoed > 0 {
            let parents = continuations.iter().map(|it| it.parent);
            let steps: Vec<(SequenceId, &Answer)> = parents.zip(&answers).collect();
            kept = without_vetoed(&steps, self.admitted.samples.saturating_sub(finished.len()));
        }
        Taken {
            choices: pick(choices, &kept),
            continuations: pick(continuations, &kept),
            answers: pick(answers, &kept),
            num_vetoed,
            is_first,
        }
    }

    /// Adds a step's tokens to the sequences; says how the group goes on, and what the step brought.
    fn grow(
        &mut self,
        scheduler: &mut Scheduler,
        id: GroupId,
        taken: &Taken,
    ) -> Option<(Onward, Outcome)> {
        let (admitted, prompt) = (Arc::clone(&self.admitted), self.prompt);
        let is_beam = admitted.beam_width().is_some();
        let mut reasons = Vec::new();
        let mut outcome = Outcome { num_vetoed: taken.num_vetoed, ..Outcome::default() };
        let say = |place: usize, sequence: &mut Sequence| {
            if taken.is_first && !is_beam {
                sequence.set_index(place);
            }
            let Choice { token, log_probability, ref likeliest, .. } = taken.choices[place];
            let first = Token { id: token, log_probability, likeliest: likeliest.clone() };
            let rules = Rules {
                eos: &admitted.params.eos,
                max_tokens: admitted.max_tokens,
                is_finished: taken.answers.get(place).is_some_and(|answer| answer.is_finished),
            };
            let said = sequence.say(&taken.continuations[place].tokens, &first, &rules);
            outcome.tokens_each = outcome.tokens_each.max(said.num_tokens);
            outcome.num_tokens += said.num_tokens;
            outcome.num_forced += said.num_tokens.saturating_sub(1);
            if !is_beam && !said.text.is_empty() {
                let output = OutputId { prompt, index: sequence.transcript().index() };
                outcome.texts.push((output, said.text, sequence.take_unshown()));
            }
            reasons.extend(said.finish);
            said.finish.is_none()
        };
        let Step { ended, onward } = scheduler.advance(id, &taken.continuations, say)?;
        let ended = ended.into_iter().zip(reasons);
        if is_beam {
            self.finished.extend(ended);
            if onward == Onward::Ended {
                self.rank_beams(&mut outcome);
            }
        } else {
            outcome.outputs.extend(ended.map(|(sequence, reason)| {
                let index = sequence.transcript().index();
                Output::of(sequence, OutputId { prompt, index }, reason)
            }));
        }
        Some((onward, outcome))
    }
}

/// The items at these places, which are in order.
fn pick<T>(items: Vec<T>, places: &[usize]) -> Vec<T> {
    let is_picked = |(place, _): &(usize, T)| places.contains(place);
    items.into_iter().enumerate().filter(is_picked).map(|(_, item)| item).collect()
}
