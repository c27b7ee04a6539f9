//! How long microbatches wait for matchers.

use std::{collections::BTreeSet, time::Duration};

use crate::messages::GroupId;

/// Groups that are waited for: as long as most matchers take, so that rows that came back together
/// go on together; then, where a microbatch is not full without them, half of what a step takes
/// from the first of them on; and then for none of them. So slow matchers never cost the others
/// more than half a step before each of theirs, or half a millisecond if that is longer.
#[derive(Debug, Default)]
pub(super) struct Patience {
    groups: BTreeSet<GroupId>,
    /// Until when everybody waits.
    soon: Option<Duration>,
    /// Until when a microbatch that is not full does.
    until: Option<Duration>,
}

const SOON: Duration = Duration::from_micros(500);
const MOST: Duration = Duration::from_millis(100);

impl Patience {
    /// Waits for a group whose matchers are at work since `now`, after a step of this length.
    pub(super) fn begin(&mut self, group: GroupId, step: Duration, now: Duration) {
        if self.groups.is_empty() {
            self.soon = Some(now.saturating_add(SOON));
            self.until = Some(now.saturating_add((step / 2).clamp(SOON, MOST)));
        }
        self.groups.insert(group);
    }

    pub(super) fn end(&mut self, group: GroupId) {
        if self.groups.remove(&group) && self.groups.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        if self.until.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
        self.soon = self.soon.filter(|soon| *soon > now);
    }

    /// Whether a microbatch may go, which may be full.
    pub(super) fn lets_go(&self, is_full: impl FnOnce() -> bool) -> bool {
        self.groups.is_empty() || self.soon.is_none() && is_full()
    }

    /// When it lets more go, where nobody answers before.
    pub(super) fn until(&self) -> Option<Duration> {
        self.soon.or(self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// What may go: nothing, a full microbatch, any.
    fn lets_go(patience: &Patience) -> [bool; 2] {
        [true, false].map(|is_full| patience.lets_go(|| is_full))
    }

    #[test]
    fn all_wait_for_a_moment_and_then_only_what_is_not_full() {
        let mut patience = Patience::default();
        assert_eq!(lets_go(&patience), [true, true]);
        patience.begin(GroupId(1), ms(20), ms(0));
        assert_eq!((lets_go(&patience), patience.until()), ([false, false], Some(SOON)));
        patience.expire(SOON);
        assert_eq!((lets_go(&patience), patience.until()), ([true, false], Some(ms(10))));
        patience.expire(ms(10));
        assert_eq!((lets_go(&patience), patience.until()), ([true, true], None));
    }

    #[test]
    fn matchers_that_follow_each_other_do_not_add_up() {
        let mut patience = Patience::default();
        for (group, at) in [(1, 0), (2, 8), (3, 9)] {
            patience.expire(ms(at));
            patience.begin(GroupId(group), ms(20), ms(at));
        }
        assert_eq!(patience.until(), Some(ms(10)));
        patience.expire(ms(10));
        patience.begin(GroupId(4), ms(20), ms(10));
        patience.end(GroupId(1));
        assert!(!patience.lets_go(|| true), "nobody is waited for twice");
        patience.end(GroupId(4));
        assert_eq!((lets_go(&patience), patience.until()), ([true, true], None));
    }
}
