//! Every order in which batches and masks can reach a last stage, explored to its end.

use std::{collections::BTreeSet, sync::Arc};

use Mask::{Free, In, Missing};

use super::*;
use crate::messages::{GroupId, MaskBits, RowSampling, SamplingParams, SequenceId, Stamp};

/// How a group gets its mask.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mask {
    /// It needs none.
    Free,
    /// In this message of its microbatch, from 0.
    In(usize),
    /// Not at all: its matcher has failed.
    Missing,
}

/// The groups of a microbatch.
type Groups = &'static [Mask];

fn stamp(microbatch: usize, group: usize) -> Stamp {
    let sequence = SequenceId((10 * microbatch + group) as u64);
    Stamp { sequence, step: 0, epoch: 0 }
}

fn batch(microbatch: usize, groups: Groups) -> Batch {
    let sampling = groups.iter().enumerate().map(|(group, mask)| {
        let mask = match mask {
            Free => MaskRule::Free,
            In(_) | Missing => MaskRule::Required(stamp(microbatch, group)),
        };
        GroupSampling {
            group: GroupId(group as u64),
            logit_rows: group..group + 1,
            params: Arc::new(SamplingParams::greedy(Vec::new())),
            rows: vec![RowSampling { mask, step: 0, counts: Vec::new(), draws: Vec::new() }],
        }
    });
    let (microbatch, sampling) = (MicrobatchId(microbatch as u64), sampling.collect());
    Batch { microbatch, ancestors: Vec::new(), rows: Vec::new(), sampling }
}

/// The masks of one message, and which come later.
fn masks(microbatch: usize, groups: Groups, message: usize) -> Masks {
    let row = |(group, mask): (usize, &Mask)| {
        let bits = MaskBits::Own([0].into());
        (*mask == In(message)).then(|| MaskRow::new(stamp(microbatch, group), bits))
    };
    let rows = groups.iter().enumerate().map(row).collect();
    let masks = Masks::new(MicrobatchId(microbatch as u64), rows, 1);
    let is_later = |(_, mask): &(usize, &Mask)| matches!(mask, In(at) if *at > message);
    let late = groups.iter().enumerate().filter(is_later).map(|(group, _)| group).collect();
    Masks { late, ..masks }
}

/// Messages of masks that a microbatch gets: one at least where a group needs a mask.
fn num_messages(groups: Groups) -> usize {
    let messages = groups.iter().map(|mask| match mask {
        Free => 0,
        In(message) => message + 1,
        Missing => 1,
    });
    messages.max().unwrap_or(0)
}

/// A last stage, and what may yet reach it: batches in their order, the messages of each microbatch
/// in theirs, and at any time the end of all masks.
#[derive(Debug, Clone)]
struct World {
    microbatches: &'static [Groups],
    parking: Parking<(usize, usize)>,
    num_batches: usize,
    /// Messages that have come, by microbatch.
    num_messages: Vec<usize>,
    is_closed: bool,
    /// The batch that waits for its first masks; the stage takes no other meanwhile.
    waiting: Option<usize>,
    sampled: BTreeSet<(usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Batch,
    Masks(usize),
    Close,
}

impl World {
    fn new(microbatches: &'static [Groups]) -> Self {
        Self {
            microbatches,
            parking: Parking::default(),
            num_batches: 0,
            num_messages: vec![0; microbatches.len()],
            is_closed: false,
            waiting: None,
            sampled: BTreeSet::new(),
        }
    }

