//! A prompt with its running hypotheses: one group, whose rows are beams, or one sample.

use std::{cmp::Reverse, collections::BTreeMap};

use sluicegate_spec::{config::KvGroup, units::TokenId};

use super::{chunk::ChunkCost, config::SchedulerConfig, forecast::Outlook};
use crate::{
    messages::GroupId,
    pages::Memory,
    sequence::{Sequence, Transcript},
};

/// A prompt to run.
#[derive(Debug, Clone, Default)]
pub struct Job {
    /// At least one token.
    pub prompt: Vec<TokenId>,
    /// Rows at most that must step together: beams.
    pub max_rows: usize,
    /// Rows that its first token makes of it, which need not step together: samples. None is as
    /// one.
    pub samples: usize,
    /// Tokens that a row generates at most.
    pub max_tokens: usize,
    /// Jobs of a higher priority are admitted first, and preempted last.
    pub priority: i32,
    /// How many jobs of the same request come before this one. Requests take turns.
    pub index: usize,
    /// How its sequences' text begins.
    pub transcript: Transcript,
}

/// Who comes first: the highest priority, then who has waited most in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<i32>,
    pub(super) turn: u64,
    pub(super) id: GroupId,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) rank: Rank,
    pub(super) rows: Vec<Sequence>,
    /// Rows at most, and tokens that each of them generates at most.
    pub(super) limits: Limits,
    /// Tokens that each row has generated.
    pub(super) step: u32,
    /// How often the rows were reordered.
    pub(super) epoch: u64,
    /// Tokens that the last step added to each row.
    pub(super) num_new: usize,
    /// Orders in the pipeline.
    pub(super) num_in_flight: usize,
    /// Whether the order in flight is sampled, so that nothing more may be ordered before its
    /// result.
    pub(super) awaits_sample: bool,
    pub(super) state: State,
    /// Which earlier rows the rows continue, until the stages have been told.
    pub(super) ancestry: Option<Ancestry>,
    /// The microbatch that had the group last.
    pub(super) last_ordered: u64,
    /// Tokens that were computed when it was preempted.
    pub(super) num_lost: usize,
}

/// What a group may grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) max_rows: usize,
    pub(super) samples: usize,
    pub(super) max_tokens: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Holds no pages.
    Waiting,
    Running,
    /// Is to give its pages up as soon as no order in flight uses them, and to wait again.
    Preempted,
    /// Cancelled or finished, kept only until its last order has retired.
    Leaving,
}

/// Which earlier row each row continues, where that is not simply itself.
#[derive(Debug, Clone)]
pub(super) struct Ancestry {
    pub(super) parents: Vec<u32>,
    /// Per KV group: the page that each earlier row would write next; 0 where there is none.
    pub(super) tail_pages: Vec<Vec<u32>>,
}

