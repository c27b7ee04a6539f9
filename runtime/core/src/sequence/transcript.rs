//! What a sequence has said: its text as far as it may be shown, its score, and how it ended.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluicegate_spec::{
    tokens::{StreamDecoder, TokenTable},
    units::TokenId,
};

use super::stop::StopStrings;
use crate::messages::Token;

/// Why an output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model chose an end token.
    EndToken,
    /// A stop string came up.
    StopString,
    /// The constraint is fulfilled and nothing may follow.
    Constraint,
    /// `max_tokens` were generated.
    Length,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndToken => "end_token",
            Self::StopString => "stop_string",
            Self::Constraint => "constraint",
            Self::Length => "length",
        })
    }
}

/// What ends a sequence in a step.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The end tokens.
    pub eos: &'a [TokenId],
    /// Tokens that an output has at most.
    pub max_tokens: usize,
    /// Whether the constraint is fulfilled by the step's last token, and nothing may follow.
    pub is_finished: bool,
}

/// What a step added.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    /// Text that may be shown now.
    pub text: String,
    /// Tokens that were taken, an end token included.
    pub num_tokens: usize,
    /// Those of them that followed without being chosen.
    pub num_jump_forward: usize,
    /// Why the sequence ends, if it does.
    pub finish: Option<FinishReason>,
}

/// The text of a sequence so far, and its score.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// Which sample it is; beams get theirs when they are ranked.
    pub(super) index: usize,
    score: f64,
    /// Tokens that the score is of, an end token included.
    num_scored: usize,
    /// Its tokens with their log-probabilities, if those are wanted.
    tokens: Option<Vec<Token>>,
    /// Tokens whose text has not been shown yet.
    unshown: Vec<Token>,
    decoder: StreamDecoder,
    stops: StopStrings,
    shown: String,
}

impl Transcript {
    /// Nothing said yet, by tokens of a vocabulary and until a stop string comes up. Tokens with
    /// their log-probabilities are kept if it `keeps_tokens`.
    pub fn new(vocabulary: &TokenTable, stop: &[String], keeps_tokens: bool) -> Self {
        Self {
            tokens: keeps_tokens.then(Vec::new),
            decoder: vocabulary.stream(),
            stops: StopStrings::new(stop.to_vec()),
            ..Self::default()
        }
    }

    /// Which of its prompt's outputs it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Sum of the log-probabilities of what was chosen.
    pub fn score(&self) -> f64 {
        self.score
    }

    /// Tokens that the score is of.
    pub(super) fn num_scored(&self) -> usize {
        self.num_scored
    }

    /// The text, the score, and the tokens with their log-probabilities, if those are kept.
    pub fn into_parts(self) -> (String, f64, Vec<Token>) {
        (self.shown, self.score, self.tokens.unwrap_or_default())
    }

    pub(super) fn add_score(&mut self, log_probability: f64) {
        self.score += log_probability;
        self.num_scored += 1;
    }

    /// Adds a token, and to `shown` the text that may be shown now; says whether a stop string came
    /// up.
    pub(super) fn push(&mut self, token: Token, shown: &mut String) -> bool {
        let piece = self.decoder.push(token.id).unwrap_or_default();
        if let Some(tokens) = &mut self.tokens {
            tokens.push(token.clone());
        }
        self.unshown.push(token);
        let outcome = self.stops.push(&piece);
        self.show(&outcome.emit, shown);
        outcome.stopped
    }

    /// Ends the text: what was held back is shown.
    pub(super) fn finish(&mut self, shown: &mut String) {
        let piece = self.decoder.flush().unwrap_or_default();
        let mut text = self.stops.push(&piece).emit;
        text.push_str(&self.stops.flush());
        self.show(&text, shown);
    }

    pub(super) fn take_unshown(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.unshown)
    }

    fn show(&mut self, text: &str, shown: &mut String) {
        self.shown.push_str(text);
        shown.push_str(text);
    }
}
