//! What a caller sends.

use sluicegate_constraint::Spec;
use sluicegate_model::{chat::Message, open::Model};
use sluicegate_placement::Demand;
use sluicegate_spec::units::TokenId;

use super::SubmitError;
use crate::sampler::{Method, Penalties};

/// One prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Text as it is; the tokenizer adds what begins a sequence.
    Text(String),
    /// A conversation, through the model's chat template.
    Chat(Vec<Message>),
    /// Tokens as they are.
    Tokens(Vec<TokenId>),
}

/// A prompt as the model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenPrompt {
    /// The text that was tokenised; the tokenizer may have added a first token. None where the
    /// prompt is tokens.
    pub text: Option<String>,
    /// All tokens that the model reads, an added one included.
    pub tokens: Vec<TokenId>,
}

impl Prompt {
    /// Writes the prompt, the one of its request with this index, as the model expects it.
    ///
    /// # Errors
    /// [`SubmitError`] if it needs a chat template that is missing or fails, or cannot be
    /// tokenised.
    pub fn write(&self, prompt_idx: usize, model: &Model) -> Result<WrittenPrompt, SubmitError> {
        let (text, add_special) = match self {
            Self::Tokens(tokens) => {
                return Ok(WrittenPrompt { text: None, tokens: tokens.clone() });
            }
            Self::Text(text) => (text.clone(), true),
            Self::Chat(messages) => {
                let template = model.chat.as_ref().ok_or(SubmitError::NoChatTemplate)?;
                let text = template.render(messages, true);
                let text =
                    text.map_err(|source| SubmitError::Chat { prompt: prompt_idx, source })?;
                // The template writes what begins a sequence itself.
                (text, false)
            }
        };
        let tokens = model.tokenizer.encode(&text, add_special);
        let tokens =
            tokens.map_err(|source| SubmitError::Tokenizer { prompt: prompt_idx, source })?;
        Ok(WrittenPrompt { text: Some(text), tokens })
    }
}

impl From<&str> for Prompt {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Prompt {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Self::Chat(messages)
    }
}

/// A call: prompts, what their outputs must look like, and how tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub prompts: Vec<Prompt>,
    pub constraint: Spec,
    pub method: Method,
    pub penalties: Penalties,
    /// Outputs per prompt; of a beam search the best ones.
    pub samples: usize,
    /// Tokens that an output has at most.
    pub max_tokens: usize,
    /// Tokens before an end token may be chosen.
    pub min_tokens: usize,
    /// Whether end tokens are never chosen; a constraint that allows nothing else wins.
    pub ignore_eos: bool,
    /// Whether [`Output::tokens`](crate::Output::tokens) are wanted, and how many of the most
    /// likely tokens with each: 0 to 20, and 0 of a beam search.
    pub log_probabilities: Option<usize>,
    /// Beams are ranked by the sum of log-probabilities divided by this power of the number of
    /// tokens: above 0 longer texts rank higher than by the sum alone, below it shorter ones; -10
    /// to 10. Source: Wu et al. 2016, arXiv:1609.08144, section 7, in the form of transformers.
    pub length_penalty: f64,
    /// Texts that end an output; they are not part of it.
    pub stop: Vec<String>,
    /// With the prompt's index, the sample's and the step, the whole source of randomness.
    pub seed: u64,
    /// Requests of a higher priority come first, and give up their pages last.
    pub priority: i32,
}

impl Request {
    /// A greedy request for free text of at most 256 tokens.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompts: vec![prompt],
            constraint: Spec::Text,
            method: Method::Greedy,
            penalties: Penalties::default(),
            samples: 1,
            max_tokens: 256,
            min_tokens: 0,
            ignore_eos: false,
            log_probabilities: None,
            length_penalty: 0.0,
            stop: Vec::new(),
            seed: 0,
            priority: 0,
        }
    }

    /// What the request needs of a plan for `model`.
    ///
    /// # Errors
    /// A prompt cannot be written as tokens.
    pub fn demand(&self, model: &Model) -> Result<Demand, SubmitError> {
        let mut prompt_tokens = 0;
        for (prompt_idx, prompt) in self.prompts.iter().enumerate() {
            let num_tokens = match prompt {
                Prompt::Tokens(tokens) => tokens.len(),
                Prompt::Text(_) | Prompt::Chat(_) => prompt.write(prompt_idx, model)?.tokens.len(),
            };
            prompt_tokens = prompt_tokens.max(num_tokens);
        }
        Ok(self.demand_of(prompt_tokens))
    }

    fn demand_of(&self, prompt_tokens: usize) -> Demand {
        Demand {
            num_prompts: self.prompts.len(),
            rows_per_prompt: match self.method {
                Method::Beam { width } => width,
                Method::Greedy | Method::Multinomial(_) => self.samples,
            },
            prompt_tokens,
            output_tokens: self.max_tokens,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_and_every_beam_is_a_row() {
        let prompts = vec![Prompt::Tokens(vec![1; 10]); 3];
        let request = Request { prompts, samples: 2, ..Request::new(Prompt::Tokens(vec![1])) };
        let want =
            Demand { num_prompts: 3, rows_per_prompt: 2, prompt_tokens: 10, output_tokens: 256 };
        assert_eq!(request.demand_of(10), want);
        let beams = Request { method: Method::Beam { width: 4 }, ..request };
        assert_eq!(beams.demand_of(10), Demand { rows_per_prompt: 4, ..want });
    }
}
