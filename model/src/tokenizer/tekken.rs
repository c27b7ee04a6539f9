//! Reads `tekken.json`: byte-pair encoding by ranks, as in tiktoken.
//!
//! The first ids are the special tokens; the tokens of text follow in the order of their ranks.
//! Files before version 7 do not list the special tokens, which are then the same for all. Source:
//! `tekken.py` of mistral-common, for keys and defaults; tiktoken, for merging.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fs, ops::Range, path::Path};

use serde::Deserialize;
use sluicegate_spec::{lfs::refuse_pointer, units::TokenId};
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
    pre_tokenizers::split::{Split, SplitPattern},
};

use super::{
    Encoder, Inner, TokenBytes,
    merge::merge,
    spm::{Cut, WholeToken, WholeTokens},
};
use crate::error::TokenizerError;

const MAX_FILE_BYTES: u64 = 256 << 20;
const MAX_VOCAB: usize = 4 << 20;
const BEGIN: &str = "<s>";
const END: &str = "</s>";
const DEFAULT_SPECIAL: [&str; 20] = [
    "<unk>",
    BEGIN,
    END,
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
];

#[derive(Deserialize)]
struct File {
    config: Config,
    vocab: Vec<Entry>,
    special_tokens: Option<Vec<Special>>,
}

#[derive(Deserialize)]
struct Config {
    /// How text is split before merging.
    pattern: String,
    /// The number of tokens in use, special ones included.
    default_vocab_size: usize,
    default_num_special_tokens: usize,
}

#[derive(Deserialize)]
struct Entry {
    rank: usize,
    /// In base 64.
    token_bytes: String,
}

#[derive(Deserialize)]
struct Special {
    rank: usize,
    token_str: String,
}

pub(super) fn read(file: &Path) -> Result<Inner, TokenizerError> {
    let io = |source| TokenizerError::Io { file: file.to_owned(), source };
    let num_bytes = fs::metadata(file).map_err(io)?.len();
    let reader = Reader { file };
    if num_bytes > MAX_FILE_BYTES {
        let wanted = format!("at most {MAX_FILE_BYTES} bytes");
        return Err(reader.wrong("size", &wanted, &num_bytes));
    }
    let json = fs::read(file).map_err(io)?;
    refuse_pointer(file, &json)?;
    let parsed: Result<File, _> = serde_json::from_slice(&json);
    let File { config, vocab, special_tokens } = parsed.map_err(|error| reader.malformed(error))?;
    let table = reader.table(&config, &vocab, special_tokens)?;
    let split =
        Split::new(SplitPattern::Regex(config.pattern), SplitDelimiterBehavior::Isolated, false)
            .map_err(|error| reader.malformed(error))?;
    let find = |wanted: &str| {
        let is_it =
            |bytes: &TokenBytes| matches!(bytes, TokenBytes::Special(name) if name == wanted);
        table.iter().position(is_it).and_then(|token| TokenId::try_from(token).ok())
    };
    let bos = find(BEGIN).ok_or_else(|| reader.wrong("special_tokens", BEGIN, &"none"))?;
    let eos = find(END).ok_or_else(|| reader.wrong("special_tokens", END, &"none"))?;
    let encoder = TekkenEncoder::new(&table, split, bos);
    Ok(Inner {
        encoder: Encoder::Tekken(Box::new(encoder)),
        table: table.into(),
        bos: Some(bos),
        eos: vec![eos],
        add_bos: true,
        adds_prefix: false,
        num_rows: None,
    })
}

