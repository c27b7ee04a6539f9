//! The state of one sequence under a constraint. Owns when a sequence may end and how it failed;
//! knows no sampling, rows or stamps.

mod cancel;
mod jump_forward;
mod prefix;

pub use cancel::CancelHandle;

use std::sync::Arc;

use crate::TokenId;
use crate::closing::Closing;
use crate::engine::{Engine, EngineError};
use crate::error::MatchError;
use crate::json_text::{JsonText, TextState};
use crate::mask::Mask;
use crate::thinking::Section;
use crate::vocab::Vocab;

/// The effect of a token on a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// More tokens may come.
    Running,
    /// The output is complete: an end token came, or only an end token could follow.
    Finished,
    /// The token was rejected because no valid output was found that continues with it. `instead`
    /// was taken, after which a valid output is known. `finished` tells whether that completed the
    /// output.
    Vetoed { instead: TokenId, finished: bool },
    /// As `Vetoed`, but the output is valid as it stands and ends before the token. Returned only
    /// if the vocabulary has no end token to take instead.
    Closed,
}

#[derive(Clone)]
enum Phase {
    Running,
    /// The grammar is complete and allows nothing more.
    Complete,
    /// An end token was accepted.
    Ended,
    Failed(MatchError),
}

/// Tracks one sequence: which tokens may come next, and whether it may end.
///
/// Every method runs in the caller's thread, within the fuel of [`crate::Limits`]. A failure is
/// permanent and affects this matcher only. A panic inside the engine is caught and reported as a
/// failure.
pub struct Matcher {
    vocab: Arc<Vocab>,
    /// The thinking section before the engine's text.
    section: Option<Section>,
    /// Decides about tokens; none where every existing token is allowed. It never sees end tokens:
    /// the matcher handles them.
    engine: Option<Box<Engine>>,
    phase: Phase,
    num_tokens: usize,
    /// Present where the output has a guard or a budget.
    closing: Option<Box<Closing>>,
    /// Present where the output is a JSON value.
    text: Option<Box<JsonText>>,
}

impl Matcher {
    pub(crate) fn new(vocab: Arc<Vocab>, engine: Option<Engine>, closing: Option<Closing>) -> Self {
        let engine = engine.map(Box::new);
        let closing = closing.map(Box::new);
        let phase = Phase::Running;
        Self { vocab, section: None, engine, phase, num_tokens: 0, closing, text: None }
    }

    /// Declares the output a JSON value. Call before any token.
    pub(crate) fn of_value(self) -> Self {
        Self { text: Some(Box::default()), ..self }
    }

    /// Puts a section in front. Call before any token.
    pub(crate) fn after(self, section: Option<Section>) -> Self {
        Self { section, ..self }
    }

    /// Returns whether the sequence is still in the section in front.
    fn in_section(&self) -> bool {
        self.section.as_ref().is_some_and(Section::is_open)
    }

