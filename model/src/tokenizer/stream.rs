//! Decoding token by token, without ever giving out half a character.

use sluicegate_spec::units::TokenId;

use super::{TokenBytes, Tokenizer};

/// Gathers the bytes of tokens and gives out text as soon as its characters are whole.
#[derive(Debug, Clone)]
pub struct StreamDecoder {
    tokenizer: Tokenizer,
    /// The beginning of a character, at most three bytes between calls.
    pending: Vec<u8>,
}

impl StreamDecoder {
    pub fn new(tokenizer: Tokenizer) -> Self {
        Self { tokenizer, pending: Vec::new() }
    }

    /// Takes the next token; returns the text that is whole now, if there is any.
    ///
    /// Bytes that can no longer become a character are given out as U+FFFD.
    pub fn push(&mut self, token: TokenId) -> Option<String> {
        match self.tokenizer.token_bytes(token) {
            TokenBytes::Text(bytes) => self.pending.extend_from_slice(bytes),
            TokenBytes::Special(_) | TokenBytes::Unused => return None,
        }
        let mut text = String::new();
        let mut taken = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let rest = chunk.invalid();
            let is_last = taken + rest.len() == self.pending.len();
            if rest.is_empty() || (is_last && is_incomplete(rest)) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            taken += rest.len();
        }
        self.pending.drain(..taken);
        (!text.is_empty()).then_some(text)
    }

    /// Ends the stream; returns what is left of an unfinished character as U+FFFD.
    pub fn flush(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}

/// Whether more bytes could make a character of these.
fn is_incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
