//! The vocabulary as constraints see it: true bytes per token, end tokens, width of the logits.
//! Built from plain data; must not know any tokenizer crate.

use std::collections::HashSet;
use std::sync::Arc;

use llguidance::panic_utils::catch_unwind;
use toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::TokenId;
use crate::error::{VocabError, engine_message};
use crate::mask::{has_bit, set_bit};
use crate::token_kinds::{has_quotes, is_long, quotes};

/// The trie keeps a token id in 24 bits, of which the last value means "none".
const MAX_TOKENS: usize = (1 << 24) - 1;
/// The trie can step back over this many bytes at most.
const MAX_TOKEN_BYTES: usize = 1024;
/// The byte that UTF-8 never uses marks special tokens in the trie.
const SPECIAL: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// Gives a vocabulary as plain data.
#[derive(Clone, Debug, Default)]
pub struct VocabSource {
    /// What each token stands for; the index is the id.
    pub tokens: Vec<TokenBytes>,
    /// All ids that end an output. Whatever `tokens` says of them, they are never text. Without any,
    /// an output ends where its constraint cannot go on, or where its caller ends it.
    pub eos: Vec<TokenId>,
    /// Width of the logits: may be wider (padding) or narrower than `tokens`.
    pub num_logits: usize,
}

/// Says what a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenBytes {
    /// These bytes, exactly as they appear in the output (no `Ġ`, no `▁`, no `<0x0A>`).
    Text(Vec<u8>),
    /// A control token of this name. No constraint lets it appear as text.
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

/// Holds a vocabulary, checked once. Shared by everything that constrains one model.
pub struct Vocab {
    env: TokEnv,
    /// Tokens that could be sampled.
    num_tokens: u32,
    num_logits: usize,
    eos: Vec<TokenId>,
    /// The end token that the engine knows: the first, or one that no logit stands for.
    engine_end: TokenId,
    valid: Box<[u32]>,
    num_valid: usize,
    eos_words: Box<[u32]>,
    /// The token of each single byte, where there is one.
    single_bytes: Box<[Option<TokenId>; 256]>,
    /// Tokens of many digits, and those of them with a quote.
    long_numbers: [Box<[TokenId]>; 2],
    /// Tokens with a quote, by what they write.
    quoting: Box<[TokenId]>,
    /// Tokens with two quotes at least, and with three.
    whole_names: [Box<[TokenId]>; 2],
    /// What tokens hold before a quote, and between two.
    before_quotes: Texts,
    between_quotes: Texts,
}

impl Vocab {
    /// Checks `source` and builds the token trie.
    ///
    /// With `encode`, text that the grammar forces is offered only in its canonical tokens; without
    /// it, in any tokenisation. Tokens longer than 1,024 bytes are never offered under a constraint.
    ///
    /// # Errors
    /// No or too many tokens or logits; an end token that is no token. An end token beyond narrower
    /// logits is left out.
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
            // The engine cannot do without: it gets one behind the tokens, which no mask lets through.
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

    /// Returns the 32-bit words of a mask: `ceil(num_logits / 32)`.
    pub fn num_words(&self) -> usize {
        self.valid.len()
    }

    /// Returns the end tokens, each once, in the order given.
    pub fn eos(&self) -> &[TokenId] {
        &self.eos
    }

    /// Says whether `token` ends an output.
    pub fn is_eos(&self, token: TokenId) -> bool {
        has_bit(&self.eos_words, token)
    }

    /// Says whether `token` exists and can be sampled.
    pub fn contains(&self, token: TokenId) -> bool {
        has_bit(&self.valid, token)
    }

    /// Returns the mask words for unconstrained rows: every token that exists, no padded logit.
    pub fn allow_all(&self) -> &[u32] {
        &self.valid
    }

    /// Returns how many tokens exist and can be sampled.
    pub fn num_valid(&self) -> usize {
        self.num_valid
    }

    /// Returns the bytes that `token` writes: none for special, unused and unknown tokens.
    pub fn token_bytes(&self, token: TokenId) -> &[u8] {
        let bytes = self.env.tok_trie().token(token);
        if bytes.first() == Some(&SPECIAL) { &[] } else { bytes }
    }

