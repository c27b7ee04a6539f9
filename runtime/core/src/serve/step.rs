//! A step of a group: tokens come back, matchers answer, text grows, outputs end.

use std::time::Duration;

use super::{
    action::Action,
    input::{Answer, MatcherError},
    output::{Event, Output, OutputId, RequestError},
    rounds::Round,
    serve::Serve,
};
use crate::{
    messages::{
        Choice, GroupChoices, GroupId, MaskError, RequestId, RowError, Sampled, SequenceId, Token,
    },
    scheduler::Onward,
    sequence::{Continuation, Sequence},
};

/// What a group goes on with, before its matchers have said what they make of it.
#[derive(Debug)]
pub(super) struct Selected {
    /// What was chosen for each of the continuations.
    pub(super) choices: Vec<Choice>,
    pub(super) continuations: Vec<Continuation>,
    /// Which of the finished beams stay among the best.
    pub(super) finished: Vec<usize>,
}

/// What a step brought a caller.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Newly shown text, and the tokens that have come since there was some.
    pub(super) texts: Vec<(OutputId, String, Vec<Token>)>,
    pub(super) outputs: Vec<Output>,
    /// Tokens that each sequence got, at most.
    pub(super) tokens_each: usize,
    /// Tokens that were kept.
    pub(super) num_tokens: usize,
    /// Those of them that followed without being sampled.
    pub(super) num_jump_forward: usize,
    /// Tokens that the constraint vetoed.
    pub(super) num_vetoed: usize,
}

impl Serve {
    pub(super) fn sampled(&mut self, sampled: Sampled, now: Duration) {
        let stage_s = sampled.stage_s();
        let Sampled { microbatch, groups, mask_times, .. } = sampled;
        self.scheduler.retire(microbatch);
        let sent = self.sent.remove(&microbatch);
        let step = sent.map_or(Duration::ZERO, |sent| now.saturating_sub(sent));
        let round = self.rounds.came_back(microbatch, step, &stage_s);
        self.measure(round);
        self.add_wait(mask_times.wait(), &groups);
        for GroupChoices { group, choices } in groups {
            match choices {
                Ok(choices) => self.begin_step(group, choices, step, now),
                Err(error) => self.row_failed(group, error),
            }
        }
    }

    /// Learns from what a microbatch took, and adapts how many are in flight.
    pub(super) fn measure(&mut self, round: Option<Round>) {
        let (Some(depth), Some(round)) = (&mut self.depth, round) else { return };
        depth.observe(round.num_rows, &round.stage_s, round.seconds);
        let current = self.scheduler.config().max_in_flight;
        let best = depth.best(self.scheduler.num_decoding_rows(), current);
        if best != current {
            self.scheduler.set_max_in_flight(best);
        }
    }

    /// Takes note of what the last stage waited for masks, for the requests whose rows were
    /// sampled.
    fn add_wait(&mut self, wait: Option<Duration>, groups: &[GroupChoices]) {
        if let Some(wait) = wait {
            self.tally.waits.add(wait);
        }
        let wait = wait.unwrap_or_default();
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
        let child = |choice: &Choice| {
            let tokens = choice.tokens().map(|token| token.id).collect();
            Some((rows.get(choice.row as usize)?.id(), tokens))
        };
        let children: Vec<_> = choices.iter().filter_map(child).collect();
        let continuations = self.scheduler.continuations(children);
        let is_constrained = group.admitted.is_constrained;
        if !is_constrained {
            let selected = Selected { choices, continuations, finished };
            return self.finish_step(id, selected, Vec::new(), now);
        }
        for Continuation { child, .. } in &continuations {
            // A failure before is of no account: the row was sampled.
            self.matchers.insert(*child, None);
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
            jump_forward: outcome.num_jump_forward,
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
