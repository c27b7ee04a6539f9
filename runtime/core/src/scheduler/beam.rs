//! Which hypotheses a beam search keeps. Pure.

use sluicegate_spec::units::TokenId;

/// A live row continued by a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub parent: usize,
    pub token: TokenId,
    /// Sum of log-probabilities, this token's included.
    pub score: f64,
}

/// What is kept, best first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kept {
    /// Hypothesis `i` of those that had finished.
    Finished(usize),
    Continued(Candidate),
}

/// Keeps the `width` best of the finished hypotheses, whose scores are frozen, and the candidates.
///
/// Ties go to what finished, then to the lower parent, then to the lower token.
pub fn select(width: usize, finished: &[f64], candidates: &[Candidate]) -> Vec<Kept> {
    let mut kept: Vec<(f64, Kept)> = finished
        .iter()
        .enumerate()
        .map(|(index, score)| (*score, Kept::Finished(index)))
        .chain(candidates.iter().map(|candidate| (candidate.score, Kept::Continued(*candidate))))
        .collect();
    let rank = |kept: &Kept| match kept {
        Kept::Finished(index) => (0, *index, 0),
        Kept::Continued(candidate) => (1, candidate.parent, candidate.token),
    };
    kept.sort_by(|(a_score, a), (b_score, b)| {
        b_score.total_cmp(a_score).then_with(|| rank(a).cmp(&rank(b)))
    });
    kept.truncate(width);
    kept.into_iter().map(|(_, kept)| kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(parent: usize, token: TokenId, score: f64) -> Candidate {
        Candidate { parent, token, score }
    }

    #[track_caller]
    fn check(width: usize, finished: &[f64], candidates: &[Candidate], want: &[Kept]) {
        assert_eq!(select(width, finished, candidates), want);
    }

    #[test]
    fn finished_hypotheses_compete_with_frozen_scores() {
        let (a, b, c) = (candidate(0, 5, -1.0), candidate(1, 6, -2.0), candidate(0, 7, -4.0));
        check(2, &[], &[c, b, a], &[Kept::Continued(a), Kept::Continued(b)]);
        check(2, &[-1.5], &[a, b, c], &[Kept::Continued(a), Kept::Finished(0)]);
        check(2, &[-0.5, -0.7], &[a, b], &[Kept::Finished(0), Kept::Finished(1)]);
        check(3, &[-3.0], &[b], &[Kept::Continued(b), Kept::Finished(0)]);
    }

    #[test]
    fn ties_go_to_what_finished_then_to_lower_parents_and_tokens() {
        let (a, b, c) = (candidate(1, 3, -1.0), candidate(0, 9, -1.0), candidate(0, 2, -1.0));
        check(
            4,
            &[-1.0],
            &[a, b, c],
            &[Kept::Finished(0), Kept::Continued(c), Kept::Continued(b), Kept::Continued(a)],
        );
    }
}
