//! What a step made of a group's rows.

use sluicegate_core::scheduler::Child;

use super::rows::Row;
use crate::stream::{FinishReason, Output, OutputId, Token};

/// What a step made of a group.
#[derive(Debug, Default)]
pub(super) struct StepOutcome {
    /// Rows that go on; none ends the group.
    pub(super) children: Vec<Child>,
    /// Which of the advanced matchers belong to them.
    pub(super) kept_matchers: Vec<usize>,
    pub(super) texts: Vec<(OutputId, Shown)>,
    pub(super) outputs: Vec<Output>,
    /// Tokens that were kept.
    pub(super) num_tokens: usize,
    /// Those of them that followed without being sampled.
    pub(super) num_forced: usize,
    /// Tokens that the constraint vetoed.
    pub(super) num_vetoed: usize,
}

/// Newly shown text, and the tokens that have come since there was some.
pub(super) type Shown = (String, Vec<Token>);

/// A row with the step's tokens.
pub(super) struct Grown {
    pub(super) row: Row,
    pub(super) child: Child,
    /// Newly shown text.
    pub(super) text: String,
    pub(super) finish: Option<FinishReason>,
    /// Its place among the advanced matchers.
    pub(super) matcher: Option<usize>,
    pub(super) is_vetoed: bool,
}

impl StepOutcome {
    /// Counts the rows, which are still to be told apart.
    pub(super) fn of(grown: &[Grown]) -> Self {
        let num_tokens = |grown: &Grown| grown.child.tokens.len();
        Self {
            num_tokens: grown.iter().map(num_tokens).sum(),
            // A row that ended before its token has none.
            num_forced: grown.iter().map(|grown| num_tokens(grown).saturating_sub(1)).sum(),
            num_vetoed: grown.iter().filter(|grown| grown.is_vetoed).count(),
            ..Self::default()
        }
    }
}

/// Drops the hypotheses that ended up with another token than the search had chosen, but keeps
/// `wanted` in all, and none twice.
///
/// The token that was taken instead was not weighed against the others. Best first, so the best of
/// the vetoed ones stay where some must.
pub(super) fn drop_vetoed(grown: &mut Vec<Grown>, wanted: usize) {
    let mut seen: Vec<Child> =
        grown.iter().filter(|grown| !grown.is_vetoed).map(|grown| grown.child.clone()).collect();
    grown.retain(|grown| {
        if !grown.is_vetoed {
            return true;
        }
        let stays = seen.len() < wanted.max(1) && !seen.contains(&grown.child);
        if stays {
            seen.push(grown.child.clone());
        }
        stays
    });
}
