//! A model's tokenizer as the constraint engine sees it. The only place where the two meet.

use std::sync::Arc;

use sluicegate_constraint::{Encode, TokenBytes, Vocab, VocabError, VocabSource};
use sluicegate_model::tokenizer::Tokenizer;
use sluicegate_spec::{tokens::TokenBytes as ModelTokenBytes, units::TokenId};

/// Makes the vocabulary of a tokenizer, `num_logits` wide.
///
/// # Errors
/// [`VocabError`] where the tokens cannot be used for constraints, such as too many of them.
pub fn of(tokenizer: &Tokenizer, num_logits: usize) -> Result<Vocab, VocabError> {
    Vocab::new(source(tokenizer, num_logits), Some(Arc::new(Encoder(tokenizer.clone()))))
}

/// Each token's true bytes, and what ends an output.
///
/// A model may name an end token that its tokenizer has no entry for: it ends outputs all the same.
pub fn source(tokenizer: &Tokenizer, num_logits: usize) -> VocabSource {
    let token_bytes = |token: TokenId| match tokenizer.token_bytes(token) {
        ModelTokenBytes::Text(bytes) => TokenBytes::Text(bytes.clone()),
        ModelTokenBytes::Special(name) => TokenBytes::Special(name.clone()),
        ModelTokenBytes::Unused => TokenBytes::Unused,
    };
    let sampled = |token: &&TokenId| (**token as usize) < num_logits;
    let eos: Vec<TokenId> = tokenizer.eos().iter().filter(sampled).copied().collect();
    let last_end = eos.iter().map(|token| *token as usize + 1).max().unwrap_or(0);
    let num_tokens = u32::try_from(tokenizer.vocab_size().max(last_end)).unwrap_or(u32::MAX);
    VocabSource { tokens: (0..num_tokens).map(token_bytes).collect(), eos, num_logits }
}

/// The tokenizer's own way of cutting text, for jump-forward text.
struct Encoder(Tokenizer);

impl Encode for Encoder {
    /// Jump-forward text follows other text, so nothing is put before it. Bytes that begin a
    /// character and do not end it are left to the caller.
    fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        match std::str::from_utf8(text) {
            Ok(text) => self.0.encode_continuation(text).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }
}
