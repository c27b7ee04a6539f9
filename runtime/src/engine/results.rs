//! Tokens on their way back: matchers advance, text grows, outputs end.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sluicegate_core::scheduler::{GroupId, MicrobatchId};
use sluicegate_model::placed::{Placed, Site};
use sluicegate_spec::device::DeviceId;

use super::{
    core::Core,
    error::{EngineFailure, GenerationError},
    groups::Selected,
    step::StepOutcome,
};
use crate::{
    device::Sampled,
    masker::Advancing,
    pipeline::{Interval, PipelineEvent, StageTimes},
    request::RequestId,
    sampler::{Choice, GroupChoices, MaskError, RowError},
};

/// A step of a group that waits for its matchers, if it has any.
struct Step {
    selected: Selected,
    advancing: Option<Advancing>,
}

impl Core {
    pub(super) fn sampled(&mut self, sampled: Placed<Sampled>) -> Result<(), EngineFailure> {
        let site =
            Site { operation: "advance", unit: None, with: "sequences", device: DeviceId::Host };
        let began = Instant::now();
        let Sampled { microbatch, groups, times, mask_times, .. } = sampled.take(&site)?;
        self.scheduler.retire(microbatch);
        let mask_exposed = mask_times.exposed();
        self.measure(microbatch, &times, mask_exposed);
        if mask_times.awaited.is_some() {
            self.tally.add_mask_exposed(mask_exposed);
        }
        let request_of = |group: &GroupChoices| Some(self.groups.get(&group.group)?.request);
        let requests: BTreeSet<RequestId> = groups.iter().filter_map(request_of).collect();
        for request in requests {
            if let Some(running) = self.requests.get_mut(&request) {
                running.add_mask_exposed(mask_exposed);
            }
        }
        // All matchers are on their way before the first is waited for: a wait for each would be the
        // longest part of a step where the processor is busy.
        let mut steps = Vec::with_capacity(groups.len());
        for GroupChoices { group, choices } in groups {
            let step = match choices {
                Ok(choices) => Ok(self.begin_step(group, choices)?),
                Err(error) => Err(error),
            };
            steps.push((group, step));
        }
        for (group, step) in steps {
            // A cancelled group's tokens are nobody's.
            let Some(request) = self.groups.get(&group).map(|group| group.request) else {
                continue;
            };
            let advanced = match step {
                Ok(Some(step)) => self.advance(group, step)?,
                Ok(None) => Ok(()),
                Err(error) => Err(self.row_failure(group, error)),
            };
            if let Err(error) = advanced {
                self.fail(request, error);
            }
        }
        if let Some(recorder) = &mut self.recorder {
            recorder.came_back(microbatch, &times, &mask_times, Interval::since(began));
        }
        Ok(())
    }

    /// Learns from what a microbatch took, and adapts how many are in flight.
    fn measure(&mut self, id: MicrobatchId, times: &[StageTimes], mask_exposed: Duration) {
        let Some((num_rows, sent)) = self.sent.remove(&id) else { return };
        let seconds = |times: &StageTimes| (times.ended - times.started).as_secs_f64();
        let mut stage_s: Vec<f64> = times.iter().map(seconds).collect();
        if let Some(last) = stage_s.last_mut() {
            *last -= mask_exposed.as_secs_f64();
        }
        self.depth.observe(num_rows, &stage_s, sent.elapsed().as_secs_f64());
        let current = self.scheduler.config().max_in_flight;
        let best = self.depth.best(self.scheduler.num_decoding_rows(), current);
        if best != current {
            tracing::debug!(from = current, to = best, "microbatches in flight");
            self.scheduler.set_max_in_flight(best);
        }
    }

    /// Mask workers that are gone have said why.
    fn masker_failure(&self) -> EngineFailure {
        let mut events = self.pipeline.events().try_iter();
        let failure = events.find_map(|event| match event {
            PipelineEvent::MaskerFailed(failure) => Some(failure),
            _ => None,
        });
        failure.map_or(EngineFailure::Disconnected, EngineFailure::from)
    }

    /// Lets the group's matchers advance by what was chosen; none for a group that is gone.
    fn begin_step(
        &self,
        group_id: GroupId,
        choices: Vec<Choice>,
    ) -> Result<Option<Step>, EngineFailure> {
        let Some(group) = self.groups.get(&group_id) else { return Ok(None) };
        let selected = group.select(choices);
        let advancing = if group.admitted.constraint.is_some() {
            let advancing = self.masker.advance(group_id, selected.choices.clone());
            Some(advancing.ok_or_else(|| self.masker_failure())?)
        } else {
            None
        };
        Ok(Some(Step { selected, advancing }))
    }

    fn advance(
        &mut self,
        group_id: GroupId,
        Step { selected, advancing }: Step,
    ) -> Result<Result<(), GenerationError>, EngineFailure> {
        let advanced = match advancing {
            None => Vec::new(),
            Some(advancing) => advancing.wait().ok_or_else(|| self.masker_failure())?,
        };
        let Some(group) = self.groups.get_mut(&group_id) else { return Ok(Ok(())) };
        let is_first = group.is_first_step();
        let request = group.request;
        let outcome = match group.take(&selected, advanced) {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error)),
        };
        let has_ended = outcome.children.is_empty();
        if has_ended {
            self.drop_group(group_id);
        } else if group.is_to_split() {
            self.split(group_id, &outcome);
        } else {
            if group.admitted.constraint.is_some() {
                self.masker.keep(group_id, outcome.kept_matchers.clone());
            }
            self.scheduler.advance(group_id, &outcome.children);
        }
        let Some(running) = self.requests.get_mut(&request) else { return Ok(Ok(())) };
        self.links.ledger().count_tokens(outcome.num_forced, outcome.num_vetoed);
        running.count(&outcome, is_first);
        let is_heard = running.send(outcome);
        if has_ended {
            running.groups.retain(|group| *group != group_id);
        }
        if !is_heard {
            self.cancel(request);
        } else if running.groups.is_empty()
            && let Some(running) = self.requests.remove(&request)
        {
            self.tally.finished += 1;
            self.tally.add_usage(running.finish());
        }
        Ok(Ok(()))
    }

    /// Lets each of a group's samples go on as a group of its own.
    fn split(&mut self, group_id: GroupId, outcome: &StepOutcome) {
        let Some(group) = self.groups.remove(&group_id) else { return };
        let children = self.scheduler.fork(group_id, &outcome.children);
        let matchers = children.iter().copied().zip(outcome.kept_matchers.iter().copied());
        self.masker.fork(group_id, matchers.collect());
        if let Some(running) = self.requests.get_mut(&group.request) {
            running.replace(group_id, &children);
        }
        self.groups.extend(children.into_iter().zip(group.split()));
    }

    /// A mask that is missing because its matcher failed is reported as that.
    fn row_failure(&mut self, group: GroupId, error: RowError) -> GenerationError {
        let prompt = self.groups.get(&group).map_or(0, |group| group.prompt);
        match (self.mask_failures.remove(&group), &error) {
            (Some(failure), RowError::Mask(MaskError::Missing { .. })) => {
                GenerationError::of_matcher(prompt, failure)
            }
            _ => GenerationError::Row { prompt, source: error },
        }
    }
}
