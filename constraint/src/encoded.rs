//! Masks as bytes: the shortest of a few forms that say the same. Pure; knows no rows or stamps.

use std::borrow::Cow;

use crate::TokenId;
use crate::error::MaskDecodeError;
use crate::mask::{Mask, clear_bit, has_bit, ids, set_bit};
use crate::vocab::Vocab;

/// Holds a mask as the bytes that travel: a byte for its form, then what the form needs.
///
/// Numbers are little-endian. Whoever receives one has the tokens that exist
/// ([`Vocab::allow_all`]) already, and checks everything else with [`EncodedMask::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedMask(Box<[u8]>);

/// Names the form of an encoded mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MaskForm {
    /// Every token that exists; no more bytes.
    All = 0,
    /// One token, four bytes.
    Only = 1,
    /// The tokens that are allowed, as gaps.
    Sparse = 2,
    /// The tokens that exist and are not allowed, as gaps.
    Denied = 3,
    /// A bit per logit, 32 to a word of four bytes.
    Dense = 4,
}

const FORMS: [MaskForm; 5] =
    [MaskForm::All, MaskForm::Only, MaskForm::Sparse, MaskForm::Denied, MaskForm::Dense];

impl MaskForm {
    /// Reads the form of an encoded mask.
    ///
    /// # Errors
    /// [`MaskDecodeError`] if there is none.
    pub fn of(bytes: &[u8]) -> Result<Self, MaskDecodeError> {
        let found = *bytes.first().ok_or(MaskDecodeError::NoForm)?;
        let form = FORMS.get(usize::from(found)).copied();
        form.ok_or(MaskDecodeError::Form { found, bound: FORMS.len() })
    }
}

impl EncodedMask {
    /// Encodes `mask`, which is one of `vocab`.
    pub fn new(mask: &Mask, vocab: &Vocab) -> Self {
        let (words, valid) = (mask.words(), vocab.allow_all());
        let num_allowed = mask.num_allowed();
        let num_denied = vocab.num_valid() - num_allowed;
        if num_denied == 0 {
            return Self::of_form(MaskForm::All, []);
        }
        if num_allowed == 1
            && let Some(token) = mask.iter().next()
        {
            return Self::of_form(MaskForm::Only, token.to_le_bytes());
        }
        // A list takes a byte per token at least.
        let max_bytes = 1 + mask.num_bytes();
        let encoded = if num_allowed <= num_denied {
            encode_gaps(MaskForm::Sparse, mask.iter(), max_bytes)
        } else {
            let denied = valid.iter().zip(words).map(|(valid, bits)| valid & !bits);
            encode_gaps(MaskForm::Denied, ids(denied), max_bytes)
        };
        encoded.unwrap_or_else(|| Self::dense(words))
    }

    /// Encodes words as they are: a bit per logit, 32 to a word.
    pub fn dense(words: &[u32]) -> Self {
        Self::of_form(MaskForm::Dense, words.iter().flat_map(|word| word.to_le_bytes()))
    }

    fn of_form(form: MaskForm, body: impl IntoIterator<Item = u8>) -> Self {
        Self([form as u8].into_iter().chain(body).collect())
    }

    /// Returns the form.
    pub fn form(&self) -> MaskForm {
        MaskForm::of(&self.0).expect("it begins with a form")
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the bytes, to be sent.
    pub fn into_bytes(self) -> Box<[u8]> {
        self.0
    }

    /// Decodes bytes as they arrived into words of the width of `valid`, and never a bit that
    /// `valid` has not.
    ///
    /// # Errors
    /// [`MaskDecodeError`] for anything that is no mask of a vocabulary with these tokens.
    pub fn decode<'a>(bytes: &[u8], valid: &'a [u32]) -> Result<Cow<'a, [u32]>, MaskDecodeError> {
        let form = MaskForm::of(bytes)?;
        let body = &bytes[1..];
        let words = match form {
            MaskForm::All => {
                exact::<0>(body)?;
                Cow::Borrowed(valid)
            }
            MaskForm::Only => {
                let token = TokenId::from_le_bytes(exact(body)?);
                Cow::Owned(select([Ok(token)].into_iter(), valid)?)
            }
            MaskForm::Sparse => Cow::Owned(select(decode_gaps(body), valid)?),
            MaskForm::Denied => {
                let mut words = valid.to_vec();
                for token in decode_gaps(body) {
                    clear_bit(&mut words, in_range(token?, valid)?);
                }
                Cow::Owned(words)
            }
            MaskForm::Dense => Cow::Owned(dense(body, valid)?),
        };
        if words.iter().all(|word| *word == 0) {
            return Err(MaskDecodeError::Empty);
        }
        Ok(words)
    }
}

/// Returns all bytes of a form of a fixed size.
fn exact<const LEN: usize>(body: &[u8]) -> Result<[u8; LEN], MaskDecodeError> {
    body.try_into().map_err(|_| MaskDecodeError::Length { wanted: LEN, found: body.len() })
}

