//! Which waiting groups may begin: there must be pages for all that is known of them.

use std::cmp::Reverse;

use super::{group::State, scheduler::Scheduler};

/// Pages of each KV group that running groups have a claim to.
#[derive(Debug)]
struct Claims {
    /// Of whom who wants pages now.
    priority: Reverse<i32>,
    /// Yet to be taken, for what is known of groups of the same priority or a higher one.
    promised: Vec<usize>,
    /// Held by groups of a lower priority.
    given_up: Vec<usize>,
}

impl Claims {
    /// Whether so many more pages can be promised where so many are available.
    fn leave_room(&self, wanted: &[usize], available: &[usize]) -> bool {
        let claimed = wanted.iter().zip(&self.promised).map(|(wanted, promised)| wanted + promised);
        let there = available.iter().zip(&self.given_up).map(|(free, given_up)| free + given_up);
        claimed.zip(there).all(|(claimed, there)| claimed <= there)
    }
}

impl Scheduler {
    /// Who comes first is admitted first: a group that must wait for pages holds back those behind.
    ///
    /// What groups of a lower priority hold counts as free: they give it up when it is needed.
    pub(super) fn admit_waiting(&mut self) {
        let mut claims: Option<Claims> = None;
        while let Some(&rank) = self.waiting.first() {
            if claims.as_ref().is_none_or(|claims| claims.priority != rank.priority) {
                claims = Some(self.claims(rank.priority));
            }
            let Some(claims) = &mut claims else { return };
            let Some(group) = self.groups.get_mut(&rank.id) else { return };
            for row in &mut group.rows {
                row.begin(&mut self.memory);
            }
            let wanted: Vec<usize> = group.pages_missing(&self.config);
            if !claims.leave_room(&wanted, &self.memory.num_available()) {
                group.forget(&mut self.memory);
                return;
            }
            claims.promised.iter_mut().zip(wanted).for_each(|(promised, it)| *promised += it);
            group.state = State::Running;
            self.counts.admitted_tokens += group.num_tokens() as u64;
            let shared: usize = group.rows.iter().map(|row| row.num_ordered).sum();
            self.counts.shared_tokens += shared as u64;
            self.turn = self.turn.max(rank.turn);
            self.waiting.remove(&rank);
        }
    }

    /// What running groups hold and have yet to take, as one of a priority sees it.
    fn claims(&self, priority: Reverse<i32>) -> Claims {
        let none = vec![0; self.config.kv_groups.len()];
        let mut claims = Claims { priority, promised: none.clone(), given_up: none };
        for group in self.groups.values().filter(|group| group.state == State::Running) {
            // Reversed: a lower priority is greater.
            let (sums, pages) = if group.rank.priority > priority {
                (&mut claims.given_up, group.pages_held())
            } else {
                (&mut claims.promised, group.pages_missing(&self.config))
            };
            sums.iter_mut().zip(pages).for_each(|(sum, pages)| *sum += pages);
        }
        claims
    }
}
