//! How a request wants its tokens chosen.

use serde::{Deserialize, Serialize};
use sluicegate_spec::units::TokenId;

/// How the next token is chosen among those that are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The most likely token; of equals, the lowest id.
    Greedy,
    /// A random draw.
    Multinomial(Multinomial),
    /// The `width` most likely texts, kept together.
    Beam { width: usize },
}

/// What is done to the distribution before the draw, in this order, each on the result of the one
/// before: temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Multinomial {
    /// Above zero.
    pub temperature: f32,
    /// Only the `k` most likely tokens.
    pub top_k: Option<usize>,
    /// Only the fewest most likely tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Only tokens at least this fraction as likely as the most likely; 0 keeps all.
    pub min_p: f32,
}

impl Default for Multinomial {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: None, top_p: 1.0, min_p: 0.0 }
    }
}

/// What makes tokens that were there already less likely. Applied before everything else.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Penalties {
    /// Divides positive and multiplies negative logits of tokens in prompt or output; 1 is none.
    /// Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1.
    pub repetition: f32,
    /// Subtracted once per occurrence in the output; 0 is none.
    pub frequency: f32,
    /// Subtracted once if the token occurs in the output; 0 is none.
    pub presence: f32,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { repetition: 1.0, frequency: 0.0, presence: 0.0 }
    }
}

impl Penalties {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How the rows of one request are sampled; the same for every step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplingParams {
    pub method: Method,
    pub penalties: Penalties,
    /// End tokens are not chosen before this many tokens, unless the mask allows nothing else.
    pub min_tokens: usize,
    /// End tokens are never chosen, unless the mask allows nothing else.
    pub ignore_eos: bool,
    pub eos: Vec<TokenId>,
    /// So many of the most likely tokens are handed on with each choice; a beam search hands on
    /// none.
    pub num_top_tokens: usize,
}

impl SamplingParams {
    /// The most likely token at each step, until one of `eos` is chosen.
    pub fn greedy(eos: Vec<TokenId>) -> Self {
        Self {
            method: Method::Greedy,
            penalties: Penalties::default(),
            min_tokens: 0,
            ignore_eos: false,
            eos,
            num_top_tokens: 0,
        }
    }
}