/// Reads words, and keeps the bits of tokens that exist.
fn dense(body: &[u8], valid: &[u32]) -> Result<Vec<u32>, MaskDecodeError> {
    let (words, rest) = body.as_chunks::<4>();
    if words.len() != valid.len() || !rest.is_empty() {
        let wanted = size_of_val(valid);
        return Err(MaskDecodeError::Length { wanted, found: body.len() });
    }
    Ok(words.iter().zip(valid).map(|(word, valid)| u32::from_le_bytes(*word) & valid).collect())
}

/// Sets the bits of the listed tokens that exist.
fn select(
    tokens: impl Iterator<Item = Result<TokenId, MaskDecodeError>>,
    valid: &[u32],
) -> Result<Vec<u32>, MaskDecodeError> {
    let mut words = vec![0; valid.len()];
    for token in tokens {
        let token = in_range(token?, valid)?;
        if has_bit(valid, token) {
            set_bit(&mut words, token);
        }
    }
    Ok(words)
}

fn in_range(token: TokenId, valid: &[u32]) -> Result<TokenId, MaskDecodeError> {
    let bound = valid.len() as u64 * 32;
    if u64::from(token) < bound {
        return Ok(token);
    }
    Err(MaskDecodeError::OutOfRange { token: token.into(), bound })
}

/// Writes ascending tokens as the distances between them less one, each in as many bytes as it
/// needs: seven bits to a byte, the lowest first; the eighth bit says that more follow. `None` if
/// the mask takes `max_bytes` or more.
fn encode_gaps(
    form: MaskForm,
    tokens: impl Iterator<Item = TokenId>,
    max_bytes: usize,
) -> Option<EncodedMask> {
    let mut bytes = vec![form as u8];
    let mut next = 0;
    for token in tokens {
        let mut gap = token - next;
        next = token + 1;
        while gap >= 0x80 {
            bytes.push(gap.to_le_bytes()[0] | 0x80);
            gap >>= 7;
        }
        bytes.push(gap.to_le_bytes()[0]);
        if bytes.len() >= max_bytes {
            return None;
        }
    }
    Some(EncodedMask(bytes.into()))
}

/// Iterates over the tokens of [`encode_gaps`]; ends after the first error.
fn decode_gaps(bytes: &[u8]) -> impl Iterator<Item = Result<TokenId, MaskDecodeError>> + '_ {
    let mut bytes = bytes.iter().copied();
    let mut next = 0u64;
    let mut found = 0;
    std::iter::from_fn(move || {
        let mut gap = 0u64;
        let mut shift = 0;
        loop {
            let Some(byte) = bytes.next() else {
                // Nothing of a number was read: this is where the list ends.
                return (shift > 0).then_some(Err(MaskDecodeError::Truncated { found }));
            };
            gap |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 28 {
                bytes = [].iter().copied();
                return Some(Err(MaskDecodeError::NumberTooLong { found }));
            }
        }
        let token = next + gap;
        next = token + 1;
        found += 1;
        Some(TokenId::try_from(token).map_err(|_| {
            bytes = [].iter().copied();
            MaskDecodeError::OutOfRange { token, bound: 1 << 32 }
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::{TokenBytes, VocabSource};

    /// 2,000 tokens of which every 50th does not exist, and padded logits.
    static VOCAB: LazyLock<Vocab> = LazyLock::new(|| {
        let token = |id: u32| match id % 50 {
            0 => TokenBytes::Unused,
            _ => TokenBytes::Text(format!("t{id}").into_bytes()),
        };
        let tokens = (0..2_000).map(token).collect();
        Vocab::new(VocabSource { tokens, eos: vec![7], num_logits: 2_050 }, None).unwrap()
    });

    /// Words of any density, from no token to all.
    fn raw() -> impl Strategy<Value = Vec<u32>> {
        let words = prop::collection::vec(any::<u32>(), 65);
        (words, 0..6u32, any::<bool>()).prop_map(|(words, thin, flip)| {
            let thinned = words
                .into_iter()
                .map(|word| (0..thin).fold(word, |word, by| word & word.rotate_left(by + 3)));
            thinned.map(|word| if flip { !word } else { word }).collect()
        })
    }

    proptest! {
        #[test]
        fn any_mask_comes_back_as_it_was(raw in raw()) {
            if let Some(mask) = Mask::from_raw(raw, &VOCAB) {
                let encoded = EncodedMask::new(&mask, &VOCAB);
                let decoded = EncodedMask::decode(encoded.as_bytes(), VOCAB.allow_all()).unwrap();
                prop_assert_eq!(&*decoded, mask.words());
                prop_assert!(encoded.as_bytes().len() <= 1 + mask.num_bytes());
                // What a list can say in fewer bytes is never sent as words.
                let shorter = mask.num_allowed().min(VOCAB.num_valid() - mask.num_allowed());
                prop_assert!(encoded.form() != MaskForm::Dense || 2 * shorter >= mask.num_bytes());
            }
        }
    }
}