struct Reader<'a> {
    file: &'a Path,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, wanted: &str, found: &dyn ToString) -> TokenizerError {
        TokenizerError::Value {
            file: self.file.to_owned(),
            key: key.to_owned(),
            wanted: wanted.to_owned(),
            found: found.to_string(),
        }
    }

    fn malformed(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> TokenizerError {
        TokenizerError::Malformed { file: self.file.to_owned(), source: source.into() }
    }

    fn table(
        &self,
        config: &Config,
        vocab: &[Entry],
        special: Option<Vec<Special>>,
    ) -> Result<Vec<TokenBytes>, TokenizerError> {
        let num_special = config.default_num_special_tokens;
        let wanted = format!("more than {num_special} and at most {MAX_VOCAB}");
        let size = config.default_vocab_size;
        let num_text = size.checked_sub(num_special).filter(|num| *num > 0 && size <= MAX_VOCAB);
        let num_text = num_text.ok_or_else(|| self.wrong("default_vocab_size", &wanted, &size))?;
        let mut table: Vec<TokenBytes> =
            (0..num_special).map(|id| TokenBytes::Special(format!("<SPECIAL_{id}>"))).collect();
        let defaults = || {
            let default =
                |(rank, name): (usize, &&str)| Special { rank, token_str: (*name).to_owned() };
            DEFAULT_SPECIAL.iter().enumerate().map(default).collect()
        };
        for Special { rank, token_str } in special.unwrap_or_else(defaults) {
            let wanted = format!("ranks below {num_special}");
            let entry = table.get_mut(rank);
            *entry.ok_or_else(|| self.wrong("special_tokens", &wanted, &rank))? =
                TokenBytes::Special(token_str);
        }
        table.resize(size, TokenBytes::Unused);
        let wanted = format!("each rank below {num_text} once, with bytes");
        for entry in vocab.iter().filter(|entry| entry.rank < num_text) {
            let bytes = decode_base64(&entry.token_bytes).filter(|bytes| !bytes.is_empty());
            let bytes = bytes.ok_or_else(|| self.wrong("vocab", &wanted, &entry.token_bytes))?;
            let token = &mut table[num_special + entry.rank];
            if *token != TokenBytes::Unused {
                return Err(self.wrong("vocab", &wanted, &format!("rank {} twice", entry.rank)));
            }
            *token = TokenBytes::Text(bytes);
        }
        if let Some(token) = table.iter().position(|bytes| *bytes == TokenBytes::Unused) {
            let found = format!("no rank {}", token - num_special);
            return Err(self.wrong("vocab", &wanted, &found));
        }
        Ok(table)
    }
}

/// Decodes standard base 64, padded.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    let mut bits = 0u32;
    let mut num_bits = 0;
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        num_bits += 6;
        if num_bits >= 8 {
            num_bits -= 8;
            bytes.push((bits >> num_bits).to_le_bytes()[0]);
            bits &= (1 << num_bits) - 1;
        }
    }
    Some(bytes)
}

/// An encoder over ranked byte strings.
#[derive(Debug)]
pub(super) struct TekkenEncoder {
    tokens: HashMap<Vec<u8>, TokenId>,
    whole: WholeTokens,
    split: Split,
    pub(super) bos: TokenId,
}

impl TekkenEncoder {
    fn new(table: &[TokenBytes], split: Split, bos: TokenId) -> Self {
        let mut tokens = HashMap::with_capacity(table.len());
        let mut names = Vec::new();
        for (token, bytes) in (0..).zip(table) {
            match bytes {
                TokenBytes::Text(bytes) => {
                    tokens.entry(bytes.clone()).or_insert(token);
                }
                TokenBytes::Special(name) => names.push(WholeToken {
                    text: name.clone(),
                    token,
                    is_control: true,
                    strips_after: false,
                }),
                TokenBytes::Unused => {}
            }
        }
        Self { tokens, whole: WholeTokens::new(names.into_iter()), split, bos }
    }

    /// # Errors
    /// The expression engine's.
    pub(super) fn encode(&self, text: &str) -> tokenizers::Result<Vec<TokenId>> {
        let mut tokens = Vec::new();
        for cut in self.whole.cut(text) {
            match cut {
                Cut::Between { text, .. } => self.encode_between(text, &mut tokens)?,
                Cut::Whole(token) => tokens.push(token),
            }
        }
        Ok(tokens)
    }

    fn encode_between(&self, text: &str, tokens: &mut Vec<TokenId>) -> tokenizers::Result<()> {
        let mut cut = PreTokenizedString::from(text);
        self.split.pre_tokenize(&mut cut)?;
        for (word, _, _) in cut.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            self.encode_word(word.as_bytes(), tokens);
        }
        Ok(())
    }

    /// Encodes a word: as itself if it is a token, else by merging bytes, the lowest rank first.
    fn encode_word(&self, word: &[u8], tokens: &mut Vec<TokenId>) {
        if let Some(token) = self.tokens.get(word) {
            tokens.push(*token);
            return;
        }
        // Exact: ids are far below 2^24.
        let score = |piece: Range<usize>| Some(-(*self.tokens.get(&word[piece])? as f32));
        for piece in merge(0..word.len(), word.len(), score) {
            // In these vocabularies every single byte is a token. One that is not is dropped, as in
            // the byte-level encoders.
            tokens.extend(self.tokens.get(&word[piece]));
        }
    }
}
