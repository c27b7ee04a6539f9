//! What one running sequence is: its tokens, the pages that hold what was computed of them, its
//! score, and its text as far as it may be shown.

mod beam;
mod continuation;
mod stop;
mod transcript;

pub use beam::{Candidate, Kept, select};
pub use continuation::{Continuation, Ids};
pub use stop::{StopOutcome, StopStrings};
pub use transcript::{FinishReason, Rules, Said, Transcript};

use sluicegate_spec::units::TokenId;

use crate::{
    messages::{Choice, SequenceId, Token},
    pages::{Cached, Memory},
};

/// One running hypothesis: a sample or a beam. Known by its number, and owned by its group.
#[derive(Debug)]
pub struct Sequence {
    id: SequenceId,
    /// All of them: the prompt, and what was generated.
    tokens: Vec<TokenId>,
    prompt_tokens: usize,
    pub(crate) cached: Cached,
    transcript: Transcript,
}

impl Sequence {
    /// A prompt of which nothing is cached.
    pub(crate) fn new(
        id: SequenceId,
        prompt: Vec<TokenId>,
        transcript: Transcript,
        memory: &Memory,
    ) -> Self {
        let (prompt_tokens, cached) = (prompt.len(), Cached::nothing(memory));
        Self { id, tokens: prompt, prompt_tokens, cached, transcript }
    }

    /// Another sequence with the same past, on the same pages.
    pub(crate) fn fork(&self, id: SequenceId, memory: &mut Memory) -> Self {
        Self {
            id,
            tokens: self.tokens.clone(),
            prompt_tokens: self.prompt_tokens,
            cached: self.cached.share(memory),
            transcript: self.transcript.clone(),
        }
    }

    pub fn id(&self) -> SequenceId {
        self.id
    }

    /// The prompt, and what was generated.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    pub fn prompt(&self) -> &[TokenId] {
        &self.tokens[..self.prompt_tokens]
    }

    /// What was generated, without an end token.
    pub fn generated(&self) -> &[TokenId] {
        &self.tokens[self.prompt_tokens..]
    }

    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// Says which of its prompt's outputs it is.
    pub fn set_index(&mut self, index: usize) {
        self.transcript.index = index;
    }

    /// Tokens not yet ordered to be computed.
    pub(crate) fn num_pending(&self) -> usize {
        self.tokens.len() - self.cached.num_tokens()
    }

    /// Takes over what is known of its beginning; nothing of it is cached before.
    pub(crate) fn begin(&mut self, memory: &mut Memory) {
        self.cached.begin(&self.tokens, memory);
    }

    /// Takes the pages for its next `count` tokens, which are computed next.
    pub(crate) fn order(&mut self, count: usize, memory: &mut Memory) {
        let end = self.cached.num_tokens() + count;
        self.cached.extend(&self.tokens, end, memory);
    }

    /// Takes a step: the tokens that were taken of a choice, and those that followed of themselves.
    /// Says what may be shown of it now, and whether it ends; tokens behind an end are left out.
    pub fn say(&mut self, tokens: &[TokenId], choice: &Choice, rules: &Rules<'_>) -> Said {
        let num_chosen = num_chosen(tokens, choice);
        let mut said = Said::default();
        for (index, &id) in tokens.iter().enumerate() {
            let chosen = choice.tokens().nth(index).filter(|_| index < num_chosen);
            let token = if let Some(token) = chosen {
                self.transcript.add_score(token.log_probability);
                Token { id, ..token.clone() }
            } else {
                said.num_jump_forward += 1;
                Token::certain(id)
            };
            said.num_tokens += 1;
            if rules.eos.contains(&id) {
                self.end(FinishReason::EndToken, &mut said);
                return said;
            }
            self.tokens.push(id);
            let is_stopped = self.transcript.push(token, &mut said.text);
            let reason = if rules.is_finished && index + 1 == tokens.len() {
                FinishReason::Constraint
            } else if is_stopped {
                FinishReason::StopString
            } else if self.generated().len() >= rules.max_tokens {
                FinishReason::Length
            } else {
                continue;
            };
            self.end(reason, &mut said);
            return said;
        }
        if tokens.is_empty() {
            self.transcript.add_score(choice.token.log_probability);
            if rules.is_finished {
                self.end(FinishReason::Constraint, &mut said);
            }
        }
        said
    }

    fn end(&mut self, reason: FinishReason, said: &mut Said) {
        said.finish = Some(reason);
        self.transcript.finish(&mut said.text);
    }

    /// The tokens of the text that is shown now, those since the last time.
    pub fn take_unshown(&mut self) -> Vec<Token> {
        self.transcript.take_unshown()
    }

    /// Its tokens and what it has said, at its end.
    pub fn into_parts(self) -> (Vec<TokenId>, Transcript) {
        let Self { mut tokens, prompt_tokens, transcript, .. } = self;
        (tokens.split_off(prompt_tokens), transcript)
    }
}

/// How many of the tokens that were taken are the choice's, or stand for one that was vetoed:
/// behind such a one, nothing is as it was chosen.
fn num_chosen(taken: &[TokenId], choice: &Choice) -> usize {
    let is_same = |(taken, chosen): &(&TokenId, &Token)| **taken == chosen.id;
    1 + taken.iter().zip(choice.tokens()).take_while(is_same).count()
}
