//! Thinking sections: free text before the constrained output, up to an end marker.
//!
//! A section is a phase of its own, not a part of the grammar. The engine could not roll back a
//! token bound; a free-text mask is a plain copy here; and the guard of a value need not know where
//! the value begins. The border lies between two tokens: no token may hold the last byte of the end
//! marker and more.

use std::collections::HashMap;
use std::sync::Arc;

use crate::TokenId;
use crate::error::SpecError;
use crate::mask::{Mask, clear_bit, has_bit, set_bit};
use crate::spec::Thinking;
use crate::vocab::Vocab;

/// The longest marker in bytes.
const MAX_MARKER_BYTES: usize = 256;

/// A marker that begins or ends a section.
#[derive(Debug)]
enum Marker {
    /// A control token.
    Special(TokenId),
    /// Text, in any tokenisation.
    Text(Text),
}

#[derive(Debug)]
struct Text {
    bytes: Vec<u8>,
    /// The failure function of Knuth, Morris and Pratt: how many bytes still match after a
    /// mismatch.
    fallback: Vec<usize>,
    /// For each count of matched bytes, the tokens that continue the marker without going beyond
    /// it.
    next: Vec<Vec<TokenId>>,
}

/// A compiled section. Shared by all matchers.
#[derive(Debug)]
pub(crate) struct Rule {
    begin: Option<Marker>,
    end: Marker,
    max_tokens: u32,
    /// The mask of all tokens that write text.
    text: Box<[u32]>,
    /// For each count of matched end bytes, the tokens that would complete the end marker and go
    /// on.
    crossing: HashMap<usize, Vec<TokenId>>,
}

/// A sequence's position in its section.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// `matched` bytes of the begin marker are written.
    Begin {
        used: u32,
        matched: usize,
    },
    /// `used` tokens of the budget are spent, and `matched` bytes of the end marker are written.
    Free {
        used: u32,
        matched: usize,
    },
    Done,
}

/// The section of one sequence.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    rule: Arc<Rule>,
    first: State,
    /// The state after each token.
    states: Vec<State>,
}

impl Rule {
    /// Checks a section against the vocabulary.
    ///
    /// # Errors
    /// A marker is empty or too long, or the vocabulary cannot write it.
    pub(crate) fn new(thinking: &Thinking, vocab: &Vocab) -> Result<Self, SpecError> {
        let mut text = vec![0; vocab.num_words()].into_boxed_slice();
        for token in 0..vocab.num_tokens() {
            if !vocab.token_bytes(token).is_empty() && vocab.contains(token) {
                set_bit(&mut text, token);
            }
        }
        let begin = thinking.begin.as_deref().map(|name| Marker::new(name, vocab)).transpose()?;
        let end = Marker::new(&thinking.end, vocab)?;
        let mut crossing: HashMap<usize, Vec<TokenId>> = HashMap::new();
        if let Marker::Text(end) = &end {
            let last = end.bytes[end.bytes.len() - 1];
            for token in 0..vocab.num_tokens() {
                let bytes = vocab.token_bytes(token);
                let inside = &bytes[..bytes.len().saturating_sub(1)];
                // A quick check: few tokens contain the marker's last byte before their own last
                // byte.
                if !inside.contains(&last) {
                    continue;
                }
                for matched in 0..end.bytes.len() {
                    if end.pass(matched, inside).is_none() {
                        crossing.entry(matched).or_default().push(token);
                    }
                }
            }
        }
        Ok(Self { begin, end, max_tokens: thinking.max_tokens.unwrap_or(u32::MAX), text, crossing })
    }

    /// Returns the most tokens that the markers may take.
    pub(crate) fn num_marker_tokens(&self) -> usize {
        let markers = self.begin.iter().chain([&self.end]);
        markers
            .map(|marker| match marker {
                Marker::Special(_) => 1,
                Marker::Text(text) => text.bytes.len(),
            })
            .sum()
    }

    fn start(&self, used: u32) -> State {
        match self.begin {
            Some(_) => State::Begin { used, matched: 0 },
            None => State::Free { used, matched: 0 },
        }
    }

    /// Returns the mask of the next token.
    fn words(&self, state: State) -> Box<[u32]> {
        let mut words = vec![0; self.text.len()].into_boxed_slice();
        if let Some((marker, matched)) = self.due(state) {
            match marker {
                Marker::Special(token) => set_bit(&mut words, *token),
                Marker::Text(text) => {
                    text.next[matched].iter().for_each(|&token| set_bit(&mut words, token));
                }
            }
        } else if let State::Free { matched, .. } = state {
            words.copy_from_slice(&self.text);
            for &token in self.crossing.get(&matched).into_iter().flatten() {
                clear_bit(&mut words, token);
            }
            if let Marker::Special(token) = self.end {
                set_bit(&mut words, token);
            }
        }
        words
    }

    /// Returns what [`Rule::words`] holds for one token.
    fn allows(&self, state: State, token: TokenId) -> bool {
        match (self.due(state), state) {
            (Some((Marker::Special(due), _)), _) => token == *due,
            (Some((Marker::Text(text), matched)), _) => text.next[matched].contains(&token),
            (None, State::Free { matched, .. }) => {
                let crosses =
                    || self.crossing.get(&matched).is_some_and(|all| all.contains(&token));
                let is_end = matches!(self.end, Marker::Special(end) if end == token);
                is_end || (has_bit(&self.text, token) && !crosses())
            }
            (None, State::Begin { .. } | State::Done) => false,
        }
    }

