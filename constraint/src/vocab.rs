//! The vocabulary as constraints see it: each token's exact bytes, the end tokens, the width of the
//! logits. Built from plain data; must not know any tokenizer crate.

use std::collections::HashSet;
use std::sync::Arc;

use llguidance::panic_utils::catch_unwind;
use toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::TokenId;
use crate::error::{VocabError, engine_message};
use crate::mask::{has_bit, set_bit};
use crate::token_kinds::{has_quotes, is_long, quotes};

/// The trie stores token ids in 24 bits and reserves the last value for "none".
const MAX_TOKENS: usize = (1 << 24) - 1;
/// The trie can backtrack over at most this many bytes.
const MAX_TOKEN_BYTES: usize = 1024;
/// A byte that UTF-8 never uses; marks special tokens in the trie.
const SPECIAL: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// A vocabulary as plain data.
#[derive(Clone, Debug, Default)]
pub struct VocabSource {
    /// The meaning of each token, by id.
    pub tokens: Vec<TokenBytes>,
    /// All ids that end an output. They are never text, whatever `tokens` holds for them. Without
    /// any, an output ends where its constraint allows nothing more, or where its caller ends it.
    pub eos: Vec<TokenId>,
    /// Width of the logits. May be larger (padding) or smaller than the number of tokens.
    pub num_logits: usize,
}

/// The meaning of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenBytes {
    /// These bytes, exactly as they appear in the output (no `Ġ`, no `▁`, no `<0x0A>`).
    Text(Vec<u8>),
    /// A control token with this name. No constraint allows it as text.
    Special(String),
    /// An id without a token. Never allowed, constrained or not.
    Unused,
}

/// Tokenises text as the model's tokenizer does, so that jump-forward text gets the tokens that the
/// model was trained on.
pub trait Encode: Send + Sync {
    /// Returns the tokens of `text`, without any added prefix or special token. `text` may end in
    /// the middle of a UTF-8 character.
    fn encode(&self, text: &[u8]) -> Vec<TokenId>;
}

type Texts = HashSet<Box<[u8]>>;

/// A checked vocabulary. Shared by all constraints of one model.
pub struct Vocab {
    env: TokEnv,
    /// Tokens within the logits, used or not.
    num_tokens: u32,
    num_logits: usize,
    eos: Vec<TokenId>,
    /// The end token given to the engine: the first one, or a dummy beyond the tokens, which no
    /// mask allows.
    engine_end: TokenId,
    valid: Box<[u32]>,
    num_valid: usize,
    eos_words: Box<[u32]>,
    /// The token of each single byte, if there is one.
    single_bytes: Box<[Option<TokenId>; 256]>,
    /// Tokens with many digits, and those among them with a quote.
    long_numbers: [Box<[TokenId]>; 2],
    /// Tokens with a quote, sorted by their bytes.
    quoting: Box<[TokenId]>,
    /// Tokens with at least two quotes, and with at least three.
    whole_names: [Box<[TokenId]>; 2],
    /// What tokens hold before a quote, and between two quotes.
    before_quotes: Texts,
    between_quotes: Texts,
}

impl Vocab {
    /// Checks `source` and builds the token trie.
    ///
    /// With `encode`, jump-forward text is offered in its canonical tokens only; without it, in any
    /// tokenisation. A token longer than 1,024 bytes is never offered under a constraint. An end
    /// token beyond narrower logits is dropped.
    ///
    /// # Errors
    /// There are no or too many tokens or logits, or an end token lies outside the vocabulary.
    pub fn new(source: VocabSource, encode: Option<Arc<dyn Encode>>) -> Result<Self, VocabError> {
        let VocabSource { tokens, eos, num_logits } = source;
        for (what, found) in [("tokens", tokens.len()), ("logits", num_logits)] {
            if found == 0 || found >= MAX_TOKENS {
                return Err(VocabError::Size { what, found, max: MAX_TOKENS - 1 });
            }
        }
        let eos = check_eos(&eos, tokens.len(), num_logits)?;
        let num_words = num_logits.div_ceil(32);
        let mut valid = vec![0u32; num_words].into_boxed_slice();
        let mut eos_words = valid.clone();
        for &token in &eos {
            set_bit(&mut eos_words, token);
            set_bit(&mut valid, token);
        }
        let mut words = Vec::with_capacity(tokens.len().min(num_logits));
        for (id, token) in (0u32..).zip(tokens.iter().take(num_logits)) {
            if *token != TokenBytes::Unused {
                set_bit(&mut valid, id);
            }
            words.push(trie_word(token, has_bit(&eos_words, id)));
        }
        let mut single_bytes = Box::new([None; 256]);
        for (id, word) in (0u32..).zip(&words) {
            if let [byte] = word[..] {
                single_bytes[usize::from(byte)].get_or_insert(id);
            }
        }
        let num_tokens = u32::try_from(words.len()).expect("checked against MAX_TOKENS");
        let engine_end = eos.first().copied().unwrap_or_else(|| {
            // The engine needs an end token. This one lies beyond the tokens, and no mask allows
            // it.
            words.push(trie_word(&TokenBytes::Unused, true));
            num_tokens
        });
        let ends = if eos.is_empty() { &[engine_end][..] } else { &eos };
        let trie = build_trie(&words, ends)?;
        let env = Arc::new(Env { trie, encode });
        let num_valid = valid.iter().map(|word| word.count_ones() as usize).sum();
        let long_numbers = [0, 1].map(|least| {
            let long = (0u32..).zip(&words).filter(|(_, word)| is_long(word));
            long.filter(|(_, word)| has_quotes(word, least)).map(|(id, _)| id).collect()
        });
        let with_quotes = |least| -> Box<[TokenId]> {
            let found = (0u32..).zip(&words).filter(|(_, word)| has_quotes(word, least));
            found.map(|(id, _)| id).collect()
        };
        let mut quoting = with_quotes(1);
        quoting.sort_by_key(|id| &words[*id as usize]);
        let whole_names = [2, 3].map(with_quotes);
        let (before_quotes, between_quotes) =
            around_quotes(quoting.iter().map(|id| &*words[*id as usize]));
        Ok(Self {
            env,
            num_tokens,
            num_logits,
            eos,
            engine_end,
            valid,
            num_valid,
            eos_words,
            single_bytes,
            long_numbers,
            quoting,
            whole_names,
            before_quotes,
            between_quotes,
        })
    }

