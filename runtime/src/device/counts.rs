//! What masks were, and how tokens were taken under them.

use std::fmt;

use serde::Serialize;
use sluicegate_constraint::MaskForm;
use sluicegate_core::messages::{MaskBits, Masks};

/// Masks by their form on the link, and tokens that were not simply sampled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MaskCounts {
    /// Every token allowed.
    pub all: u64,
    /// One token allowed.
    pub only: u64,
    /// A list of what is allowed.
    pub sparse: u64,
    /// A list of what is not.
    pub denied: u64,
    /// A bit per token.
    pub dense: u64,
    /// The same as another row of the microbatch.
    pub same: u64,
    /// Tokens that a constraint left no choice about, of those that were taken.
    pub jump_forward_tokens: u64,
    /// Tokens that were sampled and not taken, since no valid output began with them.
    pub vetoed_tokens: u64,
}

impl MaskCounts {
    pub(super) fn add(&mut self, masks: &Masks) {
        for bits in masks.rows.iter().flatten().flat_map(|row| &row.positions) {
            let count = match bits {
                MaskBits::SameAs(_) => Some(&mut self.same),
                MaskBits::Own(bytes) => MaskForm::of(bytes).ok().map(|form| match form {
                    MaskForm::All => &mut self.all,
                    MaskForm::Only => &mut self.only,
                    MaskForm::Sparse => &mut self.sparse,
                    MaskForm::Denied => &mut self.denied,
                    MaskForm::Dense => &mut self.dense,
                }),
            };
            // A mask that cannot be read is refused where it arrives.
            if let Some(count) = count {
                *count += 1;
            }
        }
    }

    /// All masks.
    pub fn num_masks(&self) -> u64 {
        self.all + self.only + self.sparse + self.denied + self.dense + self.same
    }
}

/// One line, without its end.
impl fmt::Display for MaskCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { all, only, sparse, denied, dense, same, jump_forward_tokens, vetoed_tokens } =
            self;
        write!(
            f,
            "{} mask{}: {all} all, {only} only, {sparse} sparse, {denied} denied, {dense} dense, \
             {same} the same; {jump_forward_tokens} jump-forward token{}, {vetoed_tokens} vetoed",
            self.num_masks(),
            plural(self.num_masks()),
            plural(*jump_forward_tokens)
        )
    }
}

/// What a noun ends with behind a number.
fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}