    fn next_events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        if self.waiting.is_none() && self.num_batches < self.microbatches.len() {
            events.push(Event::Batch);
        }
        if !self.is_closed {
            let is_left =
                |it: &usize| self.num_messages[*it] < num_messages(self.microbatches[*it]);
            events.extend((0..self.microbatches.len()).filter(is_left).map(Event::Masks));
            events.push(Event::Close);
        }
        events
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Batch => {
                self.waiting = Some(self.num_batches);
                self.num_batches += 1;
            }
            Event::Masks(microbatch) => {
                let message = self.num_messages[microbatch];
                self.num_messages[microbatch] += 1;
                self.parking.receive(masks(microbatch, self.microbatches[microbatch], message));
            }
            Event::Close => {
                self.is_closed = true;
                self.parking.close();
            }
        }
        self.sample();
        self.check_nobody_waits_in_vain();
    }

    /// Samples what can be sampled, as the last stage does.
    fn sample(&mut self) {
        while let Some(Parked { microbatch, kept, .. }) = self.parking.take_ready() {
            self.take(kept);
            self.parking.forget(microbatch);
        }
        let Some(microbatch) = self.waiting else { return };
        let batch = batch(microbatch, self.microbatches[microbatch]);
        if self.parking.must_wait(&batch) {
            return;
        }
        self.waiting = None;
        let ready = self
            .parking
            .admit(&batch, Duration::ZERO, |group| (microbatch, group.logit_rows.start));
        for group in ready {
            self.take((microbatch, group.logit_rows.start));
        }
        self.parking.forget(batch.microbatch);
    }

    /// A group is sampled once, with its mask if that has come.
    fn take(&mut self, (microbatch, group): (usize, usize)) {
        let found = self.parking.masks(MicrobatchId(microbatch as u64)).get(group);
        let found = found.and_then(Option::as_ref).map(|row| row.stamp);
        let has_come = matches!(
            self.microbatches[microbatch][group],
            In(message) if self.num_messages[microbatch] > message
        );
        assert_eq!(found, has_come.then(|| stamp(microbatch, group)), "{self:?}");
        assert!(self.sampled.insert((microbatch, group)), "sampled twice: {self:?}");
    }

    /// A group of a batch that has come waits only for the first masks of its microbatch, or for a
    /// mask of its own.
    fn check_nobody_waits_in_vain(&self) {
        for (microbatch, groups) in self.microbatches.iter().enumerate().take(self.num_batches) {
            for (group, mask) in groups.iter().enumerate() {
                let has_first = self.num_messages[microbatch] > 0 || num_messages(groups) == 0;
                let has_own = match mask {
                    Free | Missing => true,
                    In(message) => self.num_messages[microbatch] > *message,
                };
                let may_wait = !self.is_closed && (!has_first || !has_own);
                let is_sampled = self.sampled.contains(&(microbatch, group));
                assert_eq!(is_sampled, !may_wait, "{microbatch} {group}: {self:?}");
            }
        }
    }
}

/// Explores all that may follow; returns in how many ways it can end.
fn explore(world: &World) -> usize {
    let events = world.next_events();
    if events.is_empty() {
        let groups: usize = world.microbatches.iter().map(|groups| groups.len()).sum();
        assert_eq!(world.sampled.len(), groups, "{world:?}");
        assert!(!world.parking.has_parked() && world.parking.received.is_empty(), "{world:?}");
        return 1;
    }
    let after = |event| {
        let mut world = world.clone();
        world.happens(event);
        explore(&world)
    };
    events.into_iter().map(after).sum()
}

#[test]
fn masks_of_a_lost_microbatch_are_let_go() {
    let mut parking = Parking::<()>::default();
    let filled = vec![Interval::default()];
    parking.receive(Masks { filled: filled.clone(), ..masks(0, &[In(0)], 0) });
    assert_eq!(parking.take_filled(MicrobatchId(0)), filled);
    assert!(parking.take_filled(MicrobatchId(0)).is_empty(), "each interval is told once");
    assert!(parking.admit(&batch(1, &[Free]), Duration::ZERO, |_| ()).len() == 1);
    assert!(parking.received.is_empty(), "nobody asks for an earlier microbatch any more");
}

#[test]
fn in_every_order_each_group_is_sampled_once_and_waits_for_no_other() {
    let one = explore(&World::new(&[&[In(0), Free]]));
    // The batch, its masks and the end of masks in any order; or the end without the masks.
    assert_eq!(one, 3 + 2);
    let all: &'static [Groups] =
        &[&[Free, In(1), In(0)], &[Missing, In(0)], &[Free], &[In(2), In(1), Free]];
    let ways = explore(&World::new(all));
    assert!(ways > 10_000, "{ways}");
}
