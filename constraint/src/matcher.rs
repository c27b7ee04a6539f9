//! The state of one sequence under a constraint. Owns when a sequence may end and what failed;
//! knows no sampling, no rows, no stamps.

use std::sync::Arc;

use llguidance::panic_utils::catch_unwind;

use crate::TokenId;
use crate::error::{MatchError, engine_message};
use crate::mask::Mask;
use crate::vocab::Vocab;

/// What a token did to a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// More tokens may come.
    Running,
    /// The output is complete: an end token came, or nothing but an end token could follow.
    Finished,
}

/// What decides about tokens.
pub(crate) enum Engine {
    /// Everything that exists is allowed.
    Free,
    /// A grammar decides. End tokens never reach it: they are ours.
    Grammar(Box<llguidance::Matcher>),
}

#[derive(Clone)]
enum Phase {
    Running,
    /// The grammar is complete and cannot go on.
    Complete,
    /// An end token was accepted.
    Ended,
    Failed(MatchError),
}

/// Tracks one sequence: which tokens may come next, and whether it may end.
///
/// Every method runs in the caller's thread, within the fuel of [`crate::Limits`]. A failure is
/// final for this matcher only. A panic inside the engine is caught and is such a failure.
pub struct Matcher {
    vocab: Arc<Vocab>,
    engine: Engine,
    phase: Phase,
    num_tokens: usize,
}

impl Matcher {
    pub(crate) fn new(vocab: Arc<Vocab>, engine: Engine) -> Self {
        Self { vocab, engine, phase: Phase::Running, num_tokens: 0 }
    }

    /// Computes the bits for the next token. End tokens are set exactly when the value may end
    /// here, then all of them; when the grammar is complete they are all there is.
    ///
    /// # Errors
    /// The output has ended, no token is allowed, or the engine failed.
    pub fn mask(&mut self) -> Result<Mask, MatchError> {
        let num_tokens = self.num_tokens;
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Ended => return Err(MatchError::Ended { num_tokens }),
            Phase::Complete => {
                let eos = Mask::from_raw(self.vocab.eos_words(), &self.vocab);
                return eos.ok_or(MatchError::DeadEnd { num_tokens });
            }
            Phase::Running => {}
        }
        let mask = match &mut self.engine {
            Engine::Free => Ok(Mask::from_raw(self.vocab.allow_all(), &self.vocab)),
            Engine::Grammar(engine) => match engine.compute_mask() {
                Ok(set) => Ok(Mask::from_raw(set.as_slice(), &self.vocab)),
                Err(error) => Err(engine_message(&error.to_string())),
            },
        };
        match mask {
            Ok(Some(mask)) => Ok(mask),
            Ok(None) => Err(self.fail(MatchError::DeadEnd { num_tokens })),
            Err(message) if message.starts_with("NoExtension") => {
                Err(self.fail(MatchError::DeadEnd { num_tokens }))
            }
            Err(message) => Err(self.fail(MatchError::Engine { num_tokens, message })),
        }
    }

    /// Takes the next token. The grammar decides, not the last mask: where text is forced, another
    /// tokenisation of the same text is accepted too.
    ///
    /// # Errors
    /// The token is not allowed (which makes this matcher fail for good), the output has ended, or
    /// the engine failed.
    pub fn advance(&mut self, token: TokenId) -> Result<Event, MatchError> {
        let num_tokens = self.num_tokens;
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Ended => return Err(MatchError::Ended { num_tokens }),
            Phase::Running | Phase::Complete => {}
        }
        if self.vocab.is_eos(token) && self.is_accepting() {
            self.phase = Phase::Ended;
            self.num_tokens += 1;
            return Ok(Event::Finished);
        }
        // The engine may have failed when asked whether the value may end.
        if let Phase::Failed(error) = &self.phase {
            return Err(error.clone());
        }
        let open = matches!(self.phase, Phase::Running);
        if !open || !self.vocab.contains(token) || self.vocab.is_eos(token) {
            return Err(self.fail(MatchError::NotAllowed { token, num_tokens }));
        }
        let complete = match &mut self.engine {
            Engine::Free => Ok(Some(false)),
            Engine::Grammar(engine) => consume(engine, token),
        };
        match complete {
            Ok(Some(complete)) => {
                self.num_tokens += 1;
                if complete {
                    self.phase = Phase::Complete;
                    return Ok(Event::Finished);
                }
                Ok(Event::Running)
            }
            Ok(None) => Err(self.fail(MatchError::NotAllowed { token, num_tokens })),
            Err(message) => Err(self.fail(MatchError::Engine { num_tokens, message })),
        }
    }

    /// Copies this state for another sample or beam; from then on the two are independent.
    ///
    /// The copy is shallow: it takes time in proportion to the text so far and shares the lexer's
    /// states, which makes both quicker. The lexer is behind a lock, so a matcher and its forks on
    /// different threads would wait for each other: keep them on one.
    #[must_use]
    pub fn fork(&self) -> Self {
        let copy = match &self.engine {
            Engine::Free => Ok(Engine::Free),
            Engine::Grammar(engine) => {
                catch_unwind(std::panic::AssertUnwindSafe(|| Ok(engine.as_ref().clone())))
                    .map(|engine| Engine::Grammar(Box::new(engine)))
                    .map_err(|error| engine_message(&error.to_string()))
            }
        };
        let num_tokens = self.num_tokens;
        let (engine, phase) = match copy {
            Ok(engine) => (engine, self.phase.clone()),
            Err(message) => {
                (Engine::Free, Phase::Failed(MatchError::Engine { num_tokens, message }))
            }
        };
        Self { vocab: Arc::clone(&self.vocab), engine, phase, num_tokens }
    }

    /// Takes back the last `num_tokens` tokens, an end token included.
    ///
    /// # Errors
    /// Fewer tokens were accepted (nothing changes), or this matcher failed before.
    pub fn rollback(&mut self, num_tokens: usize) -> Result<(), MatchError> {
        if let Phase::Failed(error) = &self.phase {
            return Err(error.clone());
        }
        if num_tokens > self.num_tokens {
            return Err(MatchError::Rollback { wanted: num_tokens, found: self.num_tokens });
        }
        if num_tokens == 0 {
            return Ok(());
        }
        // An accepted end token was never shown to the engine.
        let seen = num_tokens - usize::from(matches!(self.phase, Phase::Ended));
        let mut complete = false;
        if let Engine::Grammar(engine) = &mut self.engine {
            if let Err(error) = engine.rollback(seen) {
                let message = engine_message(&error.to_string());
                let num_tokens = self.num_tokens;
                return Err(self.fail(MatchError::Engine { num_tokens, message }));
            }
            complete = engine.is_stopped();
        }
        self.num_tokens -= num_tokens;
        self.phase = if complete { Phase::Complete } else { Phase::Running };
        Ok(())
    }

    /// Says whether the value may end here; false once this matcher failed.
    pub fn is_accepting(&mut self) -> bool {
        match self.phase {
            Phase::Failed(_) => return false,
            Phase::Complete | Phase::Ended => return true,
            Phase::Running => {}
        }
        let answer = match &mut self.engine {
            Engine::Free => return true,
            Engine::Grammar(engine) => engine.is_accepting(),
        };
        answer.unwrap_or_else(|error| {
            let message = engine_message(&error.to_string());
            self.fail(MatchError::Engine { num_tokens: self.num_tokens, message });
            false
        })
    }

    /// Says whether the output is complete: [`Event::Finished`] was returned and not taken back.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Complete | Phase::Ended)
    }

    /// Returns how many tokens were accepted, an end token included.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// Makes this matcher fail for good, and returns the error for its caller.
    fn fail(&mut self, error: MatchError) -> MatchError {
        self.phase = Phase::Failed(error.clone());
        error
    }
}

