//! The engine behind one sequence. The only module that classifies the engine's errors, and that
//! replaces a sequence's lexer when it is full.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::panic_utils::catch_unwind;
use llguidance::{CancellationHandle, Matcher};
use toktrie::SimpleVob;

use crate::TokenId;
use crate::error::engine_message;
use crate::template::Template;

/// The most tokens that one call asks the engine about.
const MAX_ASKED: usize = 500;

/// Why the engine cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// The grammar does not allow the token.
    Refused,
    /// No token is allowed.
    DeadEnd,
    /// The engine reached a limit or failed.
    Failed(String),
}

impl EngineError {
    /// Classifies an error by its message: the engine offers nothing else.
    fn new(raw: &str) -> Self {
        if raw.contains("doesn't satisfy the grammar") {
            return Self::Refused;
        }
        let message = engine_message(raw);
        if message.starts_with("NoExtension") { Self::DeadEnd } else { Self::Failed(message) }
    }

    /// Returns whether the lexer must be replaced: its state cache is full, or another sequence
    /// that shares it used up the fuel of a step.
    fn is_full(&self) -> bool {
        let is = |message: &str| {
            message.contains("too many states") || message.contains("too many expressions")
        };
        matches!(self, Self::Failed(message) if is(message))
    }
}

/// A grammar's parser, and the tokens it has taken.
pub(crate) struct Engine {
    inner: Matcher,
    template: Arc<Template>,
    taken: Vec<TokenId>,
    cancellation: Cancellation,
}

/// Cancels an engine's work from another thread, even after the parser was replaced.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellation(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    is_cancelled: bool,
    /// Whether searches for a finish should stop.
    is_in_haste: bool,
    handle: Option<CancellationHandle>,
}

impl Cancellation {
    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        // A flag and a handle stay consistent even if their last user panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels all work, for good.
    pub(crate) fn cancel(&self) {
        let mut asked = self.lock();
        asked.is_cancelled = true;
        if let Some(handle) = &asked.handle {
            handle.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// Sets whether searches for a finish should stop early.
    pub(crate) fn set_haste(&self, is_in_haste: bool) {
        self.lock().is_in_haste = is_in_haste;
    }

    /// Returns whether a search must stop.
    pub(crate) fn ends_search(&self) -> bool {
        let asked = self.lock();
        asked.is_cancelled || asked.is_in_haste
    }

    /// Directs the cancellation at `inner` from now on.
    fn follow(&self, inner: &Matcher) {
        let mut asked = self.lock();
        asked.handle = inner.cancellation_handle();
        if let (true, Some(handle)) = (asked.is_cancelled, &asked.handle) {
            handle.cancel();
        }
    }
}

impl Engine {
    /// Starts a sequence with `inner`, a copy of `template`.
    pub(crate) fn new(template: Arc<Template>, inner: Matcher) -> Self {
        let inner = inner.into_cancellable();
        let cancellation = Cancellation::default();
        cancellation.follow(&inner);
        Self { inner, template, taken: Vec::new(), cancellation }
    }

    /// Asks the engine, and retries once with a fresh lexer if the old one is full.
    fn ask<T, E: std::fmt::Display>(
        &mut self,
        question: impl Fn(&mut Matcher) -> Result<T, E>,
    ) -> Result<T, EngineError> {
        let ask = |inner: &mut Matcher| {
            question(inner).map_err(|error| EngineError::new(&error.to_string()))
        };
        match ask(&mut self.inner) {
            Err(error) if error.is_full() => {
                self.renew()?;
                ask(&mut self.inner)
            }
            answer => answer,
        }
    }

    fn renew(&mut self) -> Result<(), EngineError> {
        let mut fresh = self.template.copy().into_cancellable();
        self.cancellation.follow(&fresh);
        let taken = fresh.consume_tokens(&self.taken);
        taken.map_err(|error| EngineError::new(&error.to_string()))?;
        self.inner = fresh;
        Ok(())
    }

    /// Computes which tokens may come next.
    pub(crate) fn mask(&mut self) -> Result<SimpleVob, EngineError> {
        self.ask(Matcher::compute_mask)
    }

    /// Takes a token.
    pub(crate) fn take(&mut self, token: TokenId) -> Result<(), EngineError> {
        self.ask(|inner| inner.consume_token(token))?;
        self.taken.push(token);
        Ok(())
    }

    /// Returns how many of `tokens` could be taken in order.
    pub(crate) fn num_allowed(&mut self, tokens: &[TokenId]) -> Result<usize, EngineError> {
        self.ask(|inner| inner.validate_tokens(tokens))
    }

    /// Returns whether the text may end after `tokens`.
    pub(crate) fn may_end_after(&mut self, tokens: &[TokenId], end: TokenId) -> bool {
        if tokens.len() <= MAX_ASKED {
            let all = [tokens, &[end]].concat();
            return self.num_allowed(&all).is_ok_and(|valid| valid == all.len());
        }
        // A single call has the fuel of one step only.
        let Ok(mut copy) = self.fork() else { return false };
        let takes = |token: &TokenId| !self.cancellation.ends_search() && copy.take(*token).is_ok();
        tokens.iter().all(takes) && (copy.is_complete() || copy.is_accepting().unwrap_or(false))
    }

    /// Returns whether the text may end here.
    pub(crate) fn is_accepting(&mut self) -> Result<bool, EngineError> {
        self.ask(Matcher::is_accepting)
    }

    /// Returns whether nothing can follow.
    pub(crate) fn is_complete(&self) -> bool {
        self.inner.is_stopped() && !self.inner.is_error()
    }

    /// Returns the tokens that must come next.
    pub(crate) fn jump_forward(&mut self) -> Vec<TokenId> {
        self.inner.compute_ff_tokens()
    }

    /// Takes back the last tokens.
    pub(crate) fn rollback(&mut self, num_tokens: usize) -> Result<(), EngineError> {
        self.ask(|inner| inner.rollback(num_tokens))?;
        self.taken.truncate(self.taken.len() - num_tokens);
        // The engine caches its last mask by position alone, and other tokens may lead to that
        // position.
        self.inner.invalidate_bias_cache();
        Ok(())
    }

    /// Copies the state. The copy shares the lexer.
    pub(crate) fn fork(&self) -> Result<Self, EngineError> {
        let copy = catch_unwind(AssertUnwindSafe(|| Ok(self.inner.clone())));
        let inner = copy.map_err(|error| EngineError::new(&error.to_string()))?;
        let cancellation = Cancellation::default();
        cancellation.follow(&inner);
        Ok(Self {
            cancellation,
            inner,
            template: Arc::clone(&self.template),
            taken: self.taken.clone(),
        })
    }

    pub(crate) fn cancellation(&self) -> Cancellation {
        self.cancellation.clone()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    #[cfg(test)]
    pub(crate) fn break_lexer(&mut self) {
        self.inner.test_trigger_lexer_error().unwrap_err();
    }
}
