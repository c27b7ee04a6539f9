//! Jump-forward decoding: tokens that need no sampling.

use super::{Matcher, Phase};
use crate::TokenId;

impl Matcher {
    /// Returns the tokens that must come next, in the tokenisation of the model's own tokenizer.
    /// Each mask on the way would allow just that one token. The matcher does not advance.
    ///
    /// The list ends, and may be empty,
    /// - where the text is not determined;
    /// - where its last token could still merge with the text that follows;
    /// - where the vocabulary has no canonical tokenisation;
    /// - where the value may end.
    ///
    /// A failure of the engine shows in the next call.
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
