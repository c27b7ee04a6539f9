//! Masks at the last stage: stamped, and closed when in doubt.

use std::borrow::Cow;

use sluicegate_constraint::{EncodedMask, MaskDecodeError};
use sluicegate_core::messages::{MaskBits, MaskError, MaskRow, MaskRule};

/// The encoded mask for a row's next position by its rule; none where the row is free.
///
/// `masks` are those that came with the microbatch, per logit row; `row` is the one that is asked
/// for.
///
/// # Errors
/// [`MaskError`] if the row requires a mask and the right one is not there.
pub fn find(
    rule: MaskRule,
    masks: &[Option<MaskRow>],
    row: usize,
) -> Result<Option<&[u8]>, MaskError> {
    let MaskRule::Required(wanted) = rule else { return Ok(None) };
    let Some(Some(mask)) = masks.get(row) else { return Err(MaskError::Missing { wanted }) };
    if mask.stamp != wanted {
        return Err(MaskError::WrongStamp { wanted, found: mask.stamp });
    }
    if mask.positions.len() != 1 {
        return Err(MaskError::Positions { stamp: wanted, wanted: 1, found: mask.positions.len() });
    }
    own_bits(mask, &masks[..row]).map(Some)
}

/// Finds and decodes the bits for a row's next position. `valid` allows every real token.
///
/// # Errors
/// [`MaskError`] as for [`find`], or if the mask cannot be read or allows nothing.
pub fn resolve<'a>(
    rule: MaskRule,
    masks: &[Option<MaskRow>],
    row: usize,
    valid: &'a [u32],
) -> Result<Cow<'a, [u32]>, MaskError> {
    let (Some(bits), Some(stamp)) = (find(rule, masks, row)?, rule.stamp()) else {
        return Ok(Cow::Borrowed(valid));
    };
    // Padded logits stay closed whatever the mask says.
    EncodedMask::decode(bits, valid).map_err(|error| match error {
        MaskDecodeError::Empty => MaskError::Empty { stamp },
        error => MaskError::Malformed { stamp, message: error.to_string().into() },
    })
}

/// Follows one reference to a row before; whoever is referred to has bits of its own.
fn own_bits<'a>(mask: &'a MaskRow, before: &'a [Option<MaskRow>]) -> Result<&'a [u8], MaskError> {
    let found = match mask.positions.first() {
        Some(MaskBits::Own(bits)) => return Ok(bits),
        Some(MaskBits::SameAs(row)) => *row,
        None => return Err(MaskError::Missing { wanted: mask.stamp }),
    };
    let row = before.get(found as usize).and_then(Option::as_ref);
    match row.and_then(|row| row.positions.first()) {
        Some(MaskBits::Own(bits)) => Ok(bits),
        _ => Err(MaskError::NoSuchRow { stamp: mask.stamp, found }),
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_constraint::MaskForm;
    use sluicegate_core::messages::{SequenceId, Stamp};

    use super::*;

    fn stamp(step: u32, epoch: u64) -> Stamp {
        Stamp { sequence: SequenceId(3), step, epoch }
    }

    /// An encoded mask.
    fn encoded(form: MaskForm, body: &[u8]) -> MaskBits {
        MaskBits::Own([&[form as u8], body].concat().into())
    }

    fn dense(words: &[u32]) -> MaskBits {
        MaskBits::Own(EncodedMask::dense(words).into_bytes())
    }

    #[track_caller]
    fn check(rule: MaskRule, mask: Option<(Stamp, &[u32])>, want: &str) {
        let mask = mask.map(|(stamp, words)| MaskRow::new(stamp, dense(words)));
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
        let row = |bits| Some(MaskRow::new(stamp(4, 1), bits));
        let check_own = |bits, want: &str| check_row(required, &[row(bits)], 0, want);
        let only = |token: u32| encoded(MaskForm::Only, &token.to_le_bytes());
        let this = "the mask for sequence 3 step 4 epoch 1";
        check_own(encoded(MaskForm::All, &[]), "[7]");
        check_own(only(1), "[2]");
        check_own(only(3), &format!("{this} allows no token"));
        let beyond = "the mask names token 32, wanted one below 32";
        check_own(only(32), &format!("{this} cannot be read: {beyond}"));
        let broken = "the mask's list of tokens breaks off after 0 tokens";
        let bits = encoded(MaskForm::Sparse, &[0x80]);
        check_own(bits, &format!("{this} cannot be read: {broken}"));
        let bits = MaskBits::Own([9].into());
        let form = "the mask is of form 9, wanted one below 5";
        check_own(bits, &format!("{this} cannot be read: {form}"));
        let all = encoded(MaskForm::All, &[]);
        for found in [0, 2] {
            let positions = vec![all.clone(); found];
            let mask = Some(MaskRow { stamp: stamp(4, 1), positions });
            check_row(required, &[mask], 0, &format!("{this} has {found} positions, wanted 1"));
        }

        let same = |found| row(MaskBits::SameAs(found));
        let masks = [row(only(2)), None, same(0), same(1), same(2), same(5), same(9), same(0)];
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
        let stale = Some(MaskRow::new(stamp(3, 1), MaskBits::SameAs(0)));
        let wrong = "the mask is for sequence 3 step 3 epoch 1, \
                     wanted one for sequence 3 step 4 epoch 1";
        check_row(required, &[row(encoded(MaskForm::All, &[])), stale], 1, wrong);
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
            "the mask for sequence 3 step 4 epoch 1 cannot be read: \
             the mask's form takes 4 bytes, found 8",
        );
    }
}