impl Group {
    pub(super) fn new(rank: Rank, row: Sequence, limits: Limits) -> Self {
        Self {
            rank,
            limits,
            rows: vec![row],
            step: 0,
            epoch: 0,
            num_new: 0,
            num_in_flight: 0,
            awaits_sample: false,
            state: State::Waiting,
            ancestry: None,
            last_ordered: 0,
            num_lost: 0,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state == State::Running && !self.awaits_sample
    }

    /// Whether all that is missing is the last step's tokens.
    pub(super) fn is_decoding(&self) -> bool {
        self.num_new > 0 && self.rows.iter().all(|row| row.num_pending() <= self.num_new)
    }

    /// Tokens not yet ordered.
    pub(super) fn num_pending(&self) -> usize {
        self.rows.iter().map(Sequence::num_pending).sum()
    }

    pub(super) fn num_tokens(&self) -> usize {
        self.rows.iter().map(|row| row.tokens().len()).sum()
    }

    /// What the next order may hold of each row, under a budget of tokens: all rows' last tokens,
    /// to be sampled together, or a chunk of what comes before, or nothing.
    ///
    /// `must_go` lets a group through that is larger than any budget.
    pub(super) fn next_counts(&self, budget: usize, cost: ChunkCost, must_go: bool) -> Vec<usize> {
        if let [row] = &self.rows[..] {
            return vec![cost.next_len(row.cached.num_tokens(), row.num_pending(), budget)];
        }
        let pending = || self.rows.iter().map(Sequence::num_pending);
        if self.is_decoding() {
            let fits = must_go || pending().sum::<usize>() <= budget;
            return pending().map(|count| if fits { count } else { 0 }).collect();
        }
        let mut left = budget;
        let counts = self.rows.iter().map(|row| {
            let before = row.num_pending().saturating_sub(self.num_new);
            let count = cost.next_len(row.cached.num_tokens(), before, left);
            left -= count;
            count
        });
        counts.collect()
    }

    /// Pages of each KV group that ordering so much takes: for new positions, and for tails that
    /// are shared.
    pub(super) fn pages_for(&self, counts: &[usize], memory: &Memory) -> Vec<usize> {
        let num_kv_groups = memory.kv_groups().len();
        let pages = (0..num_kv_groups).map(|kv_idx| {
            let mut missing = 0;
            // How many rows of the order write to a page that exists.
            let mut writers: BTreeMap<u32, u32> = BTreeMap::new();
            for (row, count) in self.rows.iter().zip(counts).filter(|(_, count)| **count > 0) {
                missing += row.cached.tables()[kv_idx].num_missing(row.cached.num_tokens() + count);
                if let Some(tail) = row.cached.tail(kv_idx) {
                    *writers.entry(tail).or_default() += 1;
                }
            }
            // Who is alone with a page in the end writes in place.
            let splits = writers.iter().map(|(page, rows)| {
                let is_last = *rows == memory.holders(kv_idx, *page);
                *rows as usize - usize::from(is_last)
            });
            missing + splits.sum::<usize>()
        });
        pages.collect()
    }

    /// Pages of each KV group that the rows hold, a shared one as often as it is held.
    pub(super) fn pages_held(&self) -> Vec<usize> {
        let num_kv_groups = self.rows.first().map_or(0, |row| row.cached.tables().len());
        let held = |kv_idx: usize| {
            self.rows.iter().map(|it| it.cached.tables()[kv_idx].pages().len()).sum()
        };
        (0..num_kv_groups).map(held).collect()
    }

    /// Pages of each KV group that the known tokens take at most beside those that are held: a
    /// window gives pages back on the way.
    pub(super) fn pages_missing(&self, config: &SchedulerConfig) -> Vec<usize> {
        let missing = |(kv_idx, kv_group): (usize, &KvGroup)| {
            let of = |row: &Sequence| {
                let most = config.pages_of_row(*kv_group, row.tokens().len());
                most.saturating_sub(row.cached.tables()[kv_idx].pages().len())
            };
            self.rows.iter().map(of).sum()
        };
        config.kv_groups.iter().enumerate().map(missing).collect()
    }

    /// How it is expected to go on, if each row gets `remaining` tokens more.
    pub(super) fn outlook(&self, remaining: usize, config: &SchedulerConfig) -> Outlook {
        let Limits { max_rows, samples, .. } = self.limits;
        let forked = if self.step == 0 { samples } else { 0 };
        let rows = max_rows.max(forked).max(self.rows.len());
        let held = self.pages_held().into_iter().zip(self.pages_missing(config));
        let known = held.map(|(held, missing)| held + missing);
        let held = config.kv_groups.iter().zip(known).map(|(kv_group, known)| match kv_group {
            KvGroup::Full => known,
            KvGroup::Window(_) => {
                let longest = self.rows.iter().map(|row| row.tokens().len()).max().unwrap_or(0);
                rows * config.pages_of_row(*kv_group, longest + remaining)
            }
        });
        Outlook { remaining, rows, held: held.collect() }
    }

    /// Gives all pages back; everything has to be computed again.
    pub(super) fn forget(&mut self, memory: &mut Memory) {
        for row in &mut self.rows {
            row.cached.forget(memory);
        }
        self.ancestry = None;
    }
}

pub(super) fn to_u32(count: usize) -> u32 {
    u32::try_from(count).expect("rows and tokens of a group are below 2^32")
}
