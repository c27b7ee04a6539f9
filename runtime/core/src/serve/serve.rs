//! The loop: an input in, actions out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use sluicegate_spec::tokens::TokenTable;

use super::{
    action::{Action, Stop},
    group::RunningGroup,
    input::{Input, MatcherError},
    limits::{Limits, Restarts},
    metrics::Tally,
    output::RequestError,
    patience::Patience,
    request::Admitted,
    rounds::Rounds,
    running::RunningRequest,
};
use crate::{
    messages::{Batch, GroupId, GroupSampling, MicrobatchId, RequestId, SequenceId},
    scheduler::{Depth, OrderBounds, Scheduler, SchedulerConfig},
    sequence::Sequence,
};

/// What a loop is made from.
#[derive(Debug, Clone)]
pub struct ServeConfig {
    pub scheduler: SchedulerConfig,
    /// Microbatches in flight at most, where what is measured says that more are better; without it
    /// there are always as many as the scheduler's configuration says.
    pub max_depth: Option<usize>,
    pub bounds: OrderBounds,
    pub limits: Limits,
    /// What tokens stand for.
    pub vocabulary: TokenTable,
}

/// The serving loop. See the [module](super).
#[derive(Debug)]
pub struct Serve {
    pub(super) config: ServeConfig,
    pub(super) scheduler: Scheduler,
    pub(super) depth: Option<Depth>,
    pub(super) requests: BTreeMap<RequestId, RunningRequest>,
    pub(super) groups: BTreeMap<GroupId, RunningGroup>,
    /// Sequences that have matchers, and why the mask of one could not be computed, until its row
    /// fails at the last stage.
    pub(super) matchers: BTreeMap<SequenceId, Option<MatcherError>>,
    pub(super) patience: Patience,
    /// Microbatches in flight, and when they were sent.
    pub(super) sent: BTreeMap<MicrobatchId, Duration>,
    pub(super) rounds: Rounds,
    pub(super) restarts: Restarts,
    /// How often the stages were started.
    pub(super) incarnation: u32,
    /// Whether the stages are being restarted.
    pub(super) is_down: bool,
    pub(super) tally: Tally,
    /// Until when running requests may go on, once no others are taken.
    pub(super) closing: Option<Duration>,
    /// Prompts that have stopped waiting since that was last asked.
    num_left_waiting: usize,
    pub(super) actions: Vec<Action>,
}

impl Serve {
    pub fn new(config: ServeConfig) -> Self {
        Self {
            scheduler: Scheduler::new(config.scheduler.clone()),
            depth: config.max_depth.map(|most| Depth::new(config.scheduler.num_stages, most)),
            config,
            requests: BTreeMap::new(),
            groups: BTreeMap::new(),
            matchers: BTreeMap::new(),
            patience: Patience::default(),
            sent: BTreeMap::new(),
            rounds: Rounds::default(),
            restarts: Restarts::default(),
            incarnation: 1,
            is_down: false,
            tally: Tally::default(),
            closing: None,
            num_left_waiting: 0,
            actions: Vec::new(),
        }
    }

    /// Takes an input, at a moment counted from the engine's start; what is to be done is added
    /// to `actions`. Moments do not go back.
    pub fn on(&mut self, now: Duration, input: Input, actions: &mut Vec<Action>) {
        std::mem::swap(&mut self.actions, actions);
        self.patience.expire(now);
        match input {
            Input::Submitted { request, admitted } => self.submit(request, &admitted, now),
            Input::Cancelled(request) => self.cancel(request),
            Input::Sampled(sampled) => self.sampled(sampled, now),
            Input::Timed { microbatch, stage, took } => {
                let round = self.rounds.timed(microbatch, stage, took);
                self.measure(round);
            }
            Input::Advanced { group, answers } => self.advanced(group, answers, now),
            Input::MaskFailed { sequence, error } => {
                if let Some(failure) = self.matchers.get_mut(&sequence) {
                    failure.get_or_insert(error);
                }
            }
            Input::StageLost { microbatch, may_pass } => self.recover(microbatch, may_pass, now),
            Input::Restarted => self.is_down = false,
            Input::Closing { deadline } => self.closing = Some(deadline),
            Input::TimePassed => self.end_waits(now),
        }
        self.send_ready(now);
        let is_late = self.closing.is_some_and(|deadline| deadline <= now);
        if is_late || self.closing.is_some() && self.requests.is_empty() {
            self.actions.push(Action::Stop(Stop::Closed));
        }
        std::mem::swap(&mut self.actions, actions);
    }

    /// Ends every request that still runs; what the loop is told last. Nothing is to be done any
    /// more: who drives it tells the callers.
    pub fn end_all(&mut self) {
        let running: Vec<RequestId> = self.requests.keys().copied().collect();
        for request in running {
            self.fail(request, RequestError::ShutDown);
        }
        self.actions.clear();
    }

