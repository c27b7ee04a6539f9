//! Checks how much of a draft would be accepted.

use super::{Event, Matcher, Phase};
use crate::TokenId;
use crate::error::MatchError;
use crate::thinking::Section;

impl Matcher {
    /// Returns how many of `tokens` [`Matcher::advance`] would take, in order. They must be allowed
    /// by grammar, guard and budget; an end token counts where the value may end. Counting stops at
    /// the first token that would be refused or vetoed. The matcher does not advance.
    ///
    /// This takes as long as advancing by the counted tokens and rolling back.
    ///
    /// # Errors
    /// This matcher failed before, or its engine fails now, which is final.
    pub fn accepted_prefix(&mut self, tokens: &[TokenId]) -> Result<usize, MatchError> {
        let num_before = self.num_tokens;
        // A finish found on the way is as valid, but this call must not change the known one.
        let closing = self.closing.clone();
        let num_accepted = self.take_accepted(tokens)?;
        self.rollback(self.num_tokens - num_before)?;
        self.closing = closing;
        Ok(num_accepted)
    }

    fn take_accepted(&mut self, tokens: &[TokenId]) -> Result<usize, MatchError> {
        for (idx, &token) in tokens.iter().enumerate() {
            if !self.may_take(token)? {
                return Ok(idx);
            }
            if let Event::Vetoed { .. } | Event::Closed = self.advance(token)? {
                return Ok(idx);
            }
        }
        Ok(tokens.len())
    }

    /// Returns whether `advance` would not refuse `token`; a refusal would be final.
    fn may_take(&mut self, token: TokenId) -> Result<bool, MatchError> {
        let is_eos = self.vocab.is_eos(token);
        match &self.phase {
            Phase::Failed(error) => return Err(error.clone()),
            Phase::Ended => return Ok(false),
            Phase::Complete => return Ok(is_eos),
            Phase::Running => {}
        }
        if let Some(section) = self.section.as_ref().filter(|section| Section::is_open(section)) {
            return Ok(section.allows(token));
        }
        if is_eos {
            let accepts = self.is_accepting();
            return match &self.phase {
                Phase::Failed(error) => Err(error.clone()),
                _ => Ok(accepts),
            };
        }
        if !self.vocab.contains(token) {
            return Ok(false);
        }
        if self.is_unreadable(token)? {
            return Ok(false);
        }
        let Some(engine) = &mut self.engine else { return Ok(true) };
        let answer = engine.num_allowed(&[token]);
        answer.map(|num_allowed| num_allowed == 1).map_err(|error| self.fail_of(error, token))
    }
}
