//! A prompt's running outputs: what the last stage is told about them, and who goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sluicegate_spec::units::TokenId;

use super::{
    output::{Output, OutputId},
    request::Admitted,
    step::{Outcome, Selected},
};
use crate::{
    messages::{
        Choice, GroupSampling, MaskRule, RandomKey, RequestId, RowSampling, SequenceId, Stamp,
        TokenCount,
    },
    scheduler::SampledGroup,
    sequence::{Candidate, FinishReason, Kept, Sequence, select},
};

/// One group of the scheduler, with what the scheduler does not know.
#[derive(Debug)]
pub(super) struct RunningGroup {
    pub(super) request: RequestId,
    pub(super) prompt: usize,
    pub(super) admitted: Arc<Admitted>,
    /// Whether nothing of it has been ordered yet.
    pub(super) is_waiting: bool,
    /// Beams that have finished, with their reasons.
    pub(super) finished: Vec<(Sequence, FinishReason)>,
    /// A step whose matchers are at work.
    pub(super) stepping: Option<Selected>,
    /// When its last tokens came.
    last_token: Option<Duration>,
}

impl RunningGroup {
    pub(super) fn new(request: RequestId, prompt: usize, admitted: Arc<Admitted>) -> Self {
        Self {
            request,
            prompt,
            admitted,
            is_waiting: true,
            finished: Vec::new(),
            stepping: None,
            last_token: None,
        }
    }

    /// A group for one of several samples.
    pub(super) fn split(&self) -> Self {
        let admitted = Arc::clone(&self.admitted);
        let last_token = self.last_token;
        Self { is_waiting: false, last_token, ..Self::new(self.request, self.prompt, admitted) }
    }

    /// Takes note of tokens that have come; returns how long after the ones before.
    pub(super) fn note_token(&mut self, now: Duration) -> Option<Duration> {
        self.last_token.replace(now).map(|before| now.saturating_sub(before))
    }

    /// Sequences that a step has made whose matchers are at work.
    pub(super) fn children(&self) -> impl Iterator<Item = SequenceId> {
        self.stepping.iter().flat_map(|it| &it.continuations).map(|it| it.child)
    }

    /// What the last stage needs to sample the group's rows.
    pub(super) fn sampling(&self, sampled: &SampledGroup, rows: &[Sequence]) -> GroupSampling {
        let rows = rows.iter().map(|row| RowSampling {
            mask: self.mask_rule(sampled, row.id()),
            step: sampled.step,
            counts: self.counts(row),
            draws: self.draws(row, sampled.step),
        });
        GroupSampling {
            group: sampled.group,
            logit_rows: sampled.logit_rows.clone(),
            params: Arc::clone(&self.admitted.params),
            rows: rows.collect(),
        }
    }

    /// Weighs what the last stage chose against what the group has: the choices that go on, best
    /// first of beams, and the finished beams that stay among the best. Rows that are not there
    /// have no choices.
    pub(super) fn select(
        &self,
        choices: Vec<Choice>,
        rows: &[Sequence],
    ) -> (Vec<Choice>, Vec<usize>) {
        let choices = choices.into_iter().filter(|choice| (choice.row as usize) < rows.len());
        let Some(width) = self.admitted.beam_width() else {
            return (choices.collect(), Vec::new());
        };
        let penalty = self.admitted.length_penalty;
        let rank = |(beam, _): &(Sequence, FinishReason)| beam.transcript().rank(penalty);
        let finished: Vec<f64> = self.finished.iter().map(rank).collect();
        let mut choices: Vec<Option<Choice>> = choices.map(Some).collect();
        let candidate = |choice: &Choice| {
            let transcript = rows[choice.row as usize].transcript();
            let rank = transcript.rank_with(choice.token.log_probability, penalty);
            Candidate { row: choice.row, token: choice.token.id, rank }
        };
        let candidates: Vec<Candidate> = choices.iter().flatten().map(candidate).collect();
        let (mut selected, mut stay) = (Vec::new(), Vec::new());
        for kept in select(width, &finished, &candidates) {
            match kept {
                Kept::Finished(index) => stay.push(index),
                Kept::Continued(index) => selected.extend(choices[index].take()),
            }
        }
        (selected, stay)
    }

    /// The best finished beams become the outputs.
    pub(super) fn rank_beams(&mut self, outcome: &mut Outcome) {
        let mut ranked = std::mem::take(&mut self.finished);
        let penalty = self.admitted.length_penalty;
        let rank = |(beam, _): &(Sequence, FinishReason)| beam.transcript().rank(penalty);
        ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        ranked.truncate(self.admitted.samples);
        for (index, (mut beam, reason)) in ranked.into_iter().enumerate() {
            let tokens = beam.take_unshown();
            let output = Output::of(beam, OutputId { prompt: self.prompt, index }, reason);
            if !output.text.is_empty() {
                outcome.texts.push((output.id, output.text.clone(), tokens));
            }
            outcome.outputs.push(output);
        }
    }

    fn mask_rule(&self, sampled: &SampledGroup, sequence: SequenceId) -> MaskRule {
        if !self.admitted.is_constrained {
            return MaskRule::Free;
        }
        let SampledGroup { step, epoch, .. } = *sampled;
        MaskRule::Required(Stamp { sequence, step, epoch })
    }

    /// Counted anew from the row's own tokens, so that they follow ancestors by themselves.
    fn counts(&self, row: &Sequence) -> Vec<TokenCount> {
        if self.admitted.params.penalties.is_none() {
            return Vec::new();
        }
        let prompt = row.prompt().iter().map(|token| (*token, 0));
        let mut counts: BTreeMap<TokenId, u32> = prompt.collect();
        for token in row.generated() {
            *counts.entry(*token).or_default() += 1;
        }
        counts.into_iter().map(|(token, in_output)| TokenCount { token, in_output }).collect()
    }

    /// One draw for a running sample; the first step draws for all samples from one row.
    fn draws(&self, row: &Sequence, step: u32) -> Vec<RandomKey> {
        let samples = match (self.admitted.beam_width(), step) {
            (Some(_), _) => 0..0,
            (None, 0) => 0..self.admitted.samples,
            (None, _) => row.transcript().index()..row.transcript().index() + 1,
        };
        let key = |sample| RandomKey {
            seed: self.admitted.seed,
            prompt: self.prompt as u64,
            sample: sample as u64,
            step: u64::from(step),
        };
        samples.map(key).collect()
    }
}
