//! The turn: admit what fits, then order the next microbatch.

use std::collections::{BTreeMap, VecDeque};

use super::{
    config::SchedulerConfig,
    group::{Child, Group, GroupId, Job, Row},
    order::{MicrobatchId, MicrobatchOrder, SampledGroup, Turn},
    pages::{PagePool, PageTable},
};

/// Decides who runs next. One per engine; driven by events, asked for turns.
///
/// A group has at most one sample outstanding; chunks of its prompt may follow each other.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    pools: Vec<PagePool>,
    /// Pages promised to running groups, per KV group.
    reserved: Vec<usize>,
    waiting: VecDeque<(GroupId, Job)>,
    groups: BTreeMap<GroupId, Group>,
    /// Groups in each microbatch in flight.
    in_flight: BTreeMap<MicrobatchId, Vec<GroupId>>,
    /// The group ordered last, so that the others come first in the next turn.
    last_ordered: GroupId,
    next_group: u64,
    next_microbatch: u64,
    next_epoch: u64,
}

impl Scheduler {
    pub fn new(config: SchedulerConfig) -> Self {
        let pools: Vec<PagePool> =
            config.pages_per_group.iter().map(|n| PagePool::new(*n)).collect();
        Self {
            reserved: vec![0; pools.len()],
            pools,
            config,
            waiting: VecDeque::new(),
            groups: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            last_ordered: GroupId(0),
            next_group: 1,
            next_microbatch: 1,
            next_epoch: 1,
        }
    }

    /// Queues a job that [`SchedulerConfig::check`] has passed.
    pub fn submit(&mut self, job: Job) -> GroupId {
        let id = GroupId(self.next_group);
        self.next_group += 1;
        self.waiting.push_back((id, job));
        id
    }

    /// The next turn, if the pipeline has room and a group is ready.
    pub fn next_turn(&mut self) -> Option<Turn> {
        self.admit_waiting();
        if self.in_flight.len() >= self.config.max_in_flight {
            return None;
        }
        let ready = self.ready_groups();
        if ready.is_empty() {
            return None;
        }
        Some(self.order(&ready))
    }

    /// Takes note that a microbatch has left the last stage, and frees what only it kept.
    pub fn retire(&mut self, id: MicrobatchId) {
        for group_id in self.in_flight.remove(&id).unwrap_or_default() {
            let Some(group) = self.groups.get_mut(&group_id) else { continue };
            group.num_in_flight -= 1;
            if group.is_leaving && group.num_in_flight == 0 {
                self.free(group_id);
            }
        }
    }

    /// Goes on with `children` as the group's rows; none of them ends the group.
    pub fn advance(&mut self, id: GroupId, children: &[Child]) {
        if children.is_empty() {
            return self.remove(id);
        }
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.reorder = group.continue_with(children, &mut self.pools);
    }

    /// Ends a group; its pages return once no order in flight uses them.
    pub fn remove(&mut self, id: GroupId) {
        self.waiting.retain(|(waiting_id, _)| *waiting_id != id);
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.is_leaving = true;
        if group.num_in_flight == 0 {
            self.free(id);
        }
    }

    pub fn num_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether no group runs or waits.
    pub fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.waiting.is_empty()
    }

    /// Free pages of each KV group.
    pub fn num_free_pages(&self) -> Vec<usize> {
        self.pools.iter().map(PagePool::num_free).collect()
    }

    /// First come, first served: a job that must wait holds back those behind it.
    fn admit_waiting(&mut self) {
        while let Some((_, job)) = self.waiting.front() {
            let wanted = self.config.pages_for(job);
            let fits = wanted.iter().zip(&self.reserved).zip(&self.pools);
            if !fits.into_iter().all(|((wanted, taken), pool)| wanted + taken <= pool.num_pages()) {
                return;
            }
            let Some((id, job)) = self.waiting.pop_front() else { return };
            for (reserved, wanted) in self.reserved.iter_mut().zip(&wanted) {
                *reserved += wanted;
            }
            let tables = vec![PageTable::default(); self.pools.len()];
            let row = Row { pending: job.prompt, position: 0, tables };
            let group = Group {
                id,
                rows: vec![row],
                step: 0,
                epoch: 0,
                num_in_flight: 0,
                awaits_sample: false,
                is_leaving: false,
                reserved: wanted,
                reorder: None,
            };
            self.groups.insert(id, group);
        }
    }

    /// Ready groups, those after the group ordered last first.
    fn ready_groups(&self) -> Vec<GroupId> {
        let ready = |(id, group): (&GroupId, &Group)| group.is_ready().then_some(*id);
        let next = GroupId(self.last_ordered.0 + 1);
        let behind = self.groups.range(next..).filter_map(ready);
        behind.chain(self.groups.range(..next).filter_map(ready)).collect()
    }

    /// Fills one microbatch with its share of the rows, under the token budget.
    fn order(&mut self, ready: &[GroupId]) -> Turn {
        let num_rows: usize = self.groups.values().map(|group| group.rows.len()).sum();
        let share = num_rows.div_ceil(self.config.max_in_flight);
        let id = MicrobatchId(self.next_microbatch);
        self.next_microbatch += 1;
        let mut budget = self.config.token_budget;
        let mut turn = Turn {
            ancestors: Vec::new(),
            microbatch: MicrobatchOrder { id, rows: Vec::new(), sampled: Vec::new() },
        };
        let mut members = Vec::new();
        let mut num_logit_rows = 0;
        for group_id in ready {
            let Some(group) = self.groups.get_mut(group_id) else { continue };
            let is_first = members.is_empty();
            let num_tokens = group.next_tokens(budget);
            if !is_first
                && (num_tokens == 0 || num_tokens > budget || turn.microbatch.rows.len() >= share)
            {
                break;
            }
            if let Some(mut reorder) = group.reorder.take() {
                // Numbered as they are sent: a group that ends before leaves no gap.
                reorder.epoch = self.next_epoch;
                self.next_epoch += 1;
                turn.ancestors.push(reorder);
            }
            let rows = group.order(budget, &self.config.kv_groups, &mut self.pools);
            if group.awaits_sample {
                let logit_rows = num_logit_rows..num_logit_rows + rows.len();
                num_logit_rows = logit_rows.end;
                let (step, epoch) = (group.step, group.epoch);
                turn.microbatch.sampled.push(SampledGroup {
                    group: *group_id,
                    logit_rows,
                    step,
                    epoch,
                });
            }
            turn.microbatch.rows.extend(rows);
            budget = budget.saturating_sub(num_tokens);
            members.push(*group_id);
            self.last_ordered = *group_id;
        }
        self.in_flight.insert(id, members);
        turn
    }

    fn free(&mut self, id: GroupId) {
        let Some(mut group) = self.groups.remove(&id) else { return };
        group.release(&mut self.pools);
        for (reserved, held) in self.reserved.iter_mut().zip(&group.reserved) {
            *reserved -= held;
        }
    }
}
