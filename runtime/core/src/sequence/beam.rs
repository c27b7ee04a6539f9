//! Which hypotheses a beam search keeps, and how they are ranked. Pure.

use sluicegate_spec::units::TokenId;

use super::transcript::Transcript;

/// A row of a group continued by a token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub row: u32,
    pub token: TokenId,
    /// By [`Transcript::rank_with`].
    pub rank: f64,
}

/// What is kept, by its place among what was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A hypothesis that had finished.
    Finished(usize),
    /// A candidate.
    Continued(usize),
}

/// Keeps the `width` best of the finished hypotheses, whose ranks are frozen, and the candidates;
/// best first.
///
/// Ties go to what finished, then to the lower row, then to the lower token.
pub fn select(width: usize, finished: &[f64], candidates: &[Candidate]) -> Vec<Kept> {
    let finished = finished.iter().enumerate();
    let finished = finished.map(|(index, rank)| (*rank, (0, 0), Kept::Finished(index)));
    let continued = candidates.iter().enumerate();
    let continued = continued.map(|(index, candidate)| {
        let Candidate { row, token, rank } = *candidate;
        (rank, (row, token), Kept::Continued(index))
    });
    // Stable, so that those that finished come first, in their order.
    let mut kept: Vec<_> = finished.chain(continued).collect();
    kept.sort_by(|(a_rank, a, a_kept), (b_rank, b, b_kept)| {
        let is_new = |kept: &Kept| matches!(kept, Kept::Continued(_));
        let by_age = || is_new(a_kept).cmp(&is_new(b_kept));
        b_rank.total_cmp(a_rank).then_with(by_age).then_with(|| a.cmp(b))
    });
    kept.truncate(width);
    kept.into_iter().map(|(.., kept)| kept).collect()
}

impl Transcript {
    /// What hypotheses are ranked by: the sum of log-probabilities, divided by the number of tokens
    /// to the power of `length_penalty`.
    ///
    /// Source: Wu et al. 2016, arXiv:1609.08144, section 7, in the form of transformers.
    pub fn rank(&self, length_penalty: f64) -> f64 {
        ranked(self.score(), self.num_scored(), length_penalty)
    }

    /// What it would be ranked by with one token more.
    pub fn rank_with(&self, log_probability: f64, length_penalty: f64) -> f64 {
        ranked(self.score() + log_probability, self.num_scored() + 1, length_penalty)
    }
}

fn ranked(score: f64, num_tokens: usize, length_penalty: f64) -> f64 {
    // As it is, to the last bit, where nothing is asked for.
    if length_penalty == 0.0 {
        return score;
    }
    score / (num_tokens.max(1) as f64).powf(length_penalty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(row: u32, token: TokenId, rank: f64) -> Candidate {
        Candidate { row, token, rank }
    }

    #[test]
    fn finished_hypotheses_compete_with_frozen_ranks() {
        let (a, b, c) = (candidate(0, 5, -1.0), candidate(1, 6, -2.0), candidate(0, 7, -4.0));
        let (finished, continued) = (Kept::Finished, Kept::Continued);
        assert_eq!(select(2, &[], &[c, b, a]), [continued(2), continued(1)]);
        assert_eq!(select(2, &[-1.5], &[a, b, c]), [continued(0), finished(0)]);
        assert_eq!(select(2, &[-0.5, -0.7], &[a, b]), [finished(0), finished(1)]);
        assert_eq!(select(3, &[-3.0], &[b]), [continued(0), finished(0)]);
    }

    #[test]
    fn ties_go_to_what_finished_then_to_lower_rows_and_tokens() {
        let (a, b, c) = (candidate(1, 3, -1.0), candidate(0, 9, -1.0), candidate(0, 2, -1.0));
        let want = [Kept::Finished(0), Kept::Continued(2), Kept::Continued(1), Kept::Continued(0)];
        assert_eq!(select(4, &[-1.0], &[a, b, c]), want);
    }
}
