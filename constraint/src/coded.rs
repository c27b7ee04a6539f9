//! Masks as they travel: the shortest of a few forms that say the same. Pure; knows no rows or stamps.

use std::borrow::Cow;

use crate::TokenId;
use crate::mask::{Mask, clear_bit, has_bit, ids, set_bit};
use crate::vocab::Vocab;

/// Holds a mask in its shortest form. Whoever receives one has the tokens that exist
/// ([`Vocab::allow_all`]) already, and checks everything else with [`CodedMask::decode`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CodedMask {
    /// Every token that exists.
    All,
    /// One token.
    Only(TokenId),
    /// These tokens.
    Sparse(Gaps),
    /// Every token that exists but these.
    Denied(Gaps),
    /// A bit per logit, 32 to a word.
    Dense(Box<[u32]>),
}

/// Names the form of a coded mask, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MaskKind {
    All,
    Only,
    Sparse,
    Denied,
    Dense,
}

/// Why a coded mask is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeError {
    /// A token is beyond the logits.
    #[error("the mask names token {token}, wanted one below {bound}")]
    OutOfRange { token: u64, bound: usize },
    /// A list of tokens ends within a number.
    #[error("the mask's list of tokens breaks off after {found} tokens")]
    Truncated { found: usize },
    /// The words are not as many as the logits need.
    #[error("the mask has {found} words, wanted {wanted}")]
    Width { wanted: usize, found: usize },
    /// No token that exists is allowed.
    #[error("the mask allows no token")]
    Empty,
}

impl CodedMask {
    /// Codes `mask`, which is one of `vocab`.
    pub fn new(mask: &Mask, vocab: &Vocab) -> Self {
        let (words, valid) = (mask.words(), vocab.allow_all());
        let num_allowed = mask.num_allowed();
        let num_denied = vocab.num_valid() - num_allowed;
        if num_denied == 0 {
            return Self::All;
        }
        if num_allowed == 1
            && let Some(token) = mask.iter().next()
        {
            return Self::Only(token);
        }
        // A list takes a byte per token at least.
        let max_bytes = mask.num_bytes();
        let coded = if num_allowed <= num_denied {
            Gaps::new(mask.iter(), max_bytes).map(Self::Sparse)
        } else {
            let denied = valid.iter().zip(words).map(|(valid, bits)| valid & !bits);
            Gaps::new(ids(denied), max_bytes).map(Self::Denied)
        };
        coded.unwrap_or_else(|| Self::Dense(words.into()))
    }

    /// Returns the form.
    pub fn kind(&self) -> MaskKind {
        match self {
            Self::All => MaskKind::All,
            Self::Only(_) => MaskKind::Only,
            Self::Sparse(_) => MaskKind::Sparse,
            Self::Denied(_) => MaskKind::Denied,
            Self::Dense(_) => MaskKind::Dense,
        }
    }

    /// Returns its size on a link: a byte for the form, and what the form needs.
    pub fn num_bytes(&self) -> usize {
        1 + match self {
            Self::All => 0,
            Self::Only(_) => size_of::<TokenId>(),
            Self::Sparse(gaps) | Self::Denied(gaps) => size_of::<u32>() + gaps.0.len(),
            Self::Dense(words) => size_of_val(&**words),
        }
    }

    /// Returns the words, of the width of `valid`, and never a bit that `valid` has not.
    ///
    /// # Errors
    /// [`CodeError`] for anything that is no mask of a vocabulary with these tokens.
    pub fn decode<'a>(&'a self, valid: &'a [u32]) -> Result<Cow<'a, [u32]>, CodeError> {
        let words = match self {
            Self::All => Cow::Borrowed(valid),
            Self::Only(token) => Cow::Owned(select([Ok(*token)].into_iter(), valid)?),
            Self::Sparse(gaps) => Cow::Owned(select(gaps.iter(), valid)?),
            Self::Denied(gaps) => {
                let mut words = valid.to_vec();
                for token in gaps.iter() {
                    clear_bit(&mut words, in_range(token?, valid)?);
                }
                Cow::Owned(words)
            }
            Self::Dense(words) if words.len() != valid.len() => {
                return Err(CodeError::Width { wanted: valid.len(), found: words.len() });
            }
            Self::Dense(words) => {
                Cow::Owned(words.iter().zip(valid).map(|(bits, valid)| bits & valid).collect())
            }
        };
        if words.iter().all(|word| *word == 0) {
            return Err(CodeError::Empty);
        }
        Ok(words)
    }
}

