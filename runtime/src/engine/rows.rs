//! One running output: its tokens, its score, and its text as far as it may be shown.

use sluicegate_constraint::StopStrings;
use sluicegate_model::{
    tokenizer::{StreamDecoder, Tokenizer},
    units::TokenId,
};

use crate::stream::{FinishReason, Output, OutputId, Token};

/// A hypothesis: a sample or a beam.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Which sample it is; beams get theirs when they are ranked.
    pub(super) index: usize,
    pub(super) token_ids: Vec<TokenId>,
    pub(super) score: f64,
    /// Tokens whose text has not been shown yet.
    unshown: Vec<Token>,
    decoder: StreamDecoder,
    stops: StopStrings,
    shown: String,
}

impl Row {
    pub(super) fn new(tokenizer: &Tokenizer, stop: &[String]) -> Self {
        Self {
            index: 0,
            token_ids: Vec::new(),
            score: 0.0,
            unshown: Vec::new(),
            decoder: tokenizer.stream(),
            stops: StopStrings::new(stop.to_vec()),
            shown: String::new(),
        }
    }

    /// Adds a token; returns the text that may be shown now, and whether a stop string came up.
    pub(super) fn push(&mut self, token: Token) -> (String, bool) {
        self.token_ids.push(token.id);
        self.unshown.push(token);
        let piece = self.decoder.push(token.id).unwrap_or_default();
        let outcome = self.stops.push(&piece);
        self.shown.push_str(&outcome.emit);
        (outcome.emit, outcome.stopped)
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
        Output { id, text: self.shown, token_ids: self.token_ids, finish_reason, score: self.score }
    }
}
