//! A group's sequences take a step.

use std::sync::Arc;

use super::{
    group::RunningGroup,
    input::Answer,
    output::{Output, OutputId},
    step::{Outcome, Selected},
};
use crate::{
    messages::{Choice, GroupId, SequenceId},
    scheduler::{Onward, Scheduler, StepOutcome},
    sequence::{Continuation, Rules, Sequence},
};

/// A step as it is taken.
pub(super) struct Taken {
    choices: Vec<Choice>,
    continuations: Vec<Continuation>,
    /// What the matchers made of the continuations; nothing for a free group.
    answers: Vec<Answer>,
    num_vetoed: usize,
    /// Whether the group had no tokens before.
    is_first: bool,
}

impl RunningGroup {
    /// Leaves out what a beam search does not keep: finished beams that were outdone, and beams
    /// that ended up with another token than it had chosen.
    pub(super) fn take(
        &mut self,
        selected: Selected,
        answers: Vec<Answer>,
        is_first: bool,
    ) -> Taken {
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

    /// Adds a step's tokens to the sequences; says how the group goes on, and what the step
    /// brought.
    pub(super) fn grow(
        &mut self,
        scheduler: &mut Scheduler,
        id: GroupId,
        taken: &Taken,
    ) -> Option<(Onward, Outcome)> {
        let (admitted, prompt) = (Arc::clone(&self.admitted), self.prompt);
        let is_beam = admitted.beam_width().is_some();
        let mut reasons = Vec::new();
        let mut outcome = Outcome { num_vetoed: taken.num_vetoed, ..Outcome::default() };
        let say = |index: usize, sequence: &mut Sequence| {
            if taken.is_first && !is_beam {
                sequence.set_index(index);
            }
            let rules = Rules {
                eos: &admitted.params.eos,
                max_tokens: admitted.max_tokens,
                is_finished: taken.answers.get(index).is_some_and(|answer| answer.is_finished),
            };
            let said =
                sequence.say(&taken.continuations[index].tokens, &taken.choices[index], &rules);
            outcome.tokens_each = outcome.tokens_each.max(said.num_tokens);
            outcome.num_tokens += said.num_tokens;
            outcome.num_jump_forward += said.num_jump_forward;
            if !is_beam && !said.text.is_empty() {
                let output = OutputId { prompt, index: sequence.transcript().index() };
                outcome.texts.push((output, said.text, sequence.take_unshown()));
            }
            reasons.extend(said.finish);
            said.finish.is_none()
        };
        let StepOutcome { ended, onward } = scheduler.advance(id, &taken.continuations, say)?;
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

/// The items at these places, in their own order.
fn pick<T>(items: Vec<T>, indices: &[usize]) -> Vec<T> {
    let is_picked = |(index, _): &(usize, T)| indices.contains(index);
    items.into_iter().enumerate().filter(is_picked).map(|(_, item)| item).collect()
}

/// Leaves out the beams that ended up with another token than the search had chosen, but keeps
/// `wanted` in all, and none twice. Returns which are kept.
///
/// The token that was taken instead was not weighed against the others. Best first, so the best of
/// the vetoed ones stay where some must.
fn without_vetoed(steps: &[(SequenceId, &Answer)], wanted: usize) -> Vec<usize> {
    let is_good = |index: &usize| !steps[*index].1.is_vetoed;
    let mut kept: Vec<usize> = (0..steps.len()).filter(is_good).collect();
    for (index, (parent, answer)) in steps.iter().enumerate() {
        let is_same = |other: &usize| {
            let (other_parent, other) = &steps[*other];
            other_parent == parent && other.tokens == answer.tokens
        };
        if answer.is_vetoed && kept.len() < wanted.max(1) && !kept.iter().any(is_same) {
            kept.push(index);
        }
    }
    kept.sort_unstable();
    kept
}
