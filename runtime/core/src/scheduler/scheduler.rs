//! Admits what fits, then orders the next microbatch.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use sluicegate_spec::{kv::PAGE_TOKENS, units::TokenId};

use super::{
    chunk::ChunkCost,
    config::SchedulerConfig,
    filling::{Filling, InFlight, prompt_share, share},
    group::{Group, Job, Limits, Rank, State},
    lengths::Lengths,
    output::SchedulerOutput,
};
use crate::{
    messages::{GroupId, MicrobatchId, SequenceId},
    pages::Memory,
    sequence::{Continuation, Ids, Sequence},
};

/// Decides who runs next. One per engine; driven by events, asked for the next
/// microbatch.
///
/// A group has at most one sample outstanding; chunks of known tokens may follow each other.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) config: SchedulerConfig,
    cost: ChunkCost,
    pub(super) memory: Memory,
    pub(super) groups: BTreeMap<GroupId, Group>,
    pub(super) waiting: BTreeSet<Rank>,
    in_flight: BTreeMap<MicrobatchId, InFlight>,
    pub(super) lengths: Lengths,
    /// The turn of the job admitted last: a request that comes later takes its turns from here.
    pub(super) turn: u64,
    next_group: u64,
    sequences: Ids,
    next_microbatch: u64,
    next_epoch: u64,
    pub(super) counts: Counts,
}

/// What the scheduler did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Groups that had to give their pages up and to be computed again.
    pub preemptions: u64,
    /// Tokens that were ordered of the stages, each time that they were.
    pub computed_tokens: u64,
    /// Tokens that were computed once more because their group had given its pages up.
    pub recomputed_tokens: u64,
    /// Tokens of admitted groups, each time that they were admitted.
    pub admitted_tokens: u64,
    /// Those of them that were computed already.
    pub shared_tokens: u64,
    /// Pages that stages had to copy because rows that share them wrote on, in all KV groups.
    pub copied_pages: u64,
}

