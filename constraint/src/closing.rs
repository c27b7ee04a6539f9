//! Keeps a known valid finish, the witness, beside a running output.
//!
//! After each token that is not the next one of the witness, a new witness is searched for. If none
//! is found, the token is vetoed and the witness's next token is taken instead. So every output
//! that has begun can be finished validly and within its budget. No search runs while the budget is
//! so large that any finish fits.

use std::sync::Arc;

use crate::TokenId;
use crate::engine::{Engine, EngineError};
use crate::guard::{Caller, Effort, Finisher};
use crate::search;
use crate::vocab::Vocab;

/// Effort for finding a finish after one token.
const EFFORT: Effort = Effort { attempts: 64, fuel: 20_000 };
/// Effort for finding the first finish of a specification.
pub(crate) const FIRST_EFFORT: Effort = Effort { attempts: 1_000, fuel: 100_000 };

/// What a matcher knows about the ways its output can end.
#[derive(Clone)]
pub(crate) struct Closing {
    /// None where the grammar alone decides and the output is not JSON.
    finisher: Option<Arc<Finisher>>,
    /// The most bytes that an open nesting level may still need, where known.
    level_bytes: Option<usize>,
    /// The output's token budget, without the end token.
    max_tokens: usize,
    /// Tokens that came before the constraint, such as those of a thinking section.
    num_before: usize,
    text: Vec<u8>,
    tokens: Vec<TokenId>,
    /// Tokens that finish the output, the next one last. None while any finish fits the budget.
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

    /// Takes `token` without a search if any finish the grammar allows fits into the remaining
    /// budget. A finish has at most as many tokens as bytes. `depth` counts the containers open
    /// after the token.
    pub(crate) fn take_if_any_finish_fits(
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

    /// Sets how many tokens came before the constraint.
    pub(crate) fn start_after(&mut self, num_before: usize) {
        self.num_before = num_before;
    }

    /// Returns whether the output, which the grammar allows, is valid as it is.
    pub(crate) fn may_end(&self) -> bool {
        self.finisher.as_ref().is_none_or(|finisher| finisher.accepts(&self.text))
    }

    /// Takes `token`, or the next token of the witness if no finish is found after `token`. Returns
    /// the token taken; none if the output ends instead.
    ///
    /// # Errors
    /// The engine failed, or it had to be asked about `token` and refused it.
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
            // A finish fits the budget but none was found, so there is no better token to take.
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

    /// Searches for a finish of the output followed by `token`; none if the search fails.
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

    /// Tries to reuse the known witness after the token: without the bytes that the token already
    /// wrote, or whole, if the token only extended a string.
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

    /// Takes back tokens. They are put back in front of the witness, which stays a valid finish.
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

/// Reverses a finish, so that its next token can be popped from the end.
fn next_last(mut tokens: Vec<TokenId>) -> Vec<TokenId> {
    tokens.reverse();
    tokens
}

/// Searches for the first finish, of at most `max_tokens` tokens.
pub(crate) fn first_witness(
    finisher: Option<&Finisher>,
    engine: &mut Engine,
    vocab: &Vocab,
    max_tokens: usize,
) -> Option<Vec<TokenId>> {
    let start = Start { token: None, num_left: max_tokens };
    find(finisher, (engine, vocab), &[], FIRST_EFFORT, start)
}

/// As [`first_witness`], with less effort.
pub(crate) fn quick_witness(
    finisher: Option<&Finisher>,
    engine: &mut Engine,
    vocab: &Vocab,
) -> Option<Vec<TokenId>> {
    find(finisher, (engine, vocab), &[], EFFORT, Start { token: None, num_left: usize::MAX })
}

#[derive(Clone, Copy)]
struct Start {
    /// The token that precedes the finish.
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

/// Returns the tokens of `rest` if grammar and budget allow them and the output may end there.
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
    engine.may_end_after(&all, vocab.engine_end())
}

/// Returns the rest of a finish, its next token last, after `written` has been written of it.
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
