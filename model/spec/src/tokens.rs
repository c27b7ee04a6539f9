//! The meaning of tokens, and decoding to text without splitting characters.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::units::TokenId;

/// The meaning of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenBytes {
    /// Bytes of output, not necessarily whole characters.
    Text(Vec<u8>),
    /// A control token with this name; it has no output.
    Special(String),
    /// An id without a token.
    Unused,
}

/// The meaning of every token of a vocabulary. Clones share it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTable(Arc<[TokenBytes]>);

impl From<Vec<TokenBytes>> for TokenTable {
    /// By token id.
    fn from(tokens: Vec<TokenBytes>) -> Self {
        Self(tokens.into())
    }
}

impl TokenTable {
    /// Returns the meaning of a token; ids beyond the table are unused.
    pub fn get(&self, token: TokenId) -> &TokenBytes {
        self.0.get(token as usize).unwrap_or(&TokenBytes::Unused)
    }

    /// Returns the number of ids in the table, used or not.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over all tokens by id.
    pub fn iter(&self) -> impl Iterator<Item = &TokenBytes> {
        self.0.iter()
    }

    /// Returns a decoder that takes one token at a time.
    pub fn stream(&self) -> StreamDecoder {
        StreamDecoder { table: self.clone(), pending: Vec::new() }
    }
}

/// Collects the bytes of tokens and returns text as soon as its characters are complete.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    table: TokenTable,
    /// An incomplete character, at most three bytes between calls.
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// Takes the next token. Returns the text that is now complete, if any.
    ///
    /// Bytes that can no longer form a character become U+FFFD.
    pub fn push(&mut self, token: TokenId) -> Option<String> {
        match self.table.get(token) {
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

    /// Ends the stream. Returns the rest of an incomplete character as U+FFFD.
    pub fn flush(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.pending);
        (!rest.is_empty()).then(|| String::from_utf8_lossy(&rest).into_owned())
    }
}

/// Returns whether more bytes could complete a character.
fn is_incomplete(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
