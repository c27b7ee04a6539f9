//! Lists of tokens in grammars, as ranges of the tokens that can occur.

use std::collections::HashMap;

use crate::TokenId;
use crate::error::SpecError;
use crate::limits::check_limit;
use crate::vocab::Vocab;

/// Ranges of token ids, both ends inclusive.
pub(crate) type Ranges = Vec<(TokenId, TokenId)>;

/// The most lists per grammar; each new one takes a scan of the vocabulary.
const MAX_LISTS: usize = 50;

/// The token lists of one grammar.
pub(crate) struct TokenLists<'a> {
    pub(crate) vocab: &'a Vocab,
    known: HashMap<(Ranges, bool), Ranges>,
}

impl<'a> TokenLists<'a> {
    pub(crate) fn new(vocab: &'a Vocab) -> Self {
        Self { vocab, known: HashMap::new() }
    }

    /// Returns the tokens inside the given ranges, or outside them. Tokens that cannot be sampled
    /// and end tokens are always left out: grammars never see them.
    pub(crate) fn get(&mut self, mut given: Ranges, within: bool) -> Result<Ranges, SpecError> {
        given.sort_unstable();
        let key = (given, within);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        check_limit("lists of tokens in a grammar", self.known.len() + 1, MAX_LISTS)?;
        let found = find(self.vocab, &key.0, within);
        self.known.insert(key, found.clone());
        Ok(found)
    }
}

fn find(vocab: &Vocab, given: &[(TokenId, TokenId)], within: bool) -> Ranges {
    let mut given = given.iter().peekable();
    // The exclusive end of the ranges so far.
    let mut reach = 0;
    let mut out: Ranges = Vec::new();
    for token in 0..vocab.num_tokens() {
        while let Some((_, last)) = given.next_if(|(first, _)| *first <= token) {
            reach = reach.max(last.saturating_add(1));
        }
        if (token < reach) != within || !vocab.contains(token) || vocab.is_eos(token) {
            continue;
        }
        match out.last_mut() {
            Some((_, last)) if *last + 1 == token => *last = token,
            _ => out.push((token, token)),
        }
    }
    out
}
