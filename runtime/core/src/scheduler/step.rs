//! A group's rows after a step: continued, forked, ended.

use super::{
    group::{Ancestry, Group, Rank, State, to_u32},
    scheduler::Scheduler,
};
use crate::{
    messages::GroupId,
    pages::Memory,
    sequence::{Continuation, Sequence},
};

/// What became of a group.
#[derive(Debug)]
pub struct StepOutcome {
    /// Sequences that ended, in the order of the continuations. Their pages are given back.
    pub ended: Vec<Sequence>,
    pub onward: Onward,
}

/// How a group goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Onward {
    /// Not at all.
    Ended,
    /// With its rows.
    Same,
    /// As a group for each of its rows: samples need not step together.
    Split(Vec<GroupId>),
}

impl Scheduler {
    /// Lets a group take a step, by continuations of its sequences. `say` adds the tokens to a
    /// child, by the place of its continuation, and says whether it goes on. None for a group that
    /// is gone.
    ///
    /// A row that simply goes on stays where it is: nothing of it is copied.
    pub fn advance(
        &mut self,
        id: GroupId,
        continuations: &[Continuation],
        mut say: impl FnMut(usize, &mut Sequence) -> bool,
    ) -> Option<StepOutcome> {
        let group = self.groups.get_mut(&id)?;
        let before = group.step;
        let ended = group.take_step(continuations, &mut self.memory, &mut say);
        let onward = if group.rows.is_empty() {
            // The token that ended it is not among those of its rows.
            self.lengths.note(group.step as usize + 1, group.limits.max_tokens);
            self.remove(id);
            Onward::Ended
        } else if group.limits.max_rows <= 1 && group.rows.len() > 1 {
            Onward::Split(self.split(id))
        } else {
            group.count_new(before);
            Onward::Same
        };
        Some(StepOutcome { ended, onward })
    }

    /// Makes a group of each row; the group ends.
    fn split(&mut self, id: GroupId) -> Vec<GroupId> {
        let Some(group) = self.groups.get_mut(&id) else { return Vec::new() };
        let rows = std::mem::take(&mut group.rows);
        let Rank { priority, turn, .. } = group.rank;
        let (limits, state) = (group.limits, group.state);
        let (before, last_ordered) = (group.step, group.last_ordered);
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let rank = self.new_rank(priority.0, turn);
            let mut forked = Group { state, last_ordered, ..Group::new(rank, row, limits) };
            forked.count_new(before);
            if forked.state == State::Waiting {
                self.waiting.insert(rank);
            }
            self.groups.insert(rank.id, forked);
            ids.push(rank.id);
        }
        self.remove(id);
        ids
    }
}

impl Group {
    /// Returns the sequences that ended.
    fn take_step(
        &mut self,
        continuations: &[Continuation],
        memory: &mut Memory,
        say: &mut dyn FnMut(usize, &mut Sequence) -> bool,
    ) -> Vec<Sequence> {
        self.awaits_sample = false;
        match (&mut self.rows[..], continuations) {
            ([row], [only]) if only.parent == row.id() && only.child == row.id() => {
                self.ancestry = None;
                if say(0, row) { Vec::new() } else { self.end_all(memory) }
            }
            _ => self.reshape(continuations, memory, say),
        }
    }

    /// Takes note of what the rows have generated since they had `before` tokens; all have the same
    /// number.
    fn count_new(&mut self, before: u32) {
        let generated = self.rows.first().map_or(0, |row| row.generated().len());
        self.step = to_u32(generated);
        self.num_new = generated.saturating_sub(before as usize);
    }

    fn end_all(&mut self, memory: &mut Memory) -> Vec<Sequence> {
        let mut ended = std::mem::take(&mut self.rows);
        for row in &mut ended {
            row.cached.forget(memory);
        }
        ended
    }

    /// Makes the next step's rows out of the earlier ones, on the same pages.
    fn reshape(
        &mut self,
        continuations: &[Continuation],
        memory: &mut Memory,
        say: &mut dyn FnMut(usize, &mut Sequence) -> bool,
    ) -> Vec<Sequence> {
        let tail_pages = self.tails(memory);
        let num_earlier = self.rows.len();
        let earlier = std::mem::take(&mut self.rows);
        let mut earlier: Vec<Option<Sequence>> = earlier.into_iter().map(Some).collect();
        let mut parents = Vec::with_capacity(continuations.len());
        let mut ended = Vec::new();
        for (index, Continuation { parent, child, .. }) in continuations.iter().enumerate() {
            let is_parent =
                |row: &Option<Sequence>| row.as_ref().is_some_and(|it| it.id() == *parent);
            let Some(row_idx) = earlier.iter().position(is_parent) else { continue };
            let made = if child == parent {
                earlier[row_idx].take()
            } else {
                earlier[row_idx].as_ref().map(|row| row.fork(*child, memory))
            };
            let Some(mut row) = made else { continue };
            if say(index, &mut row) {
                self.rows.push(row);
                parents.push(to_u32(row_idx));
            } else {
                row.cached.forget(memory);
                ended.push(row);
            }
        }
        // After the children hold what they share.
        for row in earlier.iter_mut().flatten() {
            row.cached.forget(memory);
        }
        let is_same = parents.len() == num_earlier && (0..).zip(&parents).all(|(at, it)| at == *it);
        self.epoch += u64::from(!is_same);
        self.ancestry = (!is_same).then_some(Ancestry { parents, tail_pages });
        ended
    }
}
