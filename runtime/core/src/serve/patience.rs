//! How long a microbatch that is not full waits for matchers.

use std::{collections::BTreeSet, time::Duration};

use crate::messages::GroupId;

/// Groups that are waited for: half of what a step takes from the first of them on, and then for none
/// of them. So slow matchers never cost the others more than half a step before each of theirs.
#[derive(Debug, Default)]
pub(super) struct Patience {
    groups: BTreeSet<GroupId>,
    until: Option<Duration>,
}

const LEAST: Duration = Duration::from_micros(500);
const MOST: Duration = Duration::from_millis(100);

impl Patience {
    /// Waits for a group whose matchers are at work since `now`, after a step of this length.
    pub(super) fn begin(&mut self, group: GroupId, step: Duration, now: Duration) {
        self.groups.insert(group);
        self.until.get_or_insert(now.saturating_add((step / 2).clamp(LEAST, MOST)));
    }

    pub(super) fn end(&mut self, group: GroupId) {
        if self.groups.remove(&group) && self.groups.is_empty() {
            self.until = None;
        }
    }

    pub(super) fn expire(&mut self, now: Duration) {
        if self.until.is_some_and(|until| until <= now) {
            *self = Self::default();
        }
    }

    /// Whether somebody is waited for.
    pub(super) fn holds(&self) -> bool {
        !self.groups.is_empty()
    }

    /// The last moment at which somebody is.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_that_follow_each_other_do_not_add_up() {
        let ms = Duration::from_millis;
        let mut patience = Patience::default();
        for (group, at) in [(1, 0), (2, 8), (3, 9)] {
            patience.expire(ms(at));
            patience.begin(GroupId(group), ms(20), ms(at));
        }
        assert_eq!((patience.holds(), patience.until()), (true, Some(ms(10))));
        patience.expire(ms(10));
        assert_eq!((patience.holds(), patience.until()), (false, None));
        patience.begin(GroupId(4), ms(20), ms(10));
        patience.end(GroupId(1));
        assert!(patience.holds(), "nobody is waited for twice");
        patience.end(GroupId(4));
        assert_eq!((patience.holds(), patience.until()), (false, None));
    }
}
