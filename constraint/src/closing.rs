//! A known valid finish beside a running output: the witness.
//!
//! After each token that is not the witness's next one, a new witness is sought. Where none is found
//! the token is not taken, and the witness's next token comes instead. So an output that began can
//! always be finished: validly, and within its budget. While the budget is so large that a finish
//! surely fits, none is sought.

use std::sync::Arc;

use crate::TokenId;
use crate::engine::Engine;
use crate::guard::{Effort, Finisher};
use crate::search;
use crate::vocab::Vocab;

/// To find a finish after one token.
const EFFORT: Effort = Effort { attempts: 64, fuel: 20_000 };
/// To find the first finish of a specification.
pub(crate) const FIRST_EFFORT: Effort = Effort { attempts: 1_000, fuel: 100_000 };

/// What a matcher knows about how its output can end.
#[derive(Clone)]
pub(crate) struct Closing {
    /// None where the grammar alone decides and is no JSON.
    finisher: Option<Arc<Finisher>>,
    /// What an open level may still need at most, in bytes, where that is known.
    level_bytes: Option<usize>,
    /// Tokens that the output may have, the end token not counted.
    max_tokens: usize,
    /// Tokens that came before the constraint.
    num_before: usize,
    text: Vec<u8>,
    tokens: Vec<TokenId>,
    /// Tokens that finish the output, the next one last. None while a finish surely fits.
    witness: Option<Vec<TokenId>>,
    num_vetoed: usize,
}

impl Closing {
    pub(crate) fn new(
        finisher: Option<Arc<Finisher>>,
        level_bytes: Option<usize>,
        max_tokens: usize,
        witness: Vec<TokenId>,
    ) -> Self {
        Self {
            finisher,
            level_bytes,
            max_tokens,
            num_before: 0,
            text: Vec::new(),
            tokens: Vec::new(),
            witness: Some(next_last(witness)),
            num_vetoed: 0,
        }
    }

    /// Takes `token` if, whatever the grammar then allows, a finish fits into what is left: one takes
    /// at most as many tokens as it has bytes. `depth` is of the containers that are open behind it.
    pub(crate) fn take_if_it_surely_fits(
        &mut self,
        vocab: &Vocab,
        token: TokenId,
        depth: usize,
    ) -> bool {
        let Some(level_bytes) = self.level_bytes else { return false };
        let num_taken = self.num_before + self.tokens.len() + 1;
        let fits = level_bytes * (depth + 1) <= self.max_tokens.saturating_sub(num_taken);
        if fits {
            self.take(token, None, vocab);
        }
        fits
    }

    /// Says how many tokens came before.
    pub(crate) fn start_behind(&mut self, num_before: usize) {
        self.num_before = num_before;
    }

    /// Whether the output, which the grammar allows, is valid as it is.
    pub(crate) fn may_end(&self) -> bool {
        self.finisher.as_ref().is_none_or(|finisher| finisher.accepts(&self.text))
    }

    /// Takes `token`, or, if no finish is found behind it, the known finish's next token. Returns
    /// the token taken; none if the output ends instead.
    pub(crate) fn advance(
        &mut self,
        engine: &mut Engine,
        vocab: &Vocab,
        token: TokenId,
    ) -> Option<TokenId> {
        let num_taken = self.num_before + self.tokens.len();
        let num_left = self.max_tokens.checked_sub(num_taken + 1);
        if self.witness.is_none() {
            let start = Start { token: None, num_left: self.max_tokens.saturating_sub(num_taken) };
            let found =
                find(self.finisher.as_deref(), (engine, vocab), &self.text, FIRST_EFFORT, start);
            self.witness = found.map(next_last);
        }
        let Some(known) = self.witness.clone() else {
            // A finish fits, only none was found: there is nothing better to take.
            self.take(token, None, vocab);
            return Some(token);
        };
        if let Some((next, rest)) = known.split_last()
            && *next == token
        {
            self.take(token, Some(rest.to_vec()), vocab);
            return Some(token);
        }
        if let Some(witness) = num_left.and_then(|it| self.after(engine, vocab, token, it)) {
            self.take(token, Some(witness), vocab);
            return Some(token);
        }
        self.num_vetoed += 1;
        let (next, rest) = known.split_last()?;
        self.take(*next, Some(rest.to_vec()), vocab);
        Some(*next)
    }

