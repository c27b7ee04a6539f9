//! What arrives at a simulated engine.

use std::sync::{Arc, LazyLock};

use sluicegate_spec::{
    tokens::{TokenBytes, TokenTable},
    units::TokenId,
};

use super::value::{EOS, mix, to_token};
use crate::{
    messages::{Method, Multinomial, SamplingParams},
    serve::{Admitted, Answer},
};

/// One prompt and how it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulatedRequest {
    pub arrival_s: f64,
    /// At least one token.
    pub prompt: Vec<TokenId>,
    pub search: Search,
    /// Tokens of an output at most; at least one.
    pub max_tokens: usize,
    /// One token in so many ends an output before; none if it is `None`.
    pub ends_one_in: Option<u64>,
    /// What its matchers do; none for free text.
    pub constraint: Option<Constraint>,
    /// Texts that end an output.
    pub stop: Vec<String>,
    pub seed: u64,
    pub priority: i32,
    /// When the caller goes away, counted from the arrival.
    pub cancel_after_s: Option<f64>,
}

/// How outputs are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// So many outputs, each drawn for itself.
    Samples(usize),
    /// The best of so many that step together.
    Beams(usize),
}

impl Search {
    /// Rows of a prompt once it has its first token.
    pub fn num_rows(self) -> usize {
        match self {
            Self::Samples(rows) | Self::Beams(rows) => rows,
        }
    }
}

/// How matchers answer, by the sampled token alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraint {
    /// Tokens that follow sampled ones without being sampled; beams have none.
    pub jump_forward: Option<JumpForward>,
    /// One sampled token in so many is vetoed; beams have no vetoes.
    pub vetoes_one_in: Option<u64>,
    /// One sampled token in so many completes the output.
    pub finishes_one_in: Option<u64>,
    /// The matcher fails once it has so many tokens.
    pub fails_after: Option<usize>,
    /// What an answer takes.
    pub advance_s: f64,
}

/// One sampled token in `one_in` brings `tokens` jump-forward ones with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JumpForward {
    pub one_in: u64,
    pub tokens: usize,
}

impl Constraint {
    /// What a matcher makes of a sampled token; beams take no others for it.
    pub(super) fn answer(&self, sampled: TokenId, is_beam: bool) -> Answer {
        let hits = |one_in: Option<u64>, with| {
            one_in.is_some_and(|one_in| mix(sampled.into(), with).is_multiple_of(one_in))
        };
        if sampled == EOS {
            return Answer { tokens: vec![EOS], is_finished: false, is_vetoed: false };
        }
        let is_vetoed = !is_beam && hits(self.vetoes_one_in, 3);
        let token = if is_vetoed { to_token(mix(sampled.into(), 4)) } else { sampled };
        let jump = self.jump_forward.filter(|it| !is_beam && hits(Some(it.one_in), 1));
        let count = jump.map_or(0, |jump| jump.tokens);
        let follows = (0..count as u64).map(|index| to_token(mix(token.into(), 7 + index)));
        let tokens = [token].into_iter().chain(follows).collect();
        Answer { tokens, is_finished: hits(self.finishes_one_in, 5), is_vetoed }
    }
}

impl SimulatedRequest {
    /// One free output of exactly so many tokens, from time zero on.
    pub fn new(prompt: Vec<TokenId>, max_tokens: usize) -> Self {
        Self {
            arrival_s: 0.0,
            prompt,
            search: Search::Samples(1),
            max_tokens,
            ends_one_in: None,
            constraint: None,
            stop: Vec::new(),
            seed: 0,
            priority: 0,
            cancel_after_s: None,
        }
    }

    /// As the serving loop takes it.
    pub(super) fn admitted(&self) -> Admitted {
        let (method, samples) = match self.search {
            Search::Samples(samples) => (Method::Multinomial(Multinomial::default()), samples),
            Search::Beams(width) => (Method::Beam { width }, width),
        };
        let params = SamplingParams { method, ..SamplingParams::greedy(vec![EOS]) };
        Admitted {
            prompts: vec![self.prompt.clone()],
            is_constrained: self.constraint.is_some(),
            params: Arc::new(params),
            samples,
            max_tokens: self.max_tokens,
            stop: self.stop.clone(),
            keeps_tokens: false,
            length_penalty: 0.0,
            seed: self.seed,
            priority: self.priority,
        }
    }

    /// Whether a drawn token is made an end token.
    pub(super) fn ends(&self, token: TokenId) -> bool {
        self.ends_one_in.is_some_and(|one_in| mix(token.into(), self.seed).is_multiple_of(one_in))
    }
}

/// What the simulated tokens stand for: letters and spaces, and parts of a character of three
/// bytes.
pub(super) static VOCABULARY: LazyLock<TokenTable> = LazyLock::new(|| {
    let token = |id: TokenId| match id % 12 {
        0..9 => TokenBytes::Text(vec![b'a' + u8::try_from(id / 12 % 26).expect("below 26")]),
        9 => TokenBytes::Text(b" and ".to_vec()),
        10 => TokenBytes::Text("終".as_bytes()[..2].to_vec()),
        _ => TokenBytes::Text("終".as_bytes()[2..].to_vec()),
    };
    let mut tokens: Vec<TokenBytes> = (0..EOS).map(token).collect();
    tokens.push(TokenBytes::Special("<end>".to_owned()));
    tokens.into()
});
