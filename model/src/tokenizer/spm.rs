//! Byte-pair encoding by scores, as in `SentencePiece`, for GGUF files with `llama` tokenizers.
//!
//! Neighbouring pieces are merged while the result is a token, the highest score first and the
//! leftmost among equals; pieces that are no tokens are then encoded as bytes. User-defined and
//! control tokens are first cut out of the text, longest first from the left, and never merged.
//! Source: `bpe_model.cc` of `SentencePiece`; `llm_tokenizer_spm` of llama.cpp.

use std::{collections::HashMap, ops::Range};

use sluicegate_spec::units::TokenId;

use super::{bytes::METASPACE, merge::merge};

/// An encoder over a scored vocabulary.
#[derive(Debug)]
pub(super) struct SpmEncoder {
    pub(super) pieces: HashMap<String, (TokenId, f32)>,
    /// Tokens that are matched whole in the unchanged text.
    pub(super) whole: WholeTokens,
    /// The token of each byte, for text without a piece.
    pub(super) bytes: Box<[Option<TokenId>; 256]>,
    pub(super) unknown: Option<TokenId>,
    /// Whether text that begins a sequence or follows a control token gets a space before it.
    pub(super) add_space_prefix: bool,
}

/// Tokens matched whole, by first byte and longest first.
#[derive(Debug, Default)]
pub(super) struct WholeTokens {
    by_first: HashMap<u8, Vec<WholeToken>>,
}

#[derive(Debug)]
pub(super) struct WholeToken {
    pub(super) text: String,
    pub(super) token: TokenId,
    pub(super) is_control: bool,
    /// Whether white space after it is not part of the text.
    pub(super) strips_after: bool,
}

impl WholeTokens {
    pub(super) fn new(tokens: impl Iterator<Item = WholeToken>) -> Self {
        let mut by_first: HashMap<u8, Vec<WholeToken>> = HashMap::new();
        for whole in tokens {
            if let Some(first) = whole.text.bytes().next() {
                by_first.entry(first).or_default().push(whole);
            }
        }
        for tokens in by_first.values_mut() {
            tokens.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then(a.token.cmp(&b.token)));
        }
        Self { by_first }
    }

    fn at(&self, text: &str) -> Option<&WholeToken> {
        let first = text.bytes().next()?;
        self.by_first.get(&first)?.iter().find(|whole| text.starts_with(whole.text.as_str()))
    }

    /// Splits a text into the tokens and the text between them, in order. The text between may be
    /// empty; its flag tells whether it follows a control token or begins the text.
    pub(super) fn cut<'a>(&self, text: &'a str) -> Vec<Cut<'a>> {
        let mut cuts = Vec::new();
        let mut follows_control = true;
        let mut begin = 0;
        let mut at = 0;
        while at < text.len() {
            let Some(whole) = self.at(&text[at..]) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            cuts.push(Cut::Between { text: &text[begin..at], follows_control });
            cuts.push(Cut::Whole(whole.token));
            at += whole.text.len();
            if whole.strips_after {
                at = text.len() - text[at..].trim_start().len();
            }
            begin = at;
            follows_control = whole.is_control;
        }
        cuts.push(Cut::Between { text: &text[begin..], follows_control });
        cuts
    }
}

/// A part of a text that contains whole tokens.
pub(super) enum Cut<'a> {
    Between { text: &'a str, follows_control: bool },
    Whole(TokenId),
}

impl SpmEncoder {
    pub(super) fn encode(&self, text: &str) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        for cut in self.whole.cut(text) {
            match cut {
                Cut::Between { text, follows_control } => {
                    self.encode_between(text, follows_control, &mut tokens);
                }
                Cut::Whole(token) => tokens.push(token),
            }
        }
        tokens
    }

    fn encode_between(&self, text: &str, follows_control: bool, tokens: &mut Vec<TokenId>) {
        if text.is_empty() {
            return;
        }
        let mut spelled = text.replace(' ', METASPACE.encode_utf8(&mut [0; 4]));
        if self.add_space_prefix && follows_control {
            spelled.insert(0, METASPACE);
        }
        let starts = spelled.char_indices().map(|(start, _)| start);
        let score = |piece: Range<usize>| Some(self.pieces.get(&spelled[piece])?.1);
        for piece in merge(starts, spelled.len(), score) {
            self.emit(&spelled[piece], tokens);
        }
    }

    fn emit(&self, piece: &str, tokens: &mut Vec<TokenId>) {
        if let Some((token, _)) = self.pieces.get(piece) {
            tokens.push(*token);
            return;
        }
        let byte_tokens: Option<Vec<TokenId>> =
            piece.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        match byte_tokens {
            Some(byte_tokens) => tokens.extend(byte_tokens),
            None => tokens.extend(self.unknown),
        }
    }
}
