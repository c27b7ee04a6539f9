//! The mask of one row: which tokens may come next. Owns the bit layout and knows no grammar.

use crate::TokenId;
use crate::vocab::Vocab;

/// Holds one bit per logit: bit `t % 32` of word `t / 32` is set when token `t` is allowed.
///
/// At least one bit is set. Bits of unused ids and beyond the last logit are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    words: Vec<u32>,
}

impl Mask {
    /// Takes `raw`, of any length, cut or padded to the vocabulary's words and masked to the tokens
    /// that exist. Returns `None` if no bit is left.
    pub(crate) fn from_raw(raw: impl Into<Vec<u32>>, vocab: &Vocab) -> Option<Self> {
        let valid = vocab.allow_all();
        let mut words = raw.into();
        words.resize(valid.len(), 0);
        let mut any = 0;
        // Both slices have one length, so that this compiles to a few wide instructions.
        for (word, valid) in words.iter_mut().zip(valid) {
            *word &= valid;
            any |= *word;
        }
        (any != 0).then_some(Self { words })
    }

    /// Clears tokens. Returns false if no token is left.
    pub(crate) fn deny(&mut self, tokens: &[TokenId]) -> bool {
        for token in tokens {
            clear_bit(&mut self.words, *token);
        }
        self.words.iter().any(|word| *word != 0)
    }

    /// Sets tokens, which must exist, again.
    pub(crate) fn allow(&mut self, tokens: &[TokenId]) {
        for token in tokens {
            set_bit(&mut self.words, *token);
        }
    }

    /// Returns the words; there are as many as the vocabulary's `num_words`.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Counts the allowed tokens; at least 1.
    pub fn num_allowed(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns the size of the words in bytes.
    pub fn num_bytes(&self) -> usize {
        self.words.len() * size_of::<u32>()
    }

    /// Returns whether `token` is allowed; false beyond the logits.
    pub fn allows(&self, token: TokenId) -> bool {
        has_bit(&self.words, token)
    }

    /// Iterates over the allowed tokens in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = TokenId> + '_ {
        ids(self.words.iter().copied())
    }
}

/// Iterates over the set bits of `words` in ascending order.
pub(crate) fn ids(words: impl Iterator<Item = u32>) -> impl Iterator<Item = TokenId> {
    (0u32..).zip(words).flat_map(|(word_idx, word)| {
        let mut left = word;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros())?;
            left &= left - 1;
            Some(word_idx * 32 + bit)
        })
    })
}

/// Returns whether bit `token` is set; false beyond the words.
pub(crate) fn has_bit(words: &[u32], token: TokenId) -> bool {
    words.get(token as usize / 32).is_some_and(|word| word >> (token % 32) & 1 == 1)
}

/// Sets bit `token`, which lies within the words.
pub(crate) fn set_bit(words: &mut [u32], token: TokenId) {
    words[token as usize / 32] |= 1 << (token % 32);
}

/// Clears bit `token`, if it lies within the words.
pub(crate) fn clear_bit(words: &mut [u32], token: TokenId) {
    if let Some(word) = words.get_mut(token as usize / 32) {
        *word &= !(1 << (token % 32));
    }
}
