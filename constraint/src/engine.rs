//! The engine behind one sequence. The one place that tells its errors apart, and that gives a
//! sequence a fresh lexer where the old one is full.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::panic_utils::catch_unwind;
use llguidance::{CancellationHandle, Matcher};
use toktrie::SimpleVob;

use crate::TokenId;
use crate::error::engine_message;
use crate::template::Template;

/// Why the engine does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// The grammar does not allow the token.
    Refused,
    /// No token is allowed.
    DeadEnd,
    /// It reached a limit or failed.
    Failed(String),
}

impl EngineError {
    /// The engine's messages are all that tells its errors apart.
    fn new(raw: &str) -> Self {
        if raw.contains("doesn't satisfy the grammar") {
            return Self::Refused;
        }
        let message = engine_message(raw);
        if message.starts_with("NoExtension") { Self::DeadEnd } else { Self::Failed(message) }
    }

    /// Whether the lexer has no room for more states. They are a cache, so another one has.
    fn is_full(&self) -> bool {
        matches!(self, Self::Failed(message) if message.contains("too many states"))
    }
}

/// A grammar's parser, and what it has taken.
pub(crate) struct Engine {
    inner: Matcher,
    template: Arc<Template>,
    taken: Vec<TokenId>,
    /// Of the first parser, which callers may hold.
    cancellation: Option<CancellationHandle>,
}

impl Engine {
    /// Puts `inner`, a copy of `template`, at the start of a sequence.
    pub(crate) fn new(template: Arc<Template>, inner: Matcher) -> Self {
        let inner = inner.into_cancellable();
        let cancellation = inner.cancellation_handle();
        Self { inner, template, taken: Vec::new(), cancellation }
    }

    /// Asks the engine; once more with a fresh lexer if the old one is full.
    fn ask<T>(
        &mut self,
        question: impl Fn(&mut Matcher) -> anyhow::Result<T>,
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
        let mut fresh = self.template.copy();
        let taken = fresh.consume_tokens(&self.taken);
        taken.map_err(|error| EngineError::new(&error.to_string()))?;
        self.inner = fresh;
        Ok(())
    }

    /// The tokens that may come next.
    pub(crate) fn mask(&mut self) -> Result<SimpleVob, EngineError> {
        self.ask(Matcher::compute_mask)
    }

    /// Takes a token.
    pub(crate) fn take(&mut self, token: TokenId) -> Result<(), EngineError> {
        self.ask(|inner| inner.consume_token(token))?;
        self.taken.push(token);
        Ok(())
    }

    /// How many of these tokens could be taken, in order.
    pub(crate) fn num_allowed(&mut self, tokens: &[TokenId]) -> Result<usize, EngineError> {
        self.ask(|inner| inner.validate_tokens(tokens))
    }

    /// Whether the text may end here.
    pub(crate) fn is_accepting(&mut self) -> Result<bool, EngineError> {
        self.ask(Matcher::is_accepting)
    }

    /// Whether nothing can follow.
    pub(crate) fn is_complete(&self) -> bool {
        self.inner.is_stopped() && !self.inner.is_error()
    }

    /// The tokens that must come next.
    pub(crate) fn forced(&mut self) -> Vec<TokenId> {
        self.inner.compute_ff_tokens()
    }

    /// Takes back the last tokens.
    pub(crate) fn rollback(&mut self, num_tokens: usize) -> Result<(), EngineError> {
        self.ask(|inner| inner.rollback(num_tokens))?;
        self.taken.truncate(self.taken.len() - num_tokens);
        // The engine keeps its last mask by place alone, and another way may lead to that place.
        self.inner.invalidate_bias_cache();
        Ok(())
    }

    /// Copies the state; the copy shares the lexer.
    pub(crate) fn fork(&self) -> Result<Self, EngineError> {
        let copy = catch_unwind(AssertUnwindSafe(|| Ok(self.inner.clone())));
        let inner = copy.map_err(|error| EngineError::new(&error.to_string()))?;
        Ok(Self {
            cancellation: inner.cancellation_handle(),
            inner,
            template: Arc::clone(&self.template),
            taken: self.taken.clone(),
        })
    }

    pub(crate) fn cancellation(&self) -> Option<CancellationHandle> {
        self.cancellation.clone()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancellation.as_ref().is_some_and(CancellationHandle::is_cancelled)
    }

    #[cfg(test)]
    pub(crate) fn break_lexer(&mut self) {
        self.inner.test_trigger_lexer_error().unwrap_err();
    }
}