    /// Returns the tokens of `text`: the caller's canonical ones where there are such and they spell
    /// exactly `text`, else the longest at each place.
    pub fn tokenize(&self, text: &[u8]) -> Vec<TokenId> {
        self.env.tokenize_bytes(text)
    }

    /// Returns the special token of this name, end tokens included.
    pub(crate) fn special(&self, name: &str) -> Option<TokenId> {
        self.env.tok_trie().get_special_token(name)
    }

    /// Returns the special token of this name, or else the token that writes this text.
    pub(crate) fn token_named(&self, name: &str) -> Option<TokenId> {
        let trie = self.env.tok_trie();
        self.special(name).or_else(|| trie.token_id_at_bytes(name.as_bytes()))
    }

    /// Returns the tokens whose bytes the text begins with, the shortest first.
    pub(crate) fn prefixes_of(&self, text: &[u8]) -> Vec<TokenId> {
        let trie = self.env.tok_trie();
        let token = |len: usize| trie.token_id_at_bytes(&text[..len]);
        (1..=text.len()).filter_map(token).filter(|&token| self.contains(token)).collect()
    }

    /// Returns how many tokens there are that could be sampled.
    pub(crate) fn num_tokens(&self) -> u32 {
        self.num_tokens
    }

    /// Returns the token with which the engine ends an output, of use for questions to it alone.
    pub(crate) fn engine_end(&self) -> TokenId {
        self.engine_end
    }

    /// Returns the mask words that allow the end tokens only.
    pub(crate) fn eos_words(&self) -> &[u32] {
        &self.eos_words
    }

    /// Returns the token of each single byte, where there is one.
    pub(crate) fn single_bytes(&self) -> &[Option<TokenId>; 256] {
        &self.single_bytes
    }

    /// Returns the tokens that begin with these bytes, among which there is a quote.
    pub(crate) fn quoting_from(&self, start: &[u8]) -> &[TokenId] {
        let first = self.quoting.partition_point(|token| self.token_bytes(*token) < start);
        let rest = &self.quoting[first..];
        let len = rest.partition_point(|token| self.token_bytes(*token).starts_with(start));
        &rest[..len]
    }

    /// Returns the tokens that may hold a whole name with its quotes; `is_inside` a string they end
    /// that first.
    pub(crate) fn whole_names(&self, is_inside: bool) -> &[TokenId] {
        &self.whole_names[usize::from(is_inside)]
    }

    /// Says whether a token holds this text with a quote behind it, first of all.
    pub(crate) fn may_end_with(&self, text: &[u8]) -> bool {
        self.before_quotes.contains(text)
    }

    /// Says whether a token holds this text between quotes.
    pub(crate) fn may_quote(&self, text: &[u8]) -> bool {
        self.between_quotes.contains(text)
    }

    /// Returns the tokens that hold so many digits that they may make any number too large;
    /// `is_inside` a string they end that first.
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

/// Returns what the words hold before a quote, and between two.
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

/// Returns the end tokens within the logits, each once.
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

/// Returns the bytes under which the trie keeps a token; empty keeps it out of the trie.
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

/// Builds the trie; its assertions (too many nodes) become errors.
fn build_trie(words: &[Vec<u8>], eos: &[TokenId]) -> Result<TokTrie, VocabError> {
    let num_words = u32::try_from(words.len()).expect("checked against MAX_TOKENS");
    catch_unwind(std::panic::AssertUnwindSafe(|| {
        let info = TokRxInfo::new(num_words, eos[0]);
        Ok(TokTrie::from(&info, words).with_eos_tokens(eos))
    }))
    .map_err(|error| VocabError::Trie { message: engine_message(&error.to_string()) })
}

/// The engine's tokenizer: our trie, and the caller's canonical tokenisation where there is one.
struct Env {
    trie: TokTrie,
    encode: Option<Arc<dyn Encode>>,
}

impl Env {
    /// Says whether `tokens` spell exactly `text`, without special tokens.
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
        // A tokenizer that adds a prefix or replaces bytes would force text that nobody asked for:
        // its answer counts only if it spells the text.
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
