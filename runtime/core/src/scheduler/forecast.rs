//! How many pages groups will hold at most, if all of them go on as is expected.
//!
//! A group that ends gives its pages back while others still grow, so the most is held just before
//! some group ends: at each such moment those that go on for as long are added up.
//!
//! Source: Gong et al. 2025, "Past-Future Scheduler for LLM Serving under SLA Guarantees", section
//! 3.

use sluicegate_spec::{config::KvGroup, kv::PAGE_TOKENS};

/// A group as it is expected to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outlook {
    /// Tokens that each of its rows gets until it ends.
    pub(super) remaining: usize,
    pub(super) rows: usize,
    /// Pages of each KV group for all that is known; of one with a window the most that it will
    /// hold.
    pub(super) held: Vec<usize>,
}

/// All groups that run.
#[derive(Debug, Clone, Default)]
pub(super) struct Forecast {
    /// Those that end last come first.
    outlooks: Vec<Outlook>,
    /// Of each KV group: pages that they hold and that are counted more than once, being shared.
    shared: Vec<usize>,
}

impl Forecast {
    pub(super) fn new(mut outlooks: Vec<Outlook>, shared: Vec<usize>) -> Self {
        outlooks.sort_by_key(|outlook| std::cmp::Reverse(outlook.remaining));
        Self { outlooks, shared }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outlooks.is_empty()
    }

    pub(super) fn num_rows(&self) -> usize {
        self.outlooks.iter().map(|outlook| outlook.rows).sum()
    }

    pub(super) fn add(&mut self, outlook: Outlook) {
        let index = self.outlooks.partition_point(|other| other.remaining > outlook.remaining);
        self.outlooks.insert(index, outlook);
    }

    /// Whether so many pages of each KV group are enough for all of them to the end.
    pub(super) fn fits(&self, kv_groups: &[KvGroup], pages: &[usize]) -> bool {
        let mut held = vec![0; kv_groups.len()];
        let mut rows = 0;
        let all: Vec<usize> = (0..kv_groups.len())
            .map(|kv_idx| self.outlooks.iter().map(|outlook| outlook.held[kv_idx]).sum())
            .collect();
        self.outlooks.iter().all(|outlook| {
            rows += outlook.rows;
            held.iter_mut().zip(&outlook.held).for_each(|(sum, held)| *sum += held);
            let growth = rows * outlook.remaining.div_ceil(PAGE_TOKENS);
            (0..kv_groups.len()).all(|kv_idx| {
                let grown = if kv_groups[kv_idx] == KvGroup::Full { growth } else { 0 };
                // Never more than all of them hold, each page counted once.
                let once = all[kv_idx].saturating_sub(self.shared[kv_idx]);
                held[kv_idx].min(once) + grown <= pages[kv_idx]
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(remaining: usize, rows: usize, held: usize) -> Outlook {
        Outlook { remaining, rows, held: vec![held] }
    }

    #[test]
    fn the_most_is_held_just_before_some_group_ends() {
        #[track_caller]
        fn check(outlooks: &[Outlook], most: usize) {
            let forecast = Forecast::new(outlooks.to_vec(), vec![0]);
            assert!(forecast.fits(&[KvGroup::Full], &[most]));
            assert!(!forecast.fits(&[KvGroup::Full], &[most - 1]));
        }
        check(&[outlook(160, 1, 3)], 13);
        // One ends before the other has grown.
        check(&[outlook(160, 1, 3), outlook(16, 1, 20)], 25);
        check(&[outlook(160, 1, 3), outlook(16, 1, 5)], 13);
        // Both end at once.
        check(&[outlook(160, 1, 3), outlook(160, 2, 5)], 38);
    }

    #[test]
    fn shared_pages_and_windows_count_once() {
        let forecast = Forecast::new(vec![outlook(16, 1, 10), outlook(16, 1, 10)], vec![8]);
        assert!(forecast.fits(&[KvGroup::Full], &[14]) && !forecast.fits(&[KvGroup::Full], &[13]));
        let forecast = Forecast::new(vec![outlook(1600, 1, 10)], vec![0]);
        assert!(forecast.fits(&[KvGroup::Window(64)], &[10]));
    }

    #[test]
    fn groups_are_added_in_their_place() {
        let mut forecast = Forecast::new(vec![outlook(10, 1, 1), outlook(30, 1, 1)], vec![0]);
        forecast.add(outlook(20, 4, 1));
        let remaining: Vec<usize> = forecast.outlooks.iter().map(|it| it.remaining).collect();
        assert_eq!((remaining, forecast.num_rows()), (vec![30, 20, 10], 6));
    }
}
