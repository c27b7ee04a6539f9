//! A prompt's running outputs: what the last stage is told about them, and what becomes of them.

use std::{collections::BTreeMap, sync::Arc};

use sluicegate_core::scheduler::{
    Child,
    beam::{self, Candidate, Kept},
    order::SampledGroup,
};
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_spec::units::TokenId;

use super::{
    admission::AdmittedRequest,
    error::GenerationError,
    rows::Row,
    step::{Grown, StepOutcome, drop_vetoed},
};
use crate::{
    masker::{Advanced, AdvancedRows},
    request::RequestId,
    sampler::{Choice, GroupSampling, MaskRule, Method, RandomKey, RowSampling, Stamp, TokenCount},
    stream::{FinishReason, OutputId, Token},
};

/// One group of the scheduler, with what the scheduler does not know.
#[derive(Debug)]
pub(super) struct RunningGroup {
    pub(super) request: RequestId,
    pub(super) prompt: usize,
    pub(super) admitted: Arc<AdmittedRequest>,
    /// Whether nothing of it has been ordered yet.
    pub(super) is_waiting: bool,
    rows: Vec<Row>,
    /// Beams that have finished, with their reasons.
    finished: Vec<(Row, FinishReason)>,
}

/// What a group goes on with, before its matchers have said what they make of it.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) choices: Vec<Choice>,
    /// Which of the finished beams stay among the best.
    finished: Vec<usize>,
}

impl RunningGroup {
    pub(super) fn new(
        request: RequestId,
        prompt: usize,
        admitted: Arc<AdmittedRequest>,
        tokenizer: &Tokenizer,
    ) -> Self {
        let row = Row::new(tokenizer, &admitted.stop, admitted.keeps_tokens);
        Self { request, prompt, admitted, is_waiting: true, rows: vec![row], finished: Vec::new() }
    }

