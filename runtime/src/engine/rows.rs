//! One running output: its tokens, its score, and its text as far as it may be shown.

use sluicegate_constraint::StopStrings;
use sluicegate_model::tokenizer::{StreamDecoder, Tokenizer};
use sluicegate_spec::units::TokenId;

use crate::stream::{FinishReason, Output, OutputId, Token};

/// A hypothesis: a sample or a beam.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Which sample it is; beams get theirs when they are ranked.
    pub(super) index: usize,
    pub(super) token_ids: Vec<TokenId>,
    pub(super) score: f64,
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

impl Row {
    pub(super) fn new(tokenizer: &Tokenizer, stop: &[String], keeps_tokens: bool) -> Self {
        Self {
            index: 0,
            token_ids: Vec::new(),
            score: 0.0,
            num_scored: 0,
            tokens: keeps_tokens.then(Vec::new),
            unshown: Vec::new(),
            decoder: tokenizer.stream(),
            stops: StopStrings::new(stop.to_vec()),
            shown: String::new(),
        }
    }

    /// Adds a token; returns the text that may be shown now, and whether a stop string came up.
    pub(super) fn push(&mut self, token: Token) -> (String, bool) {
        self.token_ids.push(token.id);
        let piece = self.decoder.push(token.id).unwrap_or_default();
        if let Some(tokens) = &mut self.tokens {
            tokens.push(token.clone());
        }
        self.unshown.push(token);
        let outcome = self.stops.push(&piece);
        self.shown.push_str(&outcome.emit);
        (outcome.emit, outcome.stopped)
    }

    /// Adds the log-probability of a token, whether it is one of the text or ends it.
    pub(super) fn add_score(&mut self, log_probability: f64) {
        self.score += log_probability;
        self.num_scored += 1;
    }

    /// What beams are ranked by.
    pub(super) fn rank(&self, length_penalty: f64) -> f64 {
        ranked(self.score, self.num_scored, length_penalty)
    }

    /// What it would be ranked by with a token that makes its score this one.
    pub(super) fn rank_with(&self, score: f64, length_penalty: f64) -> f64 {
        ranked(score, self.num_scored + 1, length_penalty)
    }

    /// Ends the text; returns what was held back.
    pub(super) fn finish(&mut self) -> String {
        let piece = self.decoder.flush().unwrap_or_default();
        let mut text = self.stops.push(&piece).emit;
        text.push_str(&self.stops.flush());
        self.shown.push_str(&text);
        text
    }

    /// The tokens of the text that is shown now.
    pub(super) fn take_unshown(&mut self) -> Vec<Token> {
        std::mem::take(&mut self.unshown)
    }

    pub(super) fn into_output(self, id: OutputId, finish_reason: FinishReason) -> Output {
        let Self { shown: text, token_ids, tokens, score, .. } = self;
        Output { id, text, token_ids, tokens: tokens.unwrap_or_default(), finish_reason, score }
    }
}

fn ranked(score: f64, num_tokens: usize, length_penalty: f64) -> f64 {
    // As it is, to the last bit, where nothing is asked for.
    if length_penalty == 0.0 {
        return score;
    }
    score / (num_tokens.max(1) as f64).powf(length_penalty)
}
