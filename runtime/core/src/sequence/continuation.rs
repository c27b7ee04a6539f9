//! Who continues whom.

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

use crate::messages::SequenceId;

/// How a sequence goes on: the only way in which sequences continue, fork or end. Matchers, pages
/// and text follow it.
///
/// A parent that no continuation of a step names ends. Of several that name the same one, the last
/// is the parent itself, and those before are forks of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continuation {
    pub parent: SequenceId,
    pub child: SequenceId,
    /// What the child has more than its parent.
    pub tokens: Vec<TokenId>,
}

/// Hands out the numbers of sequences.
#[derive(Debug, Default)]
pub struct Ids(u64);

impl Ids {
    /// A number that no sequence has.
    pub fn new_id(&mut self) -> SequenceId {
        self.0 += 1;
        SequenceId(self.0)
    }

    /// The continuations of parents by tokens, in order.
    pub fn continuations(&mut self, steps: Vec<(SequenceId, Vec<TokenId>)>) -> Vec<Continuation> {
        let parents: Vec<SequenceId> = steps.iter().map(|(parent, _)| *parent).collect();
        let child_of = |(at, (parent, tokens)): (usize, (SequenceId, Vec<TokenId>))| {
            let is_last = !parents[at + 1..].contains(&parent);
            let child = if is_last { parent } else { self.new_id() };
            Continuation { parent, child, tokens }
        };
        steps.into_iter().enumerate().map(child_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_is_the_parent_itself() {
        let mut ids = Ids::default();
        let (a, b) = (ids.new_id(), ids.new_id());
        let made = ids
            .continuations([(a, 7), (b, 8), (a, 9), (a, 10)].map(|(id, it)| (id, vec![it])).into());
        let made: Vec<(u64, u64, TokenId)> =
            made.iter().map(|it| (it.parent.0, it.child.0, it.tokens[0])).collect();
        assert_eq!(made, [(1, 3, 7), (2, 2, 8), (1, 4, 9), (1, 1, 10)]);
    }
}