    /// Returns the marker that must come next, and how many of its bytes are written.
    fn due(&self, state: State) -> Option<(&Marker, usize)> {
        match state {
            State::Begin { matched, .. } => self.begin.as_ref().map(|begin| (begin, matched)),
            State::Free { used, matched } if self.is_spent(used) => Some((&self.end, matched)),
            State::Free { .. } | State::Done => None,
        }
    }

    fn is_spent(&self, used: u32) -> bool {
        used >= self.max_tokens
    }

    /// Returns the state after a token; none if the token is not allowed.
    fn next(&self, state: State, token: TokenId, vocab: &Vocab) -> Option<State> {
        if !self.allows(state, token) {
            return None;
        }
        let bytes = vocab.token_bytes(token);
        Some(match (state, &self.begin, &self.end) {
            (State::Begin { used, matched }, Some(Marker::Text(text)), _)
                if matched + bytes.len() < text.bytes.len() =>
            {
                State::Begin { used, matched: matched + bytes.len() }
            }
            (State::Begin { used, .. }, ..) => State::Free { used, matched: 0 },
            (State::Free { .. }, _, Marker::Special(end)) if token == *end => State::Done,
            (State::Free { used, .. }, _, Marker::Special(_)) => {
                State::Free { used: used.saturating_add(1), matched: 0 }
            }
            (State::Free { used, matched }, _, Marker::Text(end)) => {
                match end.pass(matched, bytes) {
                    Some(matched) => State::Free { used: used.saturating_add(1), matched },
                    None => State::Done,
                }
            }
            (State::Done, ..) => return None,
        })
    }
}

impl Marker {
    fn new(name: &str, vocab: &Vocab) -> Result<Self, SpecError> {
        let unsupported = |message| SpecError::unsupported(name, None, message);
        if name.is_empty() || name.len() > MAX_MARKER_BYTES {
            return Err(unsupported("a marker has 1 to 256 bytes"));
        }
        if let Some(token) = vocab.special(name) {
            if vocab.is_eos(token) {
                return Err(unsupported("it ends the output, and so no section inside"));
            }
            return Ok(Self::Special(token));
        }
        let bytes = name.as_bytes().to_vec();
        let next: Vec<Vec<TokenId>> =
            (0..bytes.len()).map(|matched| vocab.prefixes_of(&bytes[matched..])).collect();
        if next.iter().any(Vec::is_empty) {
            return Err(unsupported("no tokens of the vocabulary write it"));
        }
        let mut fallback = vec![0; bytes.len()];
        let mut matched = 0;
        for idx in 1..bytes.len() {
            while matched > 0 && bytes[idx] != bytes[matched] {
                matched = fallback[matched - 1];
            }
            matched += usize::from(bytes[idx] == bytes[matched]);
            fallback[idx] = matched;
        }
        Ok(Self::Text(Text { bytes, fallback, next }))
    }
}

impl Text {
    /// Returns how many bytes match after `bytes`; none once the whole marker was matched.
    ///
    /// Source: Knuth, Morris and Pratt, Fast pattern matching in strings (1977), section 2.
    fn pass(&self, mut matched: usize, bytes: &[u8]) -> Option<usize> {
        for &byte in bytes {
            while matched > 0 && self.bytes[matched] != byte {
                matched = self.fallback[matched - 1];
            }
            matched += usize::from(self.bytes[matched] == byte);
            if matched == self.bytes.len() {
                return None;
            }
        }
        Some(matched)
    }
}

impl Section {
    pub(crate) fn new(rule: Arc<Rule>) -> Self {
        let first = rule.start(0);
        Self { rule, first, states: Vec::new() }
    }

    /// As [`Section::new`], with at most `max_tokens` free tokens.
    pub(crate) fn within(rule: Arc<Rule>, max_tokens: usize) -> Self {
        let max_tokens = u32::try_from(max_tokens).unwrap_or(u32::MAX);
        let first = rule.start(rule.max_tokens.saturating_sub(max_tokens));
        Self { rule, first, states: Vec::new() }
    }

    fn state(&self) -> State {
        self.states.last().copied().unwrap_or(self.first)
    }

    /// Returns whether the section goes on.
    pub(crate) fn is_open(&self) -> bool {
        self.state() != State::Done
    }

    /// Returns how many tokens the section has taken.
    pub(crate) fn num_tokens(&self) -> usize {
        self.states.len()
    }

    /// Returns the mask of the next token; none if no token is possible.
    pub(crate) fn mask(&self, vocab: &Vocab) -> Option<Mask> {
        Mask::from_raw(self.rule.words(self.state()), vocab)
    }

    /// Returns whether [`Section::advance`] would take a token.
    pub(crate) fn allows(&self, token: TokenId) -> bool {
        self.rule.allows(self.state(), token)
    }

    /// Takes a token. Returns whether it was allowed.
    pub(crate) fn advance(&mut self, token: TokenId, vocab: &Vocab) -> bool {
        let next = self.rule.next(self.state(), token, vocab);
        self.states.extend(next);
        next.is_some()
    }

    /// Rolls back the last tokens.
    pub(crate) fn rollback(&mut self, num_tokens: usize) {
        self.states.truncate(self.states.len() - num_tokens);
    }
}