    /// Returns the width of the logits.
    pub fn num_logits(&self) -> usize {
        self.num_logits
    }

    /// Returns the number of 32-bit words in a mask: `ceil(num_logits / 32)`.
    pub fn num_words(&self) -> usize {
        self.valid.len()
    }

    /// Returns the end tokens, each once, in the order given.
    pub fn eos(&self) -> &[TokenId] {
        &self.eos
    }

    /// Returns whether `token` ends an output.
    pub fn is_eos(&self, token: TokenId) -> bool {
        has_bit(&self.eos_words, token)
    }

    /// Returns whether `token` exists and can be sampled.
    pub fn contains(&self, token: TokenId) -> bool {
        has_bit(&self.valid, token)
    }

    /// Returns the mask words of an unconstrained row: every token that exists, no padding.
    pub fn allow_all(&self) -> &[u32] {
        &self.valid
    }

    /// Returns how many tokens exist and can be sampled.
    pub fn num_valid(&self) -> usize {
        self.num_valid
    }

    /// Returns the bytes that `token` writes; empty for special, unused and unknown tokens.
    pub fn token_bytes(&self, token: TokenId) -> &[u8] {
        let bytes = self.env.tok_trie().token(token);
        if bytes.first() == Some(&SPECIAL) { &[] } else { bytes }
    }

    /// Returns the tokens of `text`: the caller's canonical tokenisation if there is one and it
    /// spells exactly `text`, else the longest match at each position.
    pub fn tokenize(&self, text: &[u8]) -> Vec<TokenId> {
        self.env.tokenize_bytes(text)
    }

    /// Returns the special token with this name, end tokens included.
    pub(crate) fn special(&self, name: &str) -> Option<TokenId> {
        self.env.tok_trie().get_special_token(name)
    }

    /// Returns the special token with this name, else the token with this text.
    pub(crate) fn token_named(&self, name: &str) -> Option<TokenId> {
        let trie = self.env.tok_trie();
        self.special(name).or_else(|| trie.token_id_at_bytes(name.as_bytes()))
    }

    /// Returns the tokens that are prefixes of `text`, the shortest first.
    pub(crate) fn prefixes_of(&self, text: &[u8]) -> Vec<TokenId> {
        let trie = self.env.tok_trie();
        let token = |len: usize| trie.token_id_at_bytes(&text[..len]);
        (1..=text.len()).filter_map(token).filter(|&token| self.contains(token)).collect()
    }

    /// Returns how many tokens lie within the logits.
    pub(crate) fn num_tokens(&self) -> u32 {
        self.num_tokens
    }

    /// Returns the token with which the engine ends an output. It is for queries to the engine
    /// only.
    pub(crate) fn engine_end(&self) -> TokenId {
        self.engine_end
    }

    /// Returns the mask words that allow the end tokens only.
    pub(crate) fn eos_words(&self) -> &[u32] {
        &self.eos_words
    }

    /// Returns the token of each single byte, if there is one.
    pub(crate) fn single_bytes(&self) -> &[Option<TokenId>; 256] {
        &self.single_bytes
    }

    /// Returns the tokens with a quote whose bytes begin with `start`.
    pub(crate) fn quoting_from(&self, start: &[u8]) -> &[TokenId] {
        let first = self.quoting.partition_point(|token| self.token_bytes(*token) < start);
        let rest = &self.quoting[first..];
        let len = rest.partition_point(|token| self.token_bytes(*token).starts_with(start));
        &rest[..len]
    }