    /// Computes the mask for the next token. All end tokens are set where the value may end, and
    /// none elsewhere. When the grammar is complete, nothing else is set.
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
        if let Some(section) = self.section.as_ref().filter(|section| section.is_open()) {
            let mask = section.mask(&self.vocab);
            return mask.ok_or_else(|| self.fail(MatchError::DeadEnd { num_tokens }));
        }
        let Some(engine) = &mut self.engine else {
            let mask = Mask::from_raw(self.vocab.allow_all(), &self.vocab);
            return mask.ok_or_else(|| self.fail(MatchError::DeadEnd { num_tokens }));
        };
        let set = engine.mask();
        let set = set.and_then(|set| Mask::from_raw(set, &self.vocab).ok_or(EngineError::DeadEnd));
        match set {
            Ok(mask) => {
                let mask = match &self.text {
                    Some(text) => text.trim(mask, &self.vocab),
                    None => mask,
                };
                self.without_early_end(mask)
            }
            Err(error) => Err(self.fail_of(error, TokenId::MAX)),
        }
    }

    /// Removes the end tokens where the grammar would allow an end but the value is not valid.
    fn without_early_end(&mut self, mut mask: Mask) -> Result<Mask, MatchError> {
        let Some(closing) = &self.closing else { return Ok(mask) };
        let allows_end = self.vocab.eos().first().is_some_and(|eos| mask.allows(*eos));
        if !allows_end || closing.may_end() {
            return Ok(mask);
        }
        let is_left = mask.deny(self.vocab.eos());
        let num_tokens = self.num_tokens;
        if is_left { Ok(mask) } else { Err(self.fail(MatchError::DeadEnd { num_tokens })) }
    }

    /// Takes the next token. The grammar decides, not the last mask: where the mask holds one
    /// jump-forward token only, other tokenisations of the same text are accepted too.
    ///
    /// # Errors
    /// The token is not allowed (a permanent failure), the output has ended, or the engine failed.
    pub fn advance(&mut self, token: TokenId) -> Result<Event, MatchError> {
        let num_tokens = self.num_tokens;
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Ended => return Err(MatchError::Ended { num_tokens }),
            Phase::Running | Phase::Complete => {}
        }
        if let Some(section) = self.section.as_mut().filter(|section| section.is_open()) {
            if !section.advance(token, &self.vocab) {
                return Err(self.fail(MatchError::NotAllowed { token, num_tokens }));
            }
            self.num_tokens += 1;
            if let Some(closing) = self.closing.as_mut().filter(|_| !section.is_open()) {
                closing.start_after(self.num_tokens);
            }
            return Ok(Event::Running);
        }
        if self.vocab.is_eos(token) && self.is_accepting() {
            self.phase = Phase::Ended;
            self.num_tokens += 1;
            return Ok(Event::Finished);
        }
        // Asking whether the value may end may have failed the engine.
        if let Phase::Failed(error) = &self.phase {
            return Err(error.clone());
        }
        let open = matches!(self.phase, Phase::Running);
        if !open || !self.vocab.contains(token) || self.vocab.is_eos(token) {
            return Err(self.fail(MatchError::NotAllowed { token, num_tokens }));
        }
        let state = self.text.as_ref().map(|text| text.after(token, &self.vocab));
        if matches!(state, Some((_, false))) && !self.mask()?.allows(token) {
            return Err(self.fail(MatchError::NotAllowed { token, num_tokens }));
        }
        let state = state.map(|(state, _)| state);
        let taken = match self.find_finish(token, state.as_ref().map_or(0, TextState::depth))? {
            Taken::End => {
                let Some(&instead) = self.vocab.eos().first() else {
                    self.phase = Phase::Complete;
                    return Ok(Event::Closed);
                };
                self.phase = Phase::Ended;
                self.num_tokens += 1;
                return Ok(Event::Vetoed { instead, finished: true });
            }
            Taken::Token(taken) => taken,
        };
        let mut finished = false;
        if let Some(engine) = &mut self.engine {
            if let Err(error) = engine.take(taken) {
                return Err(self.fail_of(error, token));
            }
            finished = engine.is_complete();
        }
        self.num_tokens += 1;
        if let (Some(text), Some(mut state)) = (&mut self.text, state) {
            if taken != token {
                state = text.after(taken, &self.vocab).0;
            }
            text.take(state);
        }
        if finished {
            self.phase = Phase::Complete;
        }
        Ok(match (taken == token, finished) {
            (true, true) => Event::Finished,
            (true, false) => Event::Running,
            (false, finished) => Event::Vetoed { instead: taken, finished },
        })
    }

    /// Returns whether the token, though others are allowed, makes a number too large or repeats a
    /// name.
    fn is_unreadable(&mut self, token: TokenId) -> Result<bool, MatchError> {
        let Some(text) = &self.text else { return Ok(false) };
        if text.after(token, &self.vocab).1 {
            return Ok(false);
        }
        self.mask().map(|mask| !mask.allows(token))
    }

    /// Decides which token is taken: `token` if a valid finish is found after it, else the next
    /// token of the known finish. `depth` counts the containers open after `token`.
    fn find_finish(&mut self, token: TokenId, depth: usize) -> Result<Taken, MatchError> {
        let (Some(closing), Some(engine)) = (&mut self.closing, &mut self.engine) else {
            return Ok(Taken::Token(token));
        };
        if closing.take_if_any_finish_fits(&self.vocab, token, depth) {
            return Ok(Taken::Token(token));
        }
        match closing.advance(engine, &self.vocab, token) {
            Ok(taken) => Ok(taken.map_or(Taken::End, Taken::Token)),
            Err(error) => Err(self.fail_of(error, token)),
        }
    }

    /// Returns how many tokens were vetoed because no valid output was found after them.
    pub fn num_vetoed(&self) -> usize {
        self.closing.as_ref().map_or(0, |closing| closing.num_vetoed())
    }

    /// Copies this state for another sample or beam. The two are independent from then on.
    ///
    /// The copy is shallow: its cost grows with the text so far, and both share the lexer's states,
    /// which speeds up both. The lexer is behind a lock, so keep a matcher and its forks on one
    /// thread: on different threads they would wait for each other.
    #[must_use]
    pub fn fork(&self) -> Self {
        let num_tokens = self.num_tokens;
        let (engine, phase) = match self.engine.as_ref().map(|engine| engine.fork()).transpose() {
            Ok(engine) => (engine.map(Box::new), self.phase.clone()),
            Err(EngineError::Failed(message)) => {
                (None, Phase::Failed(MatchError::Engine { num_tokens, message }))
            }
            Err(_) => (None, Phase::Failed(MatchError::DeadEnd { num_tokens })),
        };
        Self {
            vocab: Arc::clone(&self.vocab),
            section: self.section.clone(),
            engine,
            phase,
            num_tokens,
            closing: self.closing.clone(),
            text: self.text.clone(),
        }
    }

    /// Rolls back the last `num_tokens` tokens, an end token included.
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
        // The engine never saw an accepted end token.
        let in_section = self.section.as_ref().map_or(0, Section::num_tokens);
        let after_section = num_tokens.min(self.num_tokens - in_section);
        let is_ended = matches!(self.phase, Phase::Ended);
        let seen = after_section - usize::from(is_ended);
        let mut complete = false;
        if let Some(engine) = &mut self.engine {
            if let Err(error) = engine.rollback(seen) {
                return Err(self.fail_of(error, TokenId::MAX));
            }
            complete = engine.is_complete();
        }
        if let Some(closing) = &mut self.closing {
            closing.rollback(seen, &self.vocab);
        }
        if let Some(text) = &mut self.text {
            text.rollback(seen);
        }
        if let Some(section) = &mut self.section {
            section.rollback(num_tokens - after_section);
        }
        self.num_tokens -= num_tokens;
        self.phase = if complete { Phase::Complete } else { Phase::Running };
        Ok(())
    }

    /// Returns whether the value may end here; false if this matcher failed.
    pub fn is_accepting(&mut self) -> bool {
        match self.phase {
            Phase::Failed(_) => return false,
            Phase::Complete | Phase::Ended => return true,
            Phase::Running if self.in_section() => return false,
            Phase::Running => {}
        }
        let Some(engine) = &mut self.engine else { return true };
        match engine.is_accepting() {
            Ok(accepts) => accepts && self.closing.as_ref().is_none_or(|closing| closing.may_end()),
            Err(error) => {
                self.fail_of(error, TokenId::MAX);
                false
            }
        }
    }

    /// Returns whether the output is complete: [`Event::Finished`] was returned and not rolled
    /// back.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Complete | Phase::Ended)
    }

    /// Returns how many tokens were accepted, an end token included.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// Returns the vocabulary of the matcher's tokens.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// As [`Matcher::fail`], for the engine's error about `token`.
    fn fail_of(&mut self, error: EngineError, token: TokenId) -> MatchError {
        let num_tokens = self.num_tokens;
        self.fail(match error {
            EngineError::Refused => MatchError::NotAllowed { token, num_tokens },
            EngineError::DeadEnd => MatchError::DeadEnd { num_tokens },
            EngineError::Failed(message) => MatchError::Engine { num_tokens, message },
        })
    }

    /// Fails this matcher permanently and returns the error.
    fn fail(&mut self, error: MatchError) -> MatchError {
        let error = self.cancelled().unwrap_or(error);
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

/// What is taken for a token.
enum Taken {
    Token(TokenId),
    /// Nothing: the output ends.
    End,
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
        matcher.engine.as_mut().unwrap().break_lexer();
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

    #[test]
    fn a_worker_whose_lexer_a_panic_has_left_behind_gets_another() {
        let mut tokens: Vec<_> = (0..=255).map(|byte| TokenBytes::Text(vec![byte])).collect();
        tokens.push(TokenBytes::Special("<eos>".to_string()));
        let vocab = Vocab::new(VocabSource { tokens, eos: vec![256], num_logits: 257 }, None);
        let compiler = Compiler::new(Arc::new(vocab.unwrap())).unwrap();
        let compiled = compiler.compile(&Spec::Regex("[a-z]+".to_string())).unwrap();
        let (mut victim, mut sharing) = (compiled.matcher_on(0), compiled.matcher_on(0));
        let mut elsewhere = compiled.matcher_on(1);
        victim.engine.as_mut().unwrap().break_lexer();
        assert!(matches!(sharing.advance(97), Err(MatchError::Engine { .. })));
        for matcher in [&mut elsewhere, &mut compiled.matcher_on(0), &mut compiled.matcher_on(1)] {
            assert_eq!(matcher.advance(97).unwrap(), Event::Running);
            assert!(matcher.mask().unwrap().allows(256));
        }
    }
}