impl std::fmt::Debug for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let phase = match &self.phase {
            Phase::Running => "running".to_string(),
            Phase::Complete => "complete".to_string(),
            Phase::Ended => "ended".to_string(),
            Phase::Failed(error) => format!("failed: {error}"),
        };
        f.debug_struct("Matcher")
            .field("num_tokens", &self.num_tokens)
            .field("phase", &phase)
            .finish_non_exhaustive()
    }
}

/// Feeds one token: `Some(complete)` if it was allowed. The error is the engine's message.
fn consume(engine: &mut llguidance::Matcher, token: TokenId) -> Result<Option<bool>, String> {
    // Asked first, because a refused token and a failed engine look alike afterwards.
    let allowed = engine.validate_tokens(&[token]);
    let consumed = match allowed {
        Ok(0) => return Ok(None),
        Ok(_) => engine.consume_token(token),
        Err(error) => Err(error),
    };
    consumed.map(|()| Some(engine.is_stopped())).map_err(|error| engine_message(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Compiler, Spec, TokenBytes, VocabSource};

    #[test]
    fn a_panic_in_the_engine_is_an_error_of_that_matcher_and_its_forks() {
        let mut tokens: Vec<_> = (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect();
        tokens.push(TokenBytes::Special("<eos>".to_string()));
        let vocab = Vocab::new(VocabSource { tokens, eos: vec![256], num_logits: 257 }, None);
        let compiler = Compiler::new(Arc::new(vocab.unwrap())).unwrap();
        let compiled = compiler.compile(&Spec::Regex("[a-z]+".to_string())).unwrap();

        let mut matcher = compiled.matcher();
        matcher.advance(97).unwrap();
        let mut fork = matcher.fork();
        let Engine::Grammar(engine) = &mut matcher.engine else { panic!("no grammar") };
        engine.test_trigger_lexer_error().unwrap_err();
        for matcher in [&mut matcher, &mut fork] {
            let mut late = matcher.fork();
            let error = matcher.mask().unwrap_err();
            assert!(matches!(error, MatchError::Engine { num_tokens: 1, .. }), "{error:?}");
            assert!(!error.to_string().contains("backtrace"), "{error}");
            assert_eq!(matcher.advance(98).unwrap_err(), error);
            assert!(matches!(late.advance(98), Err(MatchError::Engine { .. })));
            assert!(!late.is_accepting());
        }
        // The lexer they share is lost; that of every other matcher is its own.
        let mut other = compiled.matcher();
        assert_eq!(other.advance(97).unwrap(), Event::Running);
        assert!(other.mask().unwrap().allows(256));
    }
}
