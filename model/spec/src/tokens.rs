//! What each token stands for, and text out of tokens, without ever giving out half a character.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::units::TokenId;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenBytes {
    /// Bytes of output; not always whole characters.
    Text(Vec<u8>),
    /// A control token, by its name: no output.
    Special(String),
    /// An id that no token has.
    Unused,
}

/// What every token of a vocabulary stands for. Clones share it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenTable(Arc<[TokenBytes]>);

impl From<Vec<TokenBytes>> for TokenTable {
    /// By token id.
    fn from(tokens: Vec<TokenBytes>) -> Self {
        Self(tokens.into())
    }
}

impl TokenTable {
    /// What a token stands for; ids beyond the table are unused.
    pub fn get(&self, token: TokenId) -> &TokenBytes {
        self.0.get(token as usize).unwrap_or(&TokenBytes::Unused)
    }

    /// Ids that the table has an entry for, used or not.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What all tokens stand for, by id.
    pub fn iter(&self) -> impl Iterator<Item = &TokenBytes> {
        self.0.iter()
    }

    /// A decoder that takes token by token.
    pub fn stream(&self) -> StreamDecoder {
        StreamDecoder { table: self.clone(), pending: Vec::new() }
    }
}

/// Gathers the bytes of tokens and gives out text as soon as its characters are whole.
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    table: TokenTable,
    /// The beginning of a character, at most three bytes between calls.
    pending: Vec<u8>,
}

impl StreamDecoder {
    /// Takes the next token; returns the text that is whole now, if there is any.
    ///
    /// Bytes that can no longer become a character are given out as U+FFFD.
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
