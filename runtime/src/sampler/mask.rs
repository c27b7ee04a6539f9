//! Masks at the last stage: stamped, and closed when in doubt.

use std::borrow::Cow;

use sluicegate_constraint::{CodeError, CodedMask};
use sluicegate_core::messages::{MaskError, MaskRule, Stamp};

/// The mask of one row, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskRow {
    pub stamp: Stamp,
    pub bits: MaskBits,
}

/// What a row's mask allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskBits {
    Own(CodedMask),
    /// The same as that logit row of the microbatch, which comes before this one and has its own.
    SameAs(u32),
}

impl MaskRow {
    /// A mask as plain words: a bit per token of the vocabulary, 32 to a word.
    pub fn dense(stamp: Stamp, words: impl Into<Box<[u32]>>) -> Self {
        Self { stamp, bits: MaskBits::Own(CodedMask::Dense(words.into())) }
    }
}

/// Decodes the bits for a row by its rule.
///
/// `masks` are those that came with the microbatch, per logit row; `row` is the one that is asked
/// for, and `valid` allows every real token.
///
/// # Errors
/// [`MaskError`] if the row requires a mask and the right one is not there.
pub fn resolve<'a>(
    rule: MaskRule,
    masks: &'a [Option<MaskRow>],
    row: usize,
    valid: &'a [u32],
) -> Result<Cow<'a, [u32]>, MaskError> {
    let MaskRule::Required(wanted) = rule else { return Ok(Cow::Borrowed(valid)) };
    let Some(Some(mask)) = masks.get(row) else { return Err(MaskError::Missing { wanted }) };
    if mask.stamp != wanted {
        return Err(MaskError::WrongStamp { wanted, found: mask.stamp });
    }
    // Padded logits stay closed whatever the mask says.
    own_bits(mask, &masks[..row])?.decode(valid).map_err(|error| match error {
        CodeError::Width { wanted: words, found } => {
            MaskError::WrongWidth { stamp: wanted, wanted: words, found }
        }
        CodeError::Empty => MaskError::Empty { stamp: wanted },
        error => MaskError::Malformed { stamp: wanted, message: error.to_string().into() },
    })
}

/// Follows one reference to a row before; whoever is referred to has bits of its own.
fn own_bits<'a>(
    mask: &'a MaskRow,
    before: &'a [Option<MaskRow>],
) -> Result<&'a CodedMask, MaskError> {
    let found = match &mask.bits {
        MaskBits::Own(coded) => return Ok(coded),
        MaskBits::SameAs(row) => *row,
    };
    match before.get(found as usize) {
        Some(Some(MaskRow { bits: MaskBits::Own(coded), .. })) => Ok(coded),
        _ => Err(MaskError::NoSuchRow { stamp: mask.stamp, found }),
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_constraint::Gaps;
    use sluicegate_core::messages::SequenceId;

    use super::*;

    fn stamp(step: u32, epoch: u64) -> Stamp {
        Stamp { sequence: SequenceId(3), step, epoch }
    }

    #[track_caller]
    fn check(rule: MaskRule, mask: Option<(Stamp, &[u32])>, want: &str) {
        let mask = mask.map(|(stamp, words)| MaskRow::dense(stamp, words));
        check_row(rule, &[mask], 0, want);
    }

    #[track_caller]
    fn check_row(rule: MaskRule, masks: &[Option<MaskRow>], row: usize, want: &str) {
        let got = match resolve(rule, masks, row, &[0b0111]) {
            Ok(words) => format!("{words:?}"),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn a_mask_in_any_form_is_checked_in_the_same_way() {
        let required = MaskRule::Required(stamp(4, 1));
        let row = |bits| Some(MaskRow { stamp: stamp(4, 1), bits });
        let own = |coded| row(MaskBits::Own(coded));
        let check_own = |coded, want: &str| check_row(required, &[own(coded)], 0, want);
        let this = "the mask for sequence 3 step 4 epoch 1";
        check_own(CodedMask::All, "[7]");
        check_own(CodedMask::Only(1), "[2]");
        check_own(CodedMask::Only(3), &format!("{this} allows no token"));
        let beyond = CodedMask::Only(32);
        let unreadable = |coded: &CodedMask| {
            let error = coded.decode(&[0b0111]).unwrap_err();
            format!("{this} cannot be read: {error}")
        };
        check_own(beyond.clone(), &unreadable(&beyond));
        let broken = CodedMask::Sparse(Gaps::from_bytes([0x80].into()));
        check_own(broken.clone(), &unreadable(&broken));

        let same = |found| row(MaskBits::SameAs(found));
        let masks =
            [own(CodedMask::Only(2)), None, same(0), same(1), same(2), same(5), same(9), same(0)];
        let none =
            |found| format!("{this} is that of row {found}, which has none of its own before it");
        check_row(required, &masks, 2, "[4]");
        check_row(required, &masks, 3, &none(1));
        check_row(required, &masks, 4, &none(2));
        check_row(required, &masks, 5, &none(5));
        check_row(required, &masks, 6, &none(9));
        check_row(required, &masks, 7, "[4]");
        check_row(required, &masks, 8, "no mask came for sequence 3 step 4 epoch 1");
        // Another row's bits under this row's own stamp only.
        let stale = Some(MaskRow { stamp: stamp(3, 1), bits: MaskBits::SameAs(0) });
        let wrong = "the mask is for sequence 3 step 3 epoch 1, \
                     wanted one for sequence 3 step 4 epoch 1";
        check_row(required, &[own(CodedMask::All), stale], 1, wrong);
    }

    #[test]
    fn a_required_mask_fails_closed() {
        let required = MaskRule::Required(stamp(4, 1));
        check(MaskRule::Free, None, "[7]");
        check(required, Some((stamp(4, 1), &[2])), "[2]");
        check(required, None, "no mask came for sequence 3 step 4 epoch 1");
        let wrong = "wanted one for sequence 3 step 4 epoch 1";
        let stale = Some((stamp(3, 1), &[2][..]));
        check(required, stale, &format!("the mask is for sequence 3 step 3 epoch 1, {wrong}"));
        let reordered = Some((stamp(4, 0), &[2][..]));
        check(required, reordered, &format!("the mask is for sequence 3 step 4 epoch 0, {wrong}"));
        let empty = "the mask for sequence 3 step 4 epoch 1 allows no token";
        check(required, Some((stamp(4, 1), &[0])), empty);
        check(required, Some((stamp(4, 1), &[0b1000])), empty);
        check(
            required,
            Some((stamp(4, 1), &[1, 1])),
            "the mask for sequence 3 step 4 epoch 1 has 2 words, wanted 1",
        );
    }
}