    /// Returns the tokens that may hold a whole name with its quotes. If `is_inside` a string, they
    /// must end that string first.
    pub(crate) fn whole_names(&self, is_inside: bool) -> &[TokenId] {
        &self.whole_names[usize::from(is_inside)]
    }

    /// Returns whether some token begins with this text and a quote.
    pub(crate) fn may_end_with(&self, text: &[u8]) -> bool {
        self.before_quotes.contains(text)
    }

    /// Returns whether some token holds this text between quotes.
    pub(crate) fn may_quote(&self, text: &[u8]) -> bool {
        self.between_quotes.contains(text)
    }

    /// Returns the tokens with so many digits that they may make any number too large. If
    /// `is_inside` a string, they must end that string first.
    pub(crate) fn long_numbers(&self, is_inside: bool) -> &[TokenId] {
        &self.long_numbers[usize::from(is_inside)]
    }

    /// Returns the engine's view of the vocabulary.
    pub(crate) fn env(&self) -> &TokEnv {
        &self.env
    }
}

impl std::fmt::Debug for Vocab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocab")
            .field("num_tokens", &self.num_tokens)
            .field("num_logits", &self.num_logits)
            .field("eos", &self.eos)
            .finish_non_exhaustive()
    }
}

/// Returns what the words hold before a quote, and between two quotes.
fn around_quotes<'a>(words: impl Iterator<Item = &'a [u8]>) -> (Texts, Texts) {
    let (mut before, mut between) = (Texts::new(), Texts::new());
    for word in words {
        for end in quotes(word) {
            before.insert(word[..end].into());
            let starts = quotes(word).take_while(|start| *start < end);
            between.extend(starts.map(|start| word[start + 1..end].into()));
        }
    }
    (before, between)
}

/// Returns the end tokens that lie within the logits, each once.
fn check_eos(
    given: &[TokenId],
    num_tokens: usize,
    num_logits: usize,
) -> Result<Vec<TokenId>, VocabError> {
    let mut eos = Vec::new();
    for &token in given {
        if token as usize >= num_tokens {
            return Err(VocabError::EosOutOfRange { token, num_tokens });
        }
        if (token as usize) < num_logits && !eos.contains(&token) {
            eos.push(token);
        }
    }
    Ok(eos)
}

/// Returns a token's bytes in the trie; empty keeps it out of the trie.
fn trie_word(token: &TokenBytes, is_eos: bool) -> Vec<u8> {
    let special = |name: &str| {
        let mut word = vec![SPECIAL];
        word.extend_from_slice(name.as_bytes());
        if word.len() > MAX_TOKEN_BYTES { Vec::new() } else { word }
    };
    match token {
        TokenBytes::Special(name) => special(name),
        TokenBytes::Text(bytes) if is_eos => special(&String::from_utf8_lossy(bytes)),
        TokenBytes::Unused if is_eos => special("<eos>"),
        // The marker byte is never part of UTF-8, so no allowed output needs such a token.
        TokenBytes::Text(bytes) if bytes.contains(&SPECIAL) || bytes.len() > MAX_TOKEN_BYTES => {
            Vec::new()
        }
        TokenBytes::Text(bytes) => bytes.clone(),
        TokenBytes::Unused => Vec::new(),
    }
}

/// Builds the trie. Its assertions, such as too many nodes, become errors.
fn build_trie(words: &[Vec<u8>], eos: &[TokenId]) -> Result<TokTrie, VocabError> {
    let num_words = u32::try_from(words.len()).expect("checked against MAX_TOKENS");
    catch_unwind(std::panic::AssertUnwindSafe(|| {
        let info = TokRxInfo::new(num_words, eos[0]);
        Ok(TokTrie::from(&info, words).with_eos_tokens(eos))
    }))
    .map_err(|error| VocabError::Trie { message: engine_message(&error.to_string()) })
}

/// The engine's tokenizer: this vocabulary's trie and, if given, the caller's canonical
/// tokenisation.
struct Env {
    trie: TokTrie,
    encode: Option<Arc<dyn Encode>>,
}

impl Env {
    /// Returns whether `tokens` spell exactly `text`, without special tokens.
    fn spells(&self, tokens: &[TokenId], text: &[u8]) -> bool {
        let mut rest = text;
        for &token in tokens {
            let bytes = self.trie.token(token);
            match rest.strip_prefix(bytes) {
                Some(tail) if !bytes.is_empty() && bytes[0] != SPECIAL => rest = tail,
                _ => return false,
            }
        }
        rest.is_empty()
    }
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        // A tokenizer that adds a prefix or replaces bytes would insert text that nobody asked for,
        // so its result counts only if it spells `text` exactly.
        self.encode
            .as_ref()
            .map(|encode| encode.encode(text))
            .filter(|tokens| self.spells(tokens, text))
            .unwrap_or_else(|| self.trie.greedy_tokenize(text))
    }

    fn tokenize_is_canonical(&self) -> bool {
        self.encode.is_some()
    }
}
