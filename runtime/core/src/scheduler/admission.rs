//! Which waiting groups may begin: there must be pages for all that is known of them, and for what
//! they and those that run are expected to grow to.

use std::cmp::Reverse;

use super::{
    config::SchedulerConfig,
    forecast::{Forecast, Outlook},
    group::{Group, Limits, State},
    lengths::Lengths,
    scheduler::Scheduler,
};

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
        let mut forecast = Forecast::default();
        let generated = self.num_generated();
        while let Some(&rank) = self.waiting.first() {
            if claims.as_ref().is_none_or(|claims| claims.priority != rank.priority) {
                claims = Some(self.claims(rank.priority));
                forecast = self.forecast(rank.priority);
            }
            let Some(claims) = &mut claims else { return };
            let Some(group) = self.groups.get_mut(&rank.id) else { return };
            for row in &mut group.rows {
                row.begin(&mut self.memory);
            }
            let wanted: Vec<usize> = group.pages_missing(&self.config);
            let outlook = outlook(group, &self.lengths, generated, &self.config);
            let is_alone = forecast.is_empty();
            let num_rows = forecast.num_rows() + outlook.rows;
            forecast.add(outlook);
            let will_fit = is_alone
                || num_rows <= self.config.max_rows
                    && (!self.config.reckons_ahead
                        || forecast.fits(&self.config.kv_groups, &self.config.pages_per_group));
            if !will_fit || !claims.leave_room(&wanted, &self.memory.num_available()) {
                group.forget(&mut self.memory);
                return;
            }
            claims.promised.iter_mut().zip(wanted).for_each(|(promised, it)| *promised += it);
            group.state = State::Running;
            self.counts.admitted_tokens += group.num_tokens() as u64;
            let shared: usize = group.rows.iter().map(|row| row.cached.num_tokens()).sum();
            self.counts.shared_tokens += shared as u64;
            let lost = std::mem::take(&mut group.num_lost);
            self.counts.recomputed_tokens += lost.saturating_sub(shared) as u64;
            self.turn = self.turn.max(rank.turn);
            self.waiting.remove(&rank);
        }
    }

    /// Tokens that running groups have generated so far.
    fn num_generated(&self) -> usize {
        let running = self.groups.values().filter(|group| group.state == State::Running);
        running.map(|group| group.step as usize).sum()
    }

    /// How running groups are expected to go on, as one of a priority sees it: those of a lower one
    /// will have given up what they hold.
    fn forecast(&self, priority: Reverse<i32>) -> Forecast {
        let counts =
            |group: &&Group| group.state == State::Running && group.rank.priority <= priority;
        let generated = self.num_generated();
        let mut held_by_all = vec![0; self.config.kv_groups.len()];
        let mut outlooks = Vec::new();
        for group in self.groups.values().filter(counts) {
            let sums = held_by_all.iter_mut().zip(group.pages_held());
            sums.for_each(|(sum, held)| *sum += held);
            outlooks.push(outlook(group, &self.lengths, generated, &self.config));
        }
        let pages = self.config.pages_per_group.iter().zip(self.memory.num_available());
        let held_once = pages.map(|(pages, available)| pages - available);
        let shared = held_by_all.into_iter().zip(held_once);
        Forecast::new(outlooks, shared.map(|(all, once)| all.saturating_sub(once)).collect())
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

/// How a group is expected to go on. Groups end apart as outputs do, each at a place of its own in
/// the distribution of lengths, which does not change while it runs.
fn outlook(
    group: &Group,
    lengths: &Lengths,
    generated: usize,
    config: &SchedulerConfig,
) -> Outlook {
    let Limits { max_tokens, .. } = group.limits;
    // Weyl's sequence: numbers that follow each other are spread evenly.
    let quantile = (group.rank.id.0 as f64 * 0.618_033_988_749_894_9).fract();
    let remaining = lengths.remaining((group.step as usize, max_tokens), generated, quantile);
    group.outlook(remaining, config)
}
