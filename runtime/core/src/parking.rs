//! Groups at the last stage whose masks are late: they are parked, and no other group waits for
//! them.
//!
//! Knows which masks have come, and which groups must wait for theirs. Owns no channel, no logits
//! and no sampler: whoever samples tells it what came, and asks what can be sampled.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::messages::{Batch, GroupSampling, Interval, MaskRow, MaskRule, Masks, MicrobatchId};

/// Masks that have come, and groups that wait for theirs.
#[derive(Debug, Clone)]
pub struct Parking<T> {
    /// Of microbatches that were not sampled, or not all of them.
    received: BTreeMap<MicrobatchId, Masks>,
    parked: VecDeque<Parked<T>>,
    /// Whether nobody can send masks any more.
    is_closed: bool,
}

/// A group that waits for a mask, and what was kept of its rows.
#[derive(Debug, Clone)]
pub struct Parked<T> {
    pub microbatch: MicrobatchId,
    pub sampling: GroupSampling,
    pub kept: T,
    pub since: Duration,
}

impl<T> Default for Parking<T> {
    fn default() -> Self {
        Self { received: BTreeMap::new(), parked: VecDeque::new(), is_closed: false }
    }
}

impl<T> Parking<T> {
    /// Takes masks. Those of another microbatch never stand in: they are kept for theirs.
    pub fn receive(&mut self, masks: Masks) {
        match self.received.get_mut(&masks.microbatch) {
            Some(earlier) => earlier.merge(masks),
            None => drop(self.received.insert(masks.microbatch, masks)),
        }
    }

    /// Takes note that nobody can send masks any more: rows that still require one fail.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.received.values_mut().for_each(|masks| masks.late.clear());
    }

    /// Whether a batch cannot be sampled before a first message with its masks has come.
    pub fn must_wait(&self, batch: &Batch) -> bool {
        !self.is_closed && requires_masks(batch) && !self.received.contains_key(&batch.microbatch)
    }

    /// Whether any group is parked.
    pub fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Parks the groups of a batch that miss a mask, with what is to be kept of their rows; returns
    /// the others, which are sampled now.
    pub fn admit<'a>(
        &mut self,
        batch: &'a Batch,
        now: Duration,
        mut keep: impl FnMut(&GroupSampling) -> T,
    ) -> Vec<&'a GroupSampling> {
        let microbatch = batch.microbatch;
        // Of earlier microbatches nothing will be asked for again, but for parked groups.
        let parked = &self.parked;
        self.received.retain(|other, _| {
            *other >= microbatch || parked.iter().any(|it| it.microbatch == *other)
        });
        let masks = self.received.get(&microbatch);
        let is_late =
            |group: &&GroupSampling| masks.is_some_and(|masks| masks.is_late(&group.logit_rows));
        let (late, ready) = batch.sampling.iter().partition::<Vec<_>, _>(is_late);
        for group in late {
            let (sampling, kept) = (group.clone(), keep(group));
            self.parked.push_back(Parked { microbatch, sampling, kept, since: now });
        }
        ready
    }

    /// Takes a parked group out whose masks have come, the one that has waited longest first.
    pub fn take_ready(&mut self) -> Option<Parked<T>> {
        let received = &self.received;
        let is_ready = |parked: &Parked<T>| {
            let masks = received.get(&parked.microbatch);
            !masks.is_some_and(|masks| masks.is_late(&parked.sampling.logit_rows))
        };
        let index = self.parked.iter().position(is_ready)?;
        self.parked.remove(index)
    }

    /// The masks of a microbatch that have come, per logit row; the others are missing.
    pub fn masks(&self, microbatch: MicrobatchId) -> &[Option<MaskRow>] {
        self.received.get(&microbatch).map_or(&[], |masks| &masks.rows)
    }

    /// When workers filled the masks of a microbatch, since this was last asked.
    pub fn take_filled(&mut self, microbatch: MicrobatchId) -> Vec<Interval> {
        let masks = self.received.get_mut(&microbatch);
        masks.map(|masks| std::mem::take(&mut masks.filled)).unwrap_or_default()
    }

    /// Lets go of a sampled microbatch's masks, unless a group still waits for one of them.
    pub fn forget(&mut self, microbatch: MicrobatchId) {
        if !self.parked.iter().any(|it| it.microbatch == microbatch) {
            self.received.remove(&microbatch);
        }
    }
}

/// Whether a row of the batch is sampled under a mask.
pub fn requires_masks(batch: &Batch) -> bool {
    let mut rows = batch.sampling.iter().flat_map(|group| &group.rows);
    rows.any(|row| matches!(row.mask, MaskRule::Required(_)))
}