    /// What the last stage needs to sample the group's rows.
    pub(super) fn sampling(&self, sampled: &SampledGroup) -> GroupSampling {
        let rows = self.rows.iter().zip(0..).map(|(row, row_idx)| RowSampling {
            mask: self.mask_rule(sampled, row_idx),
            step: sampled.step,
            score: row.score,
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

    /// Weighs what the last stage chose against what the group has.
    pub(super) fn select(&self, choices: Vec<Choice>) -> Selected {
        let Method::Beam { width } = self.admitted.params.method else {
            return Selected { choices, finished: Vec::new() };
        };
        let penalty = self.admitted.length_penalty;
        let finished: Vec<f64> = self.finished.iter().map(|(row, _)| row.rank(penalty)).collect();
        let candidate = |choice: &Choice| {
            let Choice { parent, token, log_probability, .. } = *choice;
            let row = &self.rows[parent];
            Candidate { parent, token, score: row.rank_with(row.score + log_probability, penalty) }
        };
        let candidates: Vec<Candidate> = choices.iter().map(candidate).collect();
        let mut selected = Selected { choices: Vec::new(), finished: Vec::new() };
        for kept in beam::select(width, &finished, &candidates) {
            match kept {
                Kept::Finished(index) => selected.finished.push(index),
                Kept::Continued(Candidate { parent, token, .. }) => {
                    let is_it = |it: &&Choice| (it.parent, it.token) == (parent, token);
                    selected.choices.extend(choices.iter().find(is_it).cloned());
                }
            }
        }
        selected
    }

    /// Takes a step: what was selected, and how the matchers went on with it; they say nothing for a
    /// free group.
    ///
    /// # Errors
    /// [`GenerationError::Constraint`] if a matcher refuses a token that its mask had allowed.
    pub(super) fn take(
        &mut self,
        selected: &Selected,
        advanced: AdvancedRows,
    ) -> Result<StepOutcome, GenerationError> {
        if self.is_beam_search() {
            self.take_beams(selected, advanced)
        } else {
            self.take_samples(&selected.choices, advanced)
        }
    }

    /// Makes a group of each row: samples need not step together.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        let Self { request, prompt, admitted, is_waiting, rows, .. } = self;
        rows.into_iter().map(move |row| {
            let (admitted, rows) = (Arc::clone(&admitted), vec![row]);
            Self { request, prompt, admitted, is_waiting, rows, finished: Vec::new() }
        })
    }

    /// Whether the rows are samples, and there are several.
    pub(super) fn is_to_split(&self) -> bool {
        !self.is_beam_search() && self.rows.len() > 1
    }

    pub(super) fn is_beam_search(&self) -> bool {
        matches!(self.admitted.params.method, Method::Beam { .. })
    }

    /// Whether the group has no tokens yet.
    pub(super) fn is_first_step(&self) -> bool {
        self.finished.is_empty() && self.rows.iter().all(|row| row.token_ids.is_empty())
    }

    fn take_samples(
        &mut self,
        choices: &[Choice],
        advanced: AdvancedRows,
    ) -> Result<StepOutcome, GenerationError> {
        let is_first = self.is_first_step();
        let mut grown = self.grow(choices, advanced)?;
        if is_first {
            for (index, grown) in grown.iter_mut().enumerate() {
                grown.row.index = index;
            }
        }
        let mut outcome = StepOutcome::of(&grown);
        self.rows.clear();
        for Grown { mut row, child, text, finish, matcher, .. } in grown {
            let id = OutputId { prompt: self.prompt, index: row.index };
            if !text.is_empty() {
                outcome.texts.push((id, (text, row.take_unshown())));
            }
            if let Some(reason) = finish {
                outcome.outputs.push(row.into_output(id, reason));
                continue;
            }
            self.rows.push(row);
            outcome.children.push(child);
            outcome.kept_matchers.extend(matcher);
        }
        Ok(outcome)
    }

    fn take_beams(
        &mut self,
        selected: &Selected,
        advanced: AdvancedRows,
    ) -> Result<StepOutcome, GenerationError> {
        let mut grown = self.grow(&selected.choices, advanced)?;
        let still = selected.finished.iter().map(|index| self.finished[*index].clone());
        let still_finished: Vec<(Row, FinishReason)> = still.collect();
        let num_vetoed = grown.iter().filter(|grown| grown.is_vetoed).count();
        drop_vetoed(&mut grown, self.admitted.samples.saturating_sub(still_finished.len()));
        self.finished = still_finished;
        self.rows.clear();
        let mut outcome = StepOutcome { num_vetoed, ..StepOutcome::of(&grown) };
        for Grown { row, child, finish, matcher, .. } in grown {
            if let Some(reason) = finish {
                self.finished.push((row, reason));
                continue;
            }
            self.rows.push(row);
            outcome.children.push(child);
            outcome.kept_matchers.extend(matcher);
        }
        if outcome.children.is_empty() {
            self.rank_beams(&mut outcome);
        }
        Ok(outcome)
    }

    /// The best finished beams become the outputs.
    fn rank_beams(&mut self, outcome: &mut StepOutcome) {
        let mut ranked = std::mem::take(&mut self.finished);
        let penalty = self.admitted.length_penalty;
        ranked.sort_by(|(a, _), (b, _)| b.rank(penalty).total_cmp(&a.rank(penalty)));
        ranked.truncate(self.admitted.samples);
        for (index, (mut row, reason)) in ranked.into_iter().enumerate() {
            let tokens = row.take_unshown();
            let output = row.into_output(OutputId { prompt: self.prompt, index }, reason);
            if !output.text.is_empty() {
                outcome.texts.push((output.id, (output.text.clone(), tokens)));
            }
            outcome.outputs.push(output);
        }
    }

    /// Continues a row for each choice and says which of them are finished.
    fn grow(
        &self,
        choices: &[Choice],
        advanced: AdvancedRows,
    ) -> Result<Vec<Grown>, GenerationError> {
        let advanced = match self.admitted.constraint {
            Some(_) => self.answered(choices.len(), advanced)?,
            None => Vec::new(),
        };
        let mut advanced = advanced.into_iter().enumerate();
        let mut grown = Vec::with_capacity(choices.len());
        for choice in choices {
            let (matcher, advanced) = advanced.next().unzip();
            let failed = |failure| GenerationError::of_matcher(self.prompt, failure);
            let advanced = advanced.transpose().map_err(failed)?;
            grown.push(self.grow_one(choice, matcher, advanced));
        }
        Ok(grown)
    }

    /// A row that its matcher said nothing about does not pass for a free one.
    fn answered(
        &self,
        wanted: usize,
        advanced: AdvancedRows,
    ) -> Result<AdvancedRows, GenerationError> {
        if advanced.len() == wanted {
            return Ok(advanced);
        }
        let message = format!("it answered for {} rows of {wanted}", advanced.len()).into();
        Err(GenerationError::MaskWorker { prompt: self.prompt, message })
    }

    fn grow_one(
        &self,
        choice: &Choice,
        matcher: Option<usize>,
        advanced: Option<Advanced>,
    ) -> Grown {
        let free = || Advanced { tokens: vec![choice.token], is_finished: false, is_vetoed: false };
        let Advanced { mut tokens, is_finished, is_vetoed } = advanced.unwrap_or_else(free);
        let mut row = self.rows[choice.parent].clone();
        row.add_score(choice.log_probability);
        let mut text = String::new();
        let mut finish = None;
        let num_tokens = tokens.len();
        for (token_idx, &id) in tokens.iter().enumerate() {
            // What must follow is certain.
            let (log_probability, likeliest) = match token_idx {
                0 => (choice.log_probability, choice.likeliest.clone()),
                _ => (0.0, Vec::new()),
            };
            let is_finished = is_finished && token_idx + 1 == num_tokens;
            let token = Token { id, log_probability, likeliest };
            let (piece, reason) = self.add(&mut row, token, is_finished);
            text.push_str(&piece);
            if reason.is_some() {
                finish = reason;
                tokens.truncate(token_idx + 1);
                break;
            }
        }
        if tokens.is_empty() && is_finished {
            text = row.finish();
            finish = Some(FinishReason::Constraint);
        }
        let child = Child { parent: choice.parent, tokens };
        Grown { row, child, text, finish, matcher, is_vetoed }
    }

    fn add(
        &self,
        row: &mut Row,
        token: Token,
        is_finished: bool,
    ) -> (String, Option<FinishReason>) {
        if self.admitted.params.eos.contains(&token.id) {
            return (row.finish(), Some(FinishReason::EndToken));
        }
        let (mut text, is_stopped) = row.push(token);
        let reason = if is_finished {
            FinishReason::Constraint
        } else if is_stopped {
            FinishReason::StopString
        } else if row.token_ids.len() >= self.admitted.max_tokens {
            FinishReason::Length
        } else {
            return (text, None);
        };
        text.push_str(&row.finish());
        (text, Some(reason))
    }

    fn mask_rule(&self, sampled: &SampledGroup, row: u32) -> MaskRule {
        if self.admitted.constraint.is_none() {
            return MaskRule::Free;
        }
        let SampledGroup { group, step, epoch, .. } = *sampled;
        MaskRule::Required(Stamp { group, row, step, epoch })
    }

    /// Counted anew from the row's own tokens, so that they follow ancestors by themselves.
    fn counts(&self, row: &Row) -> Vec<TokenCount> {
        if self.admitted.params.penalties.is_none() {
            return Vec::new();
        }
        let prompt = &self.admitted.prompts[self.prompt];
        let mut counts: BTreeMap<TokenId, u32> = prompt.iter().map(|token| (*token, 0)).collect();
        for token in &row.token_ids {
            *counts.entry(*token).or_default() += 1;
        }
        counts.into_iter().map(|(token, in_output)| TokenCount { token, in_output }).collect()
    }

    /// One draw for a running sample; the first step draws for all samples from one row.
    fn draws(&self, row: &Row, step: u32) -> Vec<RandomKey> {
        let samples = match (self.admitted.params.method, step) {
            (Method::Beam { .. }, _) => 0..0,
            (_, 0) => 0..self.admitted.samples,
            _ => row.index..row.index + 1,
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
