//! The engine behind one sequence. The one place that tells its errors apart, and that gives a
//! sequence a fresh lexer where the old one is full.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use llguidance::panic_utils::catch_unwind;
use llguidance::{CancellationHandle, Matcher};
use toktrie::SimpleVob;

use crate::TokenId;
use crate::error::engine_message;
use crate::template::Template;

/// Tokens that the engine is asked about at once.
const MAX_ASKED: usize = 500;

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

    /// Whether the lexer is of no more use: its states, which are a cache, have no room, or another
    /// sequence that shares it has spent the fuel of a step.
    fn is_full(&self) -> bool {
        let is = |message: &str| {
            message.contains("too many states") || message.contains("too many expressions")
        };
        matches!(self, Self::Failed(message) if is(message))
    }
}

/// A grammar's parser, and what it has taken.
pub(crate) struct Engine {
    inner: Matcher,
    template: Arc<Template>,
    taken: Vec<TokenId>,
    cancellation: Cancellation,
}

/// Ends an engine's work from another thread, whichever parser it has by then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancellation(Arc<Mutex<Asked>>);

#[derive(Debug, Default)]
struct Asked {
    is_cancelled: bool,
    /// Whether to end a search for a finish.
    is_in_haste: bool,
    handle: Option<CancellationHandle>,
}

impl Cancellation {
    fn lock(&self) -> std::sync::MutexGuard<'_, Asked> {
        // A flag and a handle are whole whatever happened to their last user.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for an end, for good.
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

    /// Says whether searches for a finish are to end early.
    pub(crate) fn set_haste(&self, is_in_haste: bool) {
        self.lock().is_in_haste = is_in_haste;
    }

    /// Whether a search has to end.
    pub(crate) fn ends_search(&self) -> bool {
        let asked = self.lock();
        asked.is_cancelled || asked.is_in_haste
    }

    /// From now on ends the work of this parser.
    fn follow(&self, inner: &Matcher) {
        let mut asked = self.lock();
        asked.handle = inner.cancellation_handle();
        if let (true, Some(handle)) = (asked.is_cancelled, &asked.handle) {
            handle.cancel();
        }
    }
}

impl Engine {
    /// Puts `inner`, a copy of `template`, at the start of a sequence.
    pub(crate) fn new(template: Arc<Template>, inner: Matcher) -> Self {
        let inner = inner.into_cancellable();
        let cancellation = Cancellation::default();
        cancellation.follow(&inner);
        Self { inner, template, taken: Vec::new(), cancellation }
    }

    /// Asks the engine; once more with a fresh lexer if the old one is full.
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

    /// Whether the text may end behind these tokens.
    pub(crate) fn may_end_behind(&mut self, tokens: &[TokenId], end: TokenId) -> bool {
        if tokens.len() <= MAX_ASKED {
            let all = [tokens, &[end]].concat();
            return self.num_allowed(&all).is_ok_and(|valid| valid == all.len());
        }
        // One question has the fuel of one step.
        let Ok(mut copy) = self.fork() else { return false };
        let takes = |token: &TokenId| !self.cancellation.ends_search() && copy.take(*token).is_ok();
        tokens.iter().all(takes) && (copy.is_complete() || copy.is_accepting().unwrap_or(false))
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
    pub(crate) fn jump_forward(&mut self) -> Vec<TokenId> {
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
