//! The host: requests, their groups and their ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use sluicegate_spec::units::TokenId;

use super::{
    error::SimulationError,
    outputs::Outputs,
    request::SimulatedRequest,
    run::{EndReason, RequestEnd},
};
use crate::scheduler::{GroupId, MicrobatchOrder, Scheduler, order::SampledGroup};

#[derive(Debug)]
pub(super) struct Host {
    pub(super) scheduler: Scheduler,
    requests: Vec<Rc<SimulatedRequest>>,
    running: BTreeMap<usize, RunningRequest>,
    groups: BTreeMap<GroupId, RunningGroup>,
    pub(super) ends: Vec<Option<RequestEnd>>,
    pub(super) token_s: Vec<f64>,
    /// All that were sampled.
    pub(super) num_tokens: usize,
    pub(super) turns: u64,
}

#[derive(Debug, Default)]
struct RunningRequest {
    groups: BTreeSet<GroupId>,
    ended: Vec<(usize, Vec<TokenId>)>,
    first_token_s: Option<f64>,
    first_turn: u64,
}

#[derive(Debug)]
struct RunningGroup {
    request: usize,
    outputs: Outputs,
    /// When its last token came.
    token_at_s: Option<f64>,
}

impl Host {
    pub(super) fn new(scheduler: Scheduler, requests: &[SimulatedRequest]) -> Self {
        Self {
            scheduler,
            requests: requests.iter().cloned().map(Rc::new).collect(),
            running: BTreeMap::new(),
            groups: BTreeMap::new(),
            ends: vec![None; requests.len()],
            token_s: Vec::new(),
            num_tokens: 0,
            turns: 0,
        }
    }

    /// Takes a request in, or refuses it.
    pub(super) fn submit(&mut self, request: usize, now_s: f64) -> Result<(), SimulationError> {
        let asked = Rc::clone(&self.requests[request]);
        let job = asked.job();
        let mut running = RunningRequest { first_turn: self.turns, ..RunningRequest::default() };
        if self.scheduler.config().check(&job).is_err() {
            return self.end(request, running, (EndReason::Refused, now_s));
        }
        let id = self.scheduler.submit(job);
        let outputs = Outputs::new(asked);
        self.groups.insert(id, RunningGroup { request, outputs, token_at_s: None });
        running.groups.insert(id);
        self.running.insert(request, running);
        Ok(())
    }

    /// Lets a caller go away, at any time.
    pub(super) fn cancel(&mut self, request: usize, now_s: f64) -> Result<(), SimulationError> {
        let Some(running) = self.running.remove(&request) else { return Ok(()) };
        for group in &running.groups {
            self.groups.remove(group);
            self.scheduler.remove(*group);
        }
        self.end(request, running, (EndReason::Cancelled, now_s))
    }

    /// Rows of a microbatch that need masks.
    pub(super) fn num_masks(&self, order: &MicrobatchOrder) -> usize {
        let constrained = order.sampled.iter().filter(|sampled| {
            let group = self.groups.get(&sampled.group);
            group.is_some_and(|group| self.requests[group.request].is_constrained)
        });
        constrained.map(|sampled| sampled.logit_rows.len()).sum()
    }

    /// Takes what the last stage found for each group.
    pub(super) fn sampled(
        &mut self,
        order: &MicrobatchOrder,
        logits: &[u64],
        now_s: f64,
    ) -> Result<(), SimulationError> {
        self.scheduler.retire(order.id);
        for sampled in &order.sampled {
            self.advance(sampled, &logits[sampled.logit_rows.clone()], now_s)?;
        }
        Ok(())
    }

    fn advance(
        &mut self,
        sampled: &SampledGroup,
        values: &[u64],
        now_s: f64,
    ) -> Result<(), SimulationError> {
        let id = sampled.group;
        // A cancelled group's tokens are nobody's.
        let Some(mut group) = self.groups.remove(&id) else { return Ok(()) };
        check_step(&group.outputs, sampled)?;
        let request = group.request;
        let step = group.outputs.take(values);
        self.num_tokens += step.num_tokens;
        let before_s = group.token_at_s.replace(now_s);
        if let Some(before_s) = before_s {
            let share_s = (now_s - before_s) / step.num_tokens as f64;
            self.token_s.extend(std::iter::repeat_n(share_s, step.num_tokens));
        }
        let Some(running) = self.running.get_mut(&request) else { return Ok(()) };
        running.first_token_s.get_or_insert(now_s);
        running.ended.extend(step.ended);
        running.groups.remove(&id);
        if step.is_split {
            let children = self.scheduler.fork(id, &step.children);
            running.groups.extend(&children);
            let split = group.outputs.split().map(|outputs| RunningGroup {
                request,
                outputs,
                token_at_s: Some(now_s),
            });
            self.groups.extend(children.into_iter().zip(split));
        } else {
            self.scheduler.advance(id, &step.children);
            if !step.children.is_empty() {
                running.groups.insert(id);
                self.groups.insert(id, group);
            }
        }
        if running.groups.is_empty()
            && let Some(running) = self.running.remove(&request)
        {
            self.end(request, running, (EndReason::Finished, now_s))?;
        }
        Ok(())
    }

    fn end(
        &mut self,
        request: usize,
        mut running: RunningRequest,
        (reason, end_s): (EndReason, f64),
    ) -> Result<(), SimulationError> {
        running.ended.sort_unstable();
        let end = RequestEnd {
            reason,
            arrival_s: self.requests[request].arrival_s,
            first_token_s: running.first_token_s,
            end_s,
            turns: self.turns - running.first_turn,
            outputs: running.ended.into_iter().map(|(_, tokens)| tokens).collect(),
        };
        match self.ends[request].replace(end) {
            None => Ok(()),
            Some(_) => Err(SimulationError::EndedTwice { request }),
        }
    }
}

/// The scheduler and the engine count steps and rows each for itself.
fn check_step(outputs: &Outputs, sampled: &SampledGroup) -> Result<(), SimulationError> {
    let (wanted_step, wanted_rows) = outputs.step_and_rows();
    let (found_step, found_rows) = (sampled.step as usize, sampled.logit_rows.len());
    if (wanted_step, wanted_rows) == (found_step, found_rows) {
        return Ok(());
    }
    let group = sampled.group;
    Err(SimulationError::Sampled { group, wanted_step, wanted_rows, found_step, found_rows })
}
