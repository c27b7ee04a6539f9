//! The matchers of simulated requests: what they answer, and when.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use super::request::{Search, SimulatedRequest};
use crate::{
    messages::SequenceId,
    sequence::Continuation,
    serve::{Answer, MatcherError},
};

/// The matchers that are open.
#[derive(Debug, Default)]
pub(super) struct Matchers(BTreeMap<SequenceId, Matcher>);

#[derive(Debug, Clone)]
struct Matcher {
    request: Rc<SimulatedRequest>,
    num_tokens: usize,
}

/// What matchers answered, and how long that took.
pub(super) struct Answered {
    pub(super) answers: Vec<Result<Answer, MatcherError>>,
    pub(super) seconds: f64,
}

impl Matchers {
    pub(super) fn open(&mut self, sequence: SequenceId, request: Rc<SimulatedRequest>) {
        self.0.insert(sequence, Matcher { request, num_tokens: 0 });
    }

    pub(super) fn close(&mut self, sequences: &[SequenceId]) {
        for sequence in sequences {
            self.0.remove(sequence);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forks by parent, and advances.
    pub(super) fn advance(&mut self, continuations: &[Continuation]) -> Answered {
        let mut seconds = 0.0_f64;
        for Continuation { parent, child, .. } in continuations {
            if let Some(matcher) = self.0.get(parent).filter(|_| parent != child) {
                self.0.insert(*child, matcher.clone());
            }
        }
        let answers = continuations.iter().map(|continuation| {
            let missing = || MatcherError::Failed { message: Arc::from("it has no matcher") };
            let matcher = self.0.get_mut(&continuation.child).ok_or_else(missing)?;
            let constraint = matcher.request.constraint.clone().unwrap_or_default();
            seconds = seconds.max(constraint.advance_s);
            if constraint.fails_after.is_some_and(|most| matcher.num_tokens >= most) {
                return Err(MatcherError::Failed { message: Arc::from("as it was told") });
            }
            let is_beam = matches!(matcher.request.search, Search::Beams(_));
            let answer = constraint.answer(continuation.tokens[0], is_beam);
            matcher.num_tokens += answer.tokens.len();
            Ok(answer)
        });
        let answers = answers.collect();
        Answered { answers, seconds }
    }
}
