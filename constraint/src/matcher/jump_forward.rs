//! Tokens that need no sampling.

use super::{Matcher, Phase};
use crate::TokenId;

impl Matcher {
    /// Returns the tokens that must come next, as the model's own tokenizer spells them; the matcher
    /// does not advance. Each mask on the way would allow that one token and nothing else.
    ///
    /// Empty where the text is not determined, where its last token could still become another one
    /// with what follows, without a canonical tokenisation, and where the value may end. A failure
    /// shows in the next call.
    pub fn jump_forward(&mut self) -> Vec<TokenId> {
        if !matches!(self.phase, Phase::Running) {
            return Vec::new();
        }
        let Some(engine) = &mut self.engine else { return Vec::new() };
        let mut tokens = engine.jump_forward();
        let is_text = |token: &TokenId| self.vocab.contains(*token) && !self.vocab.is_eos(*token);
        let num_text = tokens.iter().take_while(|token| is_text(token)).count();
        tokens.truncate(num_text);
        tokens
    }
}
