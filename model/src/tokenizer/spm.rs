//! Byte-pair encoding by scores as `SentencePiece` does it, as GGUF files of `llama` tokenizers need it.
//!
//! Neighbouring pieces are merged while the result is a token, the highest score first and the
//! leftmost among equals; what is no token then falls back to bytes. Tokens that users defined and
//! control tokens are cut out of the text first, longest first from the left, and never merged.
//! Source: `bpe_model.cc` of `SentencePiece`; `llm_tokenizer_spm` of llama.cpp.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

use super::bytes::METASPACE;
use crate::units::TokenId;

/// An encoder over a scored vocabulary.
#[derive(Debug)]
pub(super) struct SpmEncoder {
    pub(super) pieces: HashMap<String, (TokenId, f32)>,
    /// Tokens that are matched whole in the text as it is written.
    pub(super) whole: WholeTokens,
    /// The token of each byte, for what no piece covers.
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
struct WholeToken {
    text: String,
    token: TokenId,
    is_control: bool,
}

impl WholeTokens {
    pub(super) fn new(tokens: impl Iterator<Item = (String, TokenId, bool)>) -> Self {
        let mut by_first: HashMap<u8, Vec<WholeToken>> = HashMap::new();
        for (text, token, is_control) in tokens {
            if let Some(first) = text.bytes().next() {
                let entry = WholeToken { text, token, is_control };
                by_first.entry(first).or_default().push(entry);
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
}

/// A run of characters that may merge with its neighbours. Pieces form a list over indices.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    start: usize,
    len: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// A possible merge. Stale once one of its symbols has changed its length.
#[derive(Debug, PartialEq)]
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Eq for Merge {}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl SpmEncoder {
    pub(super) fn encode(&self, text: &str) -> Vec<TokenId> {
        let mut tokens = Vec::new();
        let mut follows_control = true;
        let mut begin = 0;
        let mut at = 0;
        while at < text.len() {
            let Some(whole) = self.whole.at(&text[at..]) else {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            self.encode_between(&text[begin..at], follows_control, &mut tokens);
            tokens.push(whole.token);
            at += whole.text.len();
            begin = at;
            follows_control = whole.is_control;
        }
        self.encode_between(&text[begin..], follows_control, &mut tokens);
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
        let symbols = self.merge(&spelled);
        let mut at = Some(0);
        while let Some(symbol) = at.and_then(|at| symbols.get(at)) {
            self.emit(&spelled[symbol.start..symbol.start + symbol.len], tokens);
            at = symbol.next;
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

    /// Merges the characters of a text; the list of what remains starts at index zero.
    fn merge(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(idx, (start, character))| Symbol {
                start,
                len: character.len_utf8(),
                previous: idx.checked_sub(1),
                next: Some(idx + 1),
            })
            .collect();
        if let Some(last) = symbols.last_mut() {
            last.next = None;
        }
        let mut merges = BinaryHeap::new();
        for left in 0..symbols.len().saturating_sub(1) {
            self.propose(text, &symbols, left, &mut merges);
        }
        while let Some(Merge { left, right, len, .. }) = merges.pop() {
            // Consumed symbols have no length, so that a stale merge never adds up.
            let is_fresh = symbols[left].next == Some(right)
                && symbols[left].len > 0
                && symbols[right].len > 0
                && symbols[left].len + symbols[right].len == len;
            if !is_fresh {
                continue;
            }
            let next = symbols[right].next;
            symbols[left].len = len;
            symbols[left].next = next;
            symbols[right].len = 0;
            if let Some(next) = next {
                symbols[next].previous = Some(left);
            }
            if let Some(previous) = symbols[left].previous {
                self.propose(text, &symbols, previous, &mut merges);
            }
            self.propose(text, &symbols, left, &mut merges);
        }
        symbols
    }

    /// Proposes to merge a symbol with its right neighbour, if the result is a token.
    fn propose(&self, text: &str, symbols: &[Symbol], left: usize, merges: &mut BinaryHeap<Merge>) {
        let Some(right) = symbols[left].next else { return };
        let len = symbols[left].len + symbols[right].len;
        let piece = &text[symbols[left].start..symbols[left].start + len];
        if let Some((_, score)) = self.pieces.get(piece) {
            merges.push(Merge { score: *score, left, right, len });
        }
    }
}