/// Sets the bits of the listed tokens that exist.
fn select(
    tokens: impl Iterator<Item = Result<TokenId, CodeError>>,
    valid: &[u32],
) -> Result<Vec<u32>, CodeError> {
    let mut words = vec![0; valid.len()];
    for token in tokens {
        let token = in_range(token?, valid)?;
        if has_bit(valid, token) {
            set_bit(&mut words, token);
        }
    }
    Ok(words)
}

fn in_range(token: TokenId, valid: &[u32]) -> Result<TokenId, CodeError> {
    let bound = valid.len() * 32;
    if (token as usize) < bound {
        return Ok(token);
    }
    Err(CodeError::OutOfRange { token: token.into(), bound })
}

/// Holds ascending tokens as the distances between them less one, each in as many bytes as it
/// needs: seven bits to a byte, the lowest first, the eighth bit says that more follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gaps(Box<[u8]>);

impl Gaps {
    /// Lists `tokens`, which ascend. `None` if that takes more than `max_bytes`.
    fn new(tokens: impl Iterator<Item = TokenId>, max_bytes: usize) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut next = 0;
        for token in tokens {
            let mut gap = token - next;
            next = token + 1;
            while gap >= 0x80 {
                bytes.push(gap.to_le_bytes()[0] | 0x80);
                gap >>= 7;
            }
            bytes.push(gap.to_le_bytes()[0]);
            // The count that goes before the list is part of its size.
            if bytes.len() + size_of::<u32>() > max_bytes {
                return None;
            }
        }
        Some(Self(bytes.into()))
    }

    /// Takes bytes as they arrived; [`CodedMask::decode`] checks them.
    pub fn from_bytes(bytes: Box<[u8]>) -> Self {
        Self(bytes)
    }

    /// Iterates over the tokens; ends after the first error.
    fn iter(&self) -> impl Iterator<Item = Result<TokenId, CodeError>> + '_ {
        let mut bytes = self.0.iter().copied();
        let mut next = 0u64;
        let mut found = 0;
        std::iter::from_fn(move || {
            let mut gap = 0u64;
            let mut shift = 0;
            loop {
                let Some(byte) = bytes.next() else {
                    // Nothing of a number was read: this is where the list ends.
                    return (shift > 0).then_some(Err(CodeError::Truncated { found }));
                };
                gap |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
                if shift > 28 {
                    let error = CodeError::OutOfRange { token: next + gap, bound: 1 << 32 };
                    bytes = [].iter().copied();
                    return Some(Err(error));
                }
            }
            let token = next + gap;
            next = token + 1;
            found += 1;
            let bound = 1 << 32;
            Some(TokenId::try_from(token).map_err(|_| CodeError::OutOfRange { token, bound }))
        })
    }
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
                let coded = CodedMask::new(&mask, &VOCAB);
                let decoded = coded.decode(VOCAB.allow_all()).unwrap();
                prop_assert_eq!(&*decoded, mask.words());
                prop_assert!(coded.num_bytes() <= 1 + mask.num_bytes());
                // What a list can say in fewer bytes is never sent as words.
                let shorter = mask.num_allowed().min(VOCAB.num_valid() - mask.num_allowed());
                prop_assert!(coded.kind() != MaskKind::Dense || 2 * shorter + 4 > mask.num_bytes());
            }
        }
    }
}