    /// Finds a finish for the output with `token` behind it. None if there is none within reach.
    fn after(
        &self,
        engine: &mut Engine,
        vocab: &Vocab,
        token: TokenId,
        num_left: usize,
    ) -> Option<Vec<TokenId>> {
        let mut text = self.text.clone();
        text.extend_from_slice(vocab.token_bytes(token));
        let start = Start { token: Some(token), num_left };
        self.known_rest((engine, vocab), &text, start)
            .or_else(|| find(self.finisher.as_deref(), (engine, vocab), &text, EFFORT, start))
            .map(next_last)
    }

    /// Tries the known finish behind the token: without what the token wrote of it, or whole, as
    /// behind one more piece of a string.
    fn known_rest(
        &self,
        (engine, vocab): (&mut Engine, &Vocab),
        text: &[u8],
        start: Start,
    ) -> Option<Vec<TokenId>> {
        let tokens = self.witness.iter().flatten().rev();
        let known: Vec<u8> = tokens.flat_map(|it| vocab.token_bytes(*it)).copied().collect();
        let written = &text[self.text.len()..];
        let shorter = known.strip_prefix(written).filter(|_| !written.is_empty());
        shorter.into_iter().chain([known.as_slice()]).find_map(|rest| {
            let tokens = fitting(engine, vocab, rest, start)?;
            let whole = [text, rest].concat();
            let is_valid = self.finisher.as_ref().is_none_or(|it| it.accepts(&whole));
            is_valid.then_some(tokens)
        })
    }

    /// Takes a token, and the finish that was found for it.
    fn take(&mut self, token: TokenId, witness: Option<Vec<TokenId>>, vocab: &Vocab) {
        let bytes = vocab.token_bytes(token);
        self.text.extend_from_slice(bytes);
        self.tokens.push(token);
        self.witness = witness;
    }

    /// Takes back tokens: going the same way again is a finish of what is left.
    pub(crate) fn rollback(&mut self, num_tokens: usize, vocab: &Vocab) {
        for token in self.tokens.split_off(self.tokens.len() - num_tokens).into_iter().rev() {
            self.text.truncate(self.text.len() - vocab.token_bytes(token).len());
            self.witness.iter_mut().for_each(|witness| witness.push(token));
        }
    }

    pub(crate) fn num_vetoed(&self) -> usize {
        self.num_vetoed
    }
}

/// Turns a finish so that its next token is the last, where it is taken from.
fn next_last(mut tokens: Vec<TokenId>) -> Vec<TokenId> {
    tokens.reverse();
    tokens
}

/// Finds the tokens of a first finish, of `max_tokens` at most.
pub(crate) fn first_witness(
    finisher: Option<&Finisher>,
    engine: &mut Engine,
    vocab: &Vocab,
    max_tokens: usize,
) -> Option<Vec<TokenId>> {
    let start = Start { token: None, num_left: max_tokens };
    find(finisher, (engine, vocab), &[], FIRST_EFFORT, start)
}

/// As [`first_witness`], with little effort.
pub(crate) fn quick_witness(
    finisher: Option<&Finisher>,
    engine: &mut Engine,
    vocab: &Vocab,
) -> Option<Vec<TokenId>> {
    find(finisher, (engine, vocab), &[], EFFORT, Start { token: None, num_left: usize::MAX })
}

#[derive(Clone, Copy)]
struct Start {
    /// The token that comes before the finish.
    token: Option<TokenId>,
    num_left: usize,
}

fn find(
    finisher: Option<&Finisher>,
    (engine, vocab): (&mut Engine, &Vocab),
    text: &[u8],
    effort: Effort,
    start: Start,
) -> Option<Vec<TokenId>> {
    let Some(finisher) = finisher else {
        return search::finish(engine, vocab, start.token, start.num_left);
    };
    let mut found = None;
    let mut fits = |rest: &[u8]| {
        found = fitting(engine, vocab, rest, start);
        found.is_some()
    };
    finisher.finish(text, effort, &mut fits)?;
    found
}

/// The tokens of a text, if grammar and budget take them and the output may end behind them.
fn fitting(
    engine: &mut Engine,
    vocab: &Vocab,
    rest: &[u8],
    Start { token, num_left }: Start,
) -> Option<Vec<TokenId>> {
    let tokens = vocab.tokenize(rest);
    if tokens.len() > num_left {
        return None;
    }
    let all: Vec<TokenId> = token.into_iter().chain(tokens.iter().copied()).collect();
    engine.may_end_behind(&all, vocab.engine_end()).then_some(tokens)
}
