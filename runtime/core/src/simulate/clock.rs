//! The virtual clock: events in the order of their times.

use std::{cmp::Ordering, collections::BinaryHeap};

/// What happens next, and when it is now.
#[derive(Debug)]
pub(super) struct Clock<E> {
    now_s: f64,
    queue: BinaryHeap<Entry<E>>,
    next_number: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at_s: f64,
    /// Events of one moment happen in the order in which they were foreseen.
    number: u64,
    event: E,
}

impl<E> Clock<E> {
    pub(super) fn new() -> Self {
        Self { now_s: 0.0, queue: BinaryHeap::new(), next_number: 0 }
    }

    pub(super) fn now_s(&self) -> f64 {
        self.now_s
    }

    /// Lets something happen; at once if its time has passed.
    pub(super) fn at(&mut self, at_s: f64, event: E) {
        let at_s = at_s.max(self.now_s);
        self.queue.push(Entry { at_s, number: self.next_number, event });
        self.next_number += 1;
    }

    /// Goes on to the next event.
    pub(super) fn pop(&mut self) -> Option<E> {
        let Entry { at_s, event, .. } = self.queue.pop()?;
        self.now_s = at_s;
        Some(event)
    }

    /// Goes on to the first event of the lane that is chosen: what is in one lane keeps its order.
    /// Those to choose from are in the order of their times.
    #[cfg(test)]
    pub(super) fn pop_of<L: PartialEq>(
        &mut self,
        lane: impl Fn(&E) -> L,
        choose: impl FnOnce(Vec<L>) -> usize,
    ) -> Option<E> {
        let mut entries = std::mem::take(&mut self.queue).into_sorted_vec();
        entries.reverse();
        let mut lanes = Vec::new();
        let mut first = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let lane = lane(&entry.event);
            if !lanes.contains(&lane) {
                lanes.push(lane);
                first.push(index);
            }
        }
        let chosen = (!first.is_empty()).then(|| entries.remove(first[choose(lanes)]));
        self.queue = entries.into();
        let Entry { at_s, event, .. } = chosen?;
        self.now_s = self.now_s.max(at_s);
        Some(event)
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives the greatest: the earliest one.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at_s.total_cmp(&self.at_s).then(other.number.cmp(&self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_they_were_foreseen() {
        let mut clock = Clock::new();
        for (at_s, event) in [(2.0, 'c'), (1.0, 'a'), (2.0, 'd'), (1.0, 'b')] {
            clock.at(at_s, event);
        }
        let popped: Vec<(char, f64)> =
            std::iter::from_fn(|| clock.pop().map(|event| (event, clock.now_s()))).collect();
        assert_eq!(popped, [('a', 1.0), ('b', 1.0), ('c', 2.0), ('d', 2.0)]);
        clock.at(0.5, 'e');
        assert_eq!((clock.pop(), clock.now_s()), (Some('e'), 2.0));
    }

    #[test]
    fn an_event_of_another_lane_may_come_before_its_time() {
        let mut clock = Clock::new();
        for (at_s, event) in [(1.0, 'a'), (2.0, 'B'), (3.0, 'b'), (4.0, 'c')] {
            clock.at(at_s, event);
        }
        let mut pop = |chosen: usize, want: &[bool]| {
            let choose = |lanes: Vec<bool>| {
                assert_eq!(lanes, want);
                chosen
            };
            (clock.pop_of(char::is_ascii_uppercase, choose), clock.now_s())
        };
        assert_eq!(pop(1, &[false, true]), (Some('B'), 2.0));
        assert_eq!(pop(0, &[false]), (Some('a'), 2.0));
        assert_eq!(pop(0, &[false]), (Some('b'), 3.0));
    }
}