impl Scheduler {
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            cost: ChunkCost { attention: config.attention_cost },
            memory: memory(&config),
            config,
            groups: BTreeMap::new(),
            waiting: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            lengths: Lengths::default(),
            turn: 0,
            next_group: 1,
            sequences: Ids::default(),
            next_microbatch: 1,
            next_epoch: 1,
            counts: Counts::default(),
        }
    }

    /// Queues a job that [`SchedulerConfig::check`] has passed.
    pub fn submit(&mut self, job: Job) -> GroupId {
        let rank = self.new_rank(job.priority, self.turn + job.index as u64);
        let Job { prompt, max_rows, samples, max_tokens, transcript, .. } = job;
        let row = Sequence::new(self.sequences.new_id(), prompt, transcript, &self.memory);
        let limits = Limits { max_rows, samples, max_tokens };
        self.groups.insert(rank.id, Group::new(rank, row, limits));
        self.waiting.insert(rank);
        rank.id
    }

    /// A group's sequences, in the order of its rows; none for a group that is gone.
    pub fn sequences(&self, id: GroupId) -> &[Sequence] {
        self.groups.get(&id).map_or(&[], |group| &group.rows)
    }

    /// How sequences go on with these tokens, each a child of its own.
    pub fn continuations(&mut self, steps: Vec<(SequenceId, Vec<TokenId>)>) -> Vec<Continuation> {
        self.sequences.continuations(steps)
    }

    /// Whether a microbatch can have all that it should: its share of the rows that decode, or of
    /// the tokens of prompts.
    pub fn has_full_microbatch(&self) -> bool {
        let (rows, in_flight) = (self.num_decoding_rows(), || self.in_flight.values());
        let share = share(rows, self.config.max_in_flight, in_flight());
        let share = share.min(self.config.rows_per_microbatch);
        let ready = self.decoding().filter(|group| group.is_ready());
        if share > 0 && ready.map(|group| group.rows.len()).sum::<usize>() >= share {
            return true;
        }
        let prompts = self.groups.values().filter(|it| it.is_ready() && !it.is_decoding());
        let left = prompts.map(Group::num_pending).sum();
        let share = prompt_share(left, rows > 0, &self.config, in_flight());
        left > 0 && left >= share.min(self.config.token_budget)
    }

    /// The next microbatch, if the pipeline has room and a group is ready.
    pub fn schedule(&mut self) -> Option<SchedulerOutput> {
        if self.in_flight.len() >= self.config.max_in_flight {
            return None;
        }
        self.admit_waiting();
        let mut filling = Filling::default();
        self.add_decoding(&mut filling);
        self.add_prompts(&mut filling);
        if filling.is_empty() {
            return None;
        }
        let id = MicrobatchId(self.next_microbatch);
        self.next_microbatch += 1;
        self.counts.computed_tokens += filling.num_tokens as u64;
        let (output, in_flight) = filling.finish(id, &mut self.next_epoch);
        self.in_flight.insert(id, in_flight);
        Some(output)
    }

    /// Takes note that a microbatch has left the last stage, and frees what only it kept.
    pub fn retire(&mut self, id: MicrobatchId) {
        let Some(InFlight { groups, .. }) = self.in_flight.remove(&id) else { return };
        for id in groups {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            group.num_in_flight -= 1;
            self.settle(id);
        }
    }

    /// Ends a group; its pages return once no order in flight uses them.
    pub fn remove(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        self.waiting.remove(&group.rank);
        group.state = State::Leaving;
        self.settle(id);
    }

    /// Begins anew with empty pages, as a pipeline does that was restarted: whatever was in flight
    /// is lost, and every group has to be computed again. Samples that have come back and whose
    /// step is still to be taken, by `has_sample`, are not lost.
    pub fn restart(&mut self, has_sample: impl Fn(GroupId) -> bool) {
        self.in_flight.clear();
        self.next_epoch = 1;
        self.groups.retain(|_, group| group.state != State::Leaving);
        for group in self.groups.values_mut() {
            group.forget(&mut self.memory);
            group.awaits_sample = has_sample(group.rank.id);
            group.num_in_flight = 0;
            group.state = State::Waiting;
            self.waiting.insert(group.rank);
        }
        self.memory = memory(&self.config);
    }

    /// Lets so many microbatches into the pipeline at once.
    pub fn set_max_in_flight(&mut self, max_in_flight: usize) {
        self.config.max_in_flight = max_in_flight.max(1);
    }

    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    pub fn num_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The groups in a microbatch in flight.
    pub fn groups_in(&self, id: MicrobatchId) -> &[GroupId] {
        self.in_flight.get(&id).map_or(&[], |in_flight| &in_flight.groups)
    }

    pub(super) fn new_rank(&mut self, priority: i32, turn: u64) -> Rank {
        let id = GroupId(self.next_group);
        self.next_group += 1;
        Rank { priority: Reverse(priority), turn, id }
    }

    /// Lets a group go that was only waiting for its last order.
    fn settle(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.num_in_flight > 0 {
            return;
        }
        match group.state {
            State::Leaving => {
                group.forget(&mut self.memory);
                self.groups.remove(&id);
            }
            State::Preempted => self.requeue(id),
            State::Waiting | State::Running => {}
        }
    }

    fn requeue(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.num_lost = group.rows.iter().map(|row| row.cached.num_tokens()).sum();
        group.forget(&mut self.memory);
        group.state = State::Waiting;
        self.waiting.insert(group.rank);
        self.counts.preemptions += 1;
    }

    /// Groups whose rows take a token at a time, those in flight included.
    pub(super) fn decoding(&self) -> impl Iterator<Item = &Group> {
        let running = self.groups.values().filter(|group| group.state == State::Running);
        running.filter(|group| group.is_decoding() || group.awaits_sample)
    }

    /// Adds the microbatch's share of the decoding rows, those first that have waited longest.
    fn add_decoding(&mut self, filling: &mut Filling) {
        let num_rows = self.num_decoding_rows();
        let mut groups = self.groups.values();
        let has_prompts = groups.any(|group| group.is_ready() && !group.is_decoding());
        let mut ready: Vec<(u64, GroupId)> = self
            .decoding()
            .filter(|group| group.is_ready())
            .map(|group| (group.last_ordered, group.rank.id))
            .collect();
        ready.sort_unstable();
        let share = share(num_rows, self.config.max_in_flight, self.in_flight.values());
        let share = share.min(self.config.rows_per_microbatch);
        // A prompt goes on also while very many rows decode.
        let kept = if has_prompts { PAGE_TOKENS.min(self.config.token_budget / 2) } else { 0 };
        let budget = self.config.token_budget - kept;
        for (_, id) in ready {
            let Some(group) = self.groups.get(&id) else { continue };
            let num_rows = group.rows.len();
            let is_first = filling.num_decoding_rows == 0;
            if share == 0 || !is_first && filling.num_decoding_rows + num_rows > share {
                continue;
            }
            if self.add(id, budget.saturating_sub(filling.num_tokens), is_first, filling) {
                filling.num_decoding_rows += num_rows;
            }
        }
    }

    /// Adds chunks of what has to be computed before rows can be sampled, in the order of ranks.
    fn add_prompts(&mut self, filling: &mut Filling) {
        let is_prompt = |group: &&Group| group.is_ready() && !group.is_decoding();
        let prompts = || self.groups.values().filter(is_prompt);
        let left = prompts().map(Group::num_pending).sum();
        let decodes = filling.num_decoding_rows > 0;
        let share = prompt_share(left, decodes, &self.config, self.in_flight.values());
        let mut prompts: Vec<Rank> = prompts().map(|group| group.rank).collect();
        prompts.sort_unstable();
        for rank in prompts {
            let budget = self.config.token_budget.saturating_sub(filling.num_tokens);
            let budget = budget.min(share.saturating_sub(filling.num_prompt_tokens));
            if budget == 0 {
                return;
            }
            let before = filling.num_tokens;
            let is_added = self.add(rank.id, budget, false, filling);
            filling.num_prompt_tokens += filling.num_tokens - before;
            // A row that is sampled comes back as one that decodes.
            if let Some(group) = self.groups.get(&rank.id)
                && is_added
                && group.awaits_sample
            {
                filling.num_decoding_rows += group.rows.len();
            }
        }
    }

    /// Orders what a group may add to the microbatch; false if that is nothing, for want of budget
    /// or pages.
    fn add(&mut self, id: GroupId, budget: usize, must_go: bool, filling: &mut Filling) -> bool {
        let Some(group) = self.groups.get_mut(&id) else { return false };
        // Another group may have had to make room.
        if !group.is_ready() {
            return false;
        }
        let counts = group.next_counts(budget, self.cost, must_go);
        if counts.iter().all(|count| *count == 0) {
            return false;
        }
        for row in &mut group.rows {
            row.cached.drop_unseen(&mut self.memory);
        }
        let rank = group.rank;
        if !self.make_room(rank, &counts) {
            return false;
        }
        let Some(group) = self.groups.get_mut(&id) else { return false };
        let (ancestors, rows) = group.order(&counts, &mut self.memory);
        group.last_ordered = self.next_microbatch;
        let sampled = group.awaits_sample.then_some((group.step, group.epoch));
        let copies = ancestors.iter().flat_map(|reorder| &reorder.copies);
        self.counts.copied_pages += copies.map(|copy| copy.rows.len() as u64).sum::<u64>();
        filling.add(id, ancestors, rows, sampled);
        true
    }

    /// Sees to it that a group has the pages for so many tokens of each row, at the cost of those
    /// who rank behind; false if it cannot have them yet.
    fn make_room(&mut self, rank: Rank, counts: &[usize]) -> bool {
        loop {
            let Some(group) = self.groups.get(&rank.id) else { return false };
            // Anew each time: a page that nobody shares any more is written in place.
            let wanted = group.pages_for(counts, &self.memory);
            let available = self.memory.num_available();
            let lacks = |found: &[usize]| wanted.iter().zip(found).any(|(it, found)| it > found);
            if !lacks(&available) {
                return true;
            }
            let mut expected = available;
            for group in self.groups.values().filter(|group| group.state == State::Preempted) {
                expected.iter_mut().zip(group.pages_held()).for_each(|(sum, held)| *sum += held);
            }
            if !lacks(&expected) {
                return false;
            }
            let behind = self.groups.values_mut().filter(|it| it.state == State::Running);
            let Some(last) = behind.max_by_key(|group| group.rank) else { return false };
            if last.rank <= rank {
                return false;
            }
            last.state = State::Preempted;
            let last = last.rank.id;
            self.settle(last);
        }
    }
}

fn memory(config: &SchedulerConfig) -> Memory {
    Memory::new(&config.kv_groups, &config.pages_per_group, config.shares_prefixes)
}
