//! What a caller sends.

use serde::Serialize;
use sluicegate_constraint::Spec;
use sluicegate_model::chat::Message;
use sluicegate_placement::Demand;
use sluicegate_spec::units::TokenId;

use crate::sampler::{Method, Penalties};

/// Number of a request, counted up by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RequestId(pub u64);

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
    /// Whether [`Output::tokens`](crate::Output::tokens) are wanted, and how many of the likeliest
    /// tokens with each: 0 to 20, and 0 of a beam search.
    pub log_probabilities: Option<usize>,
    /// Beams are ranked by the sum of log-probabilities divided by this power of the number of tokens:
    /// above 0 longer texts rank higher than by the sum alone, below it shorter ones; -10 to 10.
    /// Source: Wu et al. 2016, arXiv:1609.08144, section 7, in the form of transformers.
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

    /// What the request needs of a plan. Prompts that are no tokens yet are taken for as many tokens
    /// as they have bytes, of which a text has no more.
    pub fn demand(&self) -> Demand {
        let num_tokens = |prompt: &Prompt| match prompt {
            Prompt::Tokens(tokens) => tokens.len(),
            Prompt::Text(text) => text.len(),
            Prompt::Chat(messages) => messages.iter().map(|it| it.content.len()).sum(),
        };
        Demand {
            num_prompts: self.prompts.len(),
            rows_per_prompt: match self.method {
                Method::Beam { width } => width,
                Method::Greedy | Method::Multinomial(_) => self.samples,
            },
            prompt_tokens: self.prompts.iter().map(num_tokens).max().unwrap_or(0),
            output_tokens: self.max_tokens,
        }
    }
}
