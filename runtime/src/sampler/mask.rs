//! Masks at the last stage: stamped, and closed when in doubt.

use std::{fmt, sync::Arc};

use crate::scheduler::GroupId;

/// Which row of which step a mask was computed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub group: GroupId,
    pub row: u32,
    /// Tokens that the row had generated.
    pub step: u32,
    /// How often the group's rows had been reordered.
    pub epoch: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} row {} step {} epoch {}", self.group, self.row, self.step, self.epoch)
    }
}

/// Whether a row is constrained. There is no third way: a required mask that is not there ends the
/// row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskRule {
    Free,
    Required(Stamp),
}

/// The mask of one row: a bit per token of the vocabulary, 32 to a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskRow {
    pub stamp: Stamp,
    pub words: Arc<[u32]>,
}

/// Why a mask was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    #[error("no mask came for {wanted}")]
    Missing { wanted: Stamp },
    #[error("the mask is for {found}, wanted one for {wanted}")]
    WrongStamp { wanted: Stamp, found: Stamp },
    #[error("the mask for {stamp} has {found} words, wanted {wanted}")]
    WrongWidth { stamp: Stamp, wanted: usize, found: usize },
    #[error("the mask for {stamp} allows no token")]
    Empty { stamp: Stamp },
}

/// Chooses the bits for a row by its rule.
///
/// `masks` are those that came with the microbatch, `valid` allows every real token.
///
/// # Errors
/// [`MaskError`] if the row requires a mask and the right one is not there.
pub fn resolve<'a>(
    rule: MaskRule,
    mask: Option<&'a MaskRow>,
    valid: &'a [u32],
) -> Result<&'a [u32], MaskError> {
    let MaskRule::Required(wanted) = rule else { return Ok(valid) };
    let Some(mask) = mask else { return Err(MaskError::Missing { wanted }) };
    if mask.stamp != wanted {
        return Err(MaskError::WrongStamp { wanted, found: mask.stamp });
    }
    if mask.words.len() != valid.len() {
        return Err(MaskError::WrongWidth {
            stamp: wanted,
            wanted: valid.len(),
            found: mask.words.len(),
        });
    }
    // Padded logits stay closed whatever the mask says.
    if mask.words.iter().zip(valid).all(|(word, valid)| word & valid == 0) {
        return Err(MaskError::Empty { stamp: wanted });
    }
    Ok(&mask.words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(step: u32, epoch: u64) -> Stamp {
        Stamp { group: GroupId(3), row: 0, step, epoch }
    }

    #[track_caller]
    fn check(rule: MaskRule, mask: Option<(Stamp, &[u32])>, want: &str) {
        let mask = mask.map(|(stamp, words)| MaskRow { stamp, words: words.into() });
        let got = match resolve(rule, mask.as_ref(), &[0b0111]) {
            Ok(words) => format!("{words:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn a_required_mask_fails_closed() {
        let required = MaskRule::Required(stamp(4, 1));
        check(MaskRule::Free, None, "[7]");
        check(required, Some((stamp(4, 1), &[2])), "[2]");
        check(required, None, "no mask came for group 3 row 0 step 4 epoch 1");
        let wrong = "wanted one for group 3 row 0 step 4 epoch 1";
        let stale = Some((stamp(3, 1), &[2][..]));
        check(required, stale, &format!("the mask is for group 3 row 0 step 3 epoch 1, {wrong}"));
        let reordered = Some((stamp(4, 0), &[2][..]));
        check(
            required,
            reordered,
            &format!("the mask is for group 3 row 0 step 4 epoch 0, {wrong}"),
        );
        let empty = "the mask for group 3 row 0 step 4 epoch 1 allows no token";
        check(required, Some((stamp(4, 1), &[0])), empty);
        check(required, Some((stamp(4, 1), &[0b1000])), empty);
        check(
            required,
            Some((stamp(4, 1), &[1, 1])),
            "the mask for group 3 row 0 step 4 epoch 1 has 2 words, wanted 1",
        );
    }
}