    /// How many prompts have stopped waiting, begun or not, since this was last asked.
    pub fn take_left_waiting(&mut self) -> usize {
        std::mem::take(&mut self.num_left_waiting)
    }

    pub fn config(&self) -> &ServeConfig {
        &self.config
    }

    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    /// Whether something is held back for matchers that are at work.
    pub fn waits_for_matchers(&self) -> bool {
        !self.patience.lets_go(|| false)
    }

    /// The request that a group belongs to, while it runs.
    pub fn request_of(&self, group: GroupId) -> Option<RequestId> {
        Some(self.groups.get(&group)?.request)
    }

    /// The requests whose rows a microbatch carries.
    pub fn requests_in(&self, batch: &Batch) -> BTreeSet<RequestId> {
        batch.rows.iter().filter_map(|row| self.request_of(row.group)).collect()
    }

    fn submit(&mut self, request: RequestId, admitted: &Arc<Admitted>, now: Duration) {
        if self.closing.is_some() {
            self.num_left_waiting += admitted.prompts.len();
            self.actions.push(Action::Fail { request, error: RequestError::ShutDown });
            return;
        }
        let mut groups = Vec::with_capacity(admitted.prompts.len());
        for prompt in 0..admitted.prompts.len() {
            let group = self.scheduler.submit(admitted.job(prompt, &self.config.vocabulary));
            groups.push(group);
            self.groups.insert(group, RunningGroup::new(request, prompt, Arc::clone(admitted)));
            if admitted.is_constrained {
                for sequence in self.scheduler.sequences(group).iter().map(Sequence::id) {
                    self.matchers.insert(sequence, None);
                    self.actions.push(Action::Open {
                        request,
                        sequence,
                        max_tokens: admitted.max_tokens,
                        jumps_forward: admitted.beam_width().is_none(),
                    });
                }
            }
        }
        self.requests.insert(request, RunningRequest::new(admitted, groups, now));
    }

    fn cancel(&mut self, request: RequestId) {
        if let Some(request) = self.requests.remove(&request) {
            self.tally.cancelled += 1;
            request.groups.into_iter().for_each(|group| self.drop_group(group));
        }
    }

    /// Ends a request with an error.
    pub(super) fn fail(&mut self, request: RequestId, error: RequestError) {
        if let Some(running) = self.requests.remove(&request) {
            self.tally.failed += 1;
            running.groups.into_iter().for_each(|group| self.drop_group(group));
            self.actions.push(Action::Fail { request, error });
        }
    }

    fn drop_group(&mut self, id: GroupId) {
        let Some(group) = self.groups.remove(&id) else { return };
        self.num_left_waiting += usize::from(group.is_waiting);
        self.patience.end(id);
        let rows = self.scheduler.sequences(id).iter().map(Sequence::id);
        let sequences: Vec<SequenceId> = rows.chain(group.children()).collect();
        self.close_matchers(sequences);
        self.scheduler.remove(id);
    }

    /// Lets go of the matchers that these sequences have.
    pub(super) fn close_matchers(&mut self, mut sequences: Vec<SequenceId>) {
        sequences.retain(|sequence| self.matchers.remove(sequence).is_some());
        if !sequences.is_empty() {
            self.actions.push(Action::Close(sequences));
        }
    }

    /// Sends all that is ready. Every microbatch waits a moment for those whose matchers are at
    /// work, and one that is not full a while longer.
    fn send_ready(&mut self, now: Duration) {
        while !self.is_down && self.patience.lets_go(|| self.scheduler.has_full_microbatch()) {
            let Some(output) = self.scheduler.schedule() else { return };
            let sampled = output.sampled.iter();
            let sampling: Vec<GroupSampling> = sampled
                .filter_map(|sampled| {
                    let rows = self.scheduler.sequences(sampled.group);
                    Some(self.groups.get(&sampled.group)?.sampling(sampled, rows))
                })
                .collect();
            let batch = output.into_batch(sampling);
            if let Err(error) = self.config.bounds.check(&batch) {
                self.actions.push(Action::Stop(Stop::Bounds(error)));
                return;
            }
            self.take_note(&batch, now);
            self.actions.push(Action::Send(batch));
        }
    }

    /// Takes note of what has begun, and of what is measured.
    fn take_note(&mut self, batch: &Batch, now: Duration) {
        for row in &batch.rows {
            let Some(group) = self.groups.get_mut(&row.group) else { continue };
            if std::mem::take(&mut group.is_waiting) {
                self.num_left_waiting += 1;
                if let Some(running) = self.requests.get_mut(&group.request) {
                    running.has_begun = true;
                }
            }
        }
        let num_rows = batch.rows.len();
        let is_decoding = batch.num_tokens() == num_rows;
        self.sent.insert(batch.microbatch, now);
        if is_decoding && self.depth.is_some() {
            self.rounds.begin(batch.microbatch, num_rows, self.config.scheduler.num_stages);
        }
    }
}
