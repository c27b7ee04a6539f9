//! A synthetic vocabulary of 50,000 tokens, and texts in its tokens.

use std::sync::Arc;

use sluicegate_constraint::{Encode, TokenBytes, TokenId, Vocab, VocabSource};

const NUM_TOKENS: u32 = 50_000;

/// One byte per token: any canonical tokenization will do.
struct Bytes;

impl Encode for Bytes {
    fn encode(&self, text: &[u8]) -> Vec<TokenId> {
        bytes(text)
    }
}

/// Returns a text with each byte as a token.
pub(crate) fn bytes(text: &[u8]) -> Vec<TokenId> {
    text.iter().copied().map(TokenId::from).collect()
}

/// Returns bits that look random and depend only on `token`.
fn mixed(token: u32, step: u32) -> u64 {
    let seed = (u64::from(token) << 8 | u64::from(step)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (seed ^ seed >> 31).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 33
}

/// Returns 2 to 9 letters, some with a space before them or the end of a string after them.
fn word(token: u32) -> Vec<u8> {
    let mut word: Vec<u8> = if mixed(token, 0).is_multiple_of(2) { vec![b' '] } else { Vec::new() };
    for step in 0..2 + mixed(token, 1) % 8 {
        let letter = mixed(token, 2 + u32::try_from(step).expect("few letters")) % 26;
        word.push(b"etaoinshrdlucmfwypvbgkjqxz"[usize::try_from(letter).expect("few letters")]);
    }
    if is_end(token) {
        word.extend_from_slice(b"\",");
    }
    word
}

fn is_end(token: u32) -> bool {
    mixed(token, 255).is_multiple_of(20)
}

/// Returns a vocabulary of all bytes, words, and one end token.
pub(crate) fn vocab() -> Arc<Vocab> {
    let bytes = (0..=255).map(|byte| vec![byte]);
    let texts = bytes.chain((256..NUM_TOKENS - 1).map(word)).map(TokenBytes::Text);
    let mut tokens: Vec<TokenBytes> = texts.collect();
    tokens.push(TokenBytes::Special("<eos>".to_string()));
    let source = VocabSource { tokens, eos: vec![NUM_TOKENS - 1], num_logits: NUM_TOKENS as usize };
    Arc::new(Vocab::new(source, Some(Arc::new(Bytes))).expect("it holds every byte"))
}

/// Returns tokens of several letters that may occur inside a string, different for each `salt`.
#[allow(dead_code, reason = "not every bench writes words")]
pub(crate) fn words(salt: u32) -> impl Iterator<Item = TokenId> {
    (256..NUM_TOKENS - 1).skip(salt as usize * 97).step_by(31).filter(|token| !is_end(*token))
}
