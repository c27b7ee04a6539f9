//! A known valid finish beside a running output: the witness.
//!
//! After each token that is not the witness's next one, a new witness is sought. Where none is found
//! the token is not taken, and the witness's next token comes instead. So an output that began can
//! always be finished: validly, and within its budget. While the budget is so large that a finish
//! surely fits, none is sought.

use std::sync::Arc;

use crate::TokenId;
use crate::engine::{Engine, EngineError};
use crate::guard::{Caller, Effort, Finisher};
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
            self.write(token, vocab);
            self.witness = None;
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
    ///
    /// # Errors
    /// The engine failed, or does not take `token`, so far as it had to be asked.
    pub(crate) fn advance(
        &mut self,
        engine: &mut Engine,
        vocab: &Vocab,
        token: TokenId,
    ) -> Result<Option<TokenId>, EngineError> {
        let num_taken = self.num_before + self.tokens.len();
        let num_left = self.max_tokens.checked_sub(num_taken + 1);
        if self.witness.is_none() {
            let start = Start { token: None, num_left: self.max_tokens.saturating_sub(num_taken) };
            let found =
                find(self.finisher.as_deref(), (engine, vocab), &self.text, FIRST_EFFORT, start);
            self.witness = found.map(next_last);
        }
        let Some(known) = &mut self.witness else {
            // A finish fits, only none was found: there is nothing better to take.
            self.write(token, vocab);
            return Ok(Some(token));
        };
        if known.last() == Some(&token) {
            known.pop();
            self.write(token, vocab);
            return Ok(Some(token));
        }
        let found = num_left.map(|num_left| {
            let start = Start { token: Some(token), num_left };
            self.after(engine, vocab, (token, start))
        });
        if let Some(witness) = found.transpose()?.flatten() {
            self.write(token, vocab);
            self.witness = Some(witness);
            return Ok(Some(token));
        }
        self.num_vetoed += 1;
        let next = self.witness.as_mut().and_then(Vec::pop);
        if let Some(next) = next {
            self.write(next, vocab);
        }
        Ok(next)
    }

    /// Finds a finish for the output with `token` behind it. None if there is none within reach.
    fn after(
        &self,
        engine: &mut Engine,
        vocab: &Vocab,
        (token, start): (TokenId, Start),
    ) -> Result<Option<Vec<TokenId>>, EngineError> {
        let mut text = self.text.clone();
        text.extend_from_slice(vocab.token_bytes(token));
        if let Some(known) = self.known_rest((engine, vocab), &text, start) {
            return Ok(Some(known));
        }
        if engine.num_allowed(&[token])? == 0 {
            return Err(EngineError::Refused);
        }
        let found = find(self.finisher.as_deref(), (engine, vocab), &text, EFFORT, start);
        Ok(found.map(next_last))
    }

    /// Tries the known finish behind the token: without what the token wrote of it, or whole, as
    /// behind one more piece of a string.
    fn known_rest(
        &self,
        (engine, vocab): (&mut Engine, &Vocab),
        text: &[u8],
        start: Start,
    ) -> Option<Vec<TokenId>> {
        let known = self.witness.as_deref()?;
        let written = &text[self.text.len()..];
        let shorter = if written.is_empty() { None } else { without(known, written, vocab) };
        shorter.into_iter().chain([known.to_vec()]).find(|rest| {
            let tokens: Vec<TokenId> = rest.iter().rev().copied().collect();
            let rest = tokens.iter().flat_map(|token| vocab.token_bytes(*token)).copied();
            let whole: Vec<u8> = text.iter().copied().chain(rest).collect();
            is_fitting(engine, vocab, &tokens, start)
                && self.finisher.as_ref().is_none_or(|it| it.accepts(&whole))
        })
    }

    fn write(&mut self, token: TokenId, vocab: &Vocab) {
        self.text.extend_from_slice(vocab.token_bytes(token));
        self.tokens.push(token);
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
    let cancellation = engine.cancellation();
    let is_over = || cancellation.ends_search();
    let mut found = None;
    let mut fits = |rest: &[u8]| {
        found = fitting(engine, vocab, rest, start);
        found.is_some()
    };
    finisher.finish(text, effort, Caller { fits: &mut fits, is_over: &is_over })?;
    found
}

/// The tokens of a text, if grammar and budget take them and the output may end behind them.
fn fitting(engine: &mut Engine, vocab: &Vocab, rest: &[u8], start: Start) -> Option<Vec<TokenId>> {
    let tokens = vocab.tokenize(rest);
    is_fitting(engine, vocab, &tokens, start).then_some(tokens)
}

fn is_fitting(
    engine: &mut Engine,
    vocab: &Vocab,
    tokens: &[TokenId],
    Start { token, num_left }: Start,
) -> bool {
    if tokens.len() > num_left {
        return false;
    }
    let all: Vec<TokenId> = token.iter().chain(tokens).copied().collect();
    engine.may_end_behind(&all, vocab.engine_end())
}

/// What is left of a finish, its next token last, once these bytes of it are written.
fn without(known: &[TokenId], mut written: &[u8], vocab: &Vocab) -> Option<Vec<TokenId>> {
    let mut rest = known.to_vec();
    while !written.is_empty() {
        let bytes = vocab.token_bytes(rest.pop()?);
        if let Some(left) = written.strip_prefix(bytes) {
            written = left;
        } else {
            let tail = bytes.strip_prefix(written)?;
            rest.extend(vocab.tokenize(tail).into_iter().rev());
            break;
        }
    }
    Some(rest)
}
