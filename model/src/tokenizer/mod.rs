//! Text to tokens and back, from `tokenizer.json`, `tekken.json` or the metadata of a GGUF file.
//!
//! Owns the encoders and the table of each token's bytes. Decoding uses only that table, so
//! constraints, streams and whole texts agree byte for byte.

mod bytes;
mod gguf;
mod hub;
mod letters;
mod merge;
mod pre;
mod spm;
mod tekken;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

pub(crate) use hub::token_text;

use crate::error::TokenizerError;
use sluicegate_spec::{
    files::ModelFiles,
    gguf::GgufHeader,
    tokens::{StreamDecoder, TokenBytes, TokenTable},
    units::TokenId,
};
use spm::SpmEncoder;
use tekken::TekkenEncoder;

/// A model's tokenizer. Clones share everything.
#[derive(Debug, Clone)]
pub struct Tokenizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    encoder: Encoder,
    table: TokenTable,
    bos: Option<TokenId>,
    eos: Vec<TokenId>,
    add_bos: bool,
    /// Whether the beginning of a text gets a space before it.
    adds_prefix: bool,
    /// Rows of the model's embedding, if known: ids from here on cannot be used.
    num_rows: Option<usize>,
}

/// A text that no vocabulary merges with its neighbours: the first character for private use.
const NO_NEIGHBOUR: &str = "\u{E000}";

#[derive(Debug)]
enum Encoder {
    /// Adds begin and end tokens itself.
    Hub(Box<tokenizers::Tokenizer>),
    /// Built from metadata, which state whether a text begins with `bos` and ends with `eos`.
    Gguf { inner: GgufEncoder, begin: Option<TokenId>, end: Option<TokenId> },
    /// A text begins with its begin token.
    Tekken(Box<TekkenEncoder>),
    /// The token of each byte.
    Letters(Box<[TokenId; 256]>),
}

#[derive(Debug)]
enum GgufEncoder {
    ByteLevel(Box<tokenizers::Tokenizer>),
    Spm(SpmEncoder),
}

impl Tokenizer {
    /// Reads the tokenizer of a model. Does not need its weights.
    ///
    /// # Errors
    /// [`TokenizerError`] with file and key, if the tokenizer is missing, malformed or of an
    /// unsupported kind.
    pub fn from_files(files: &ModelFiles) -> Result<Self, TokenizerError> {
        match files {
            ModelFiles::Gguf(path) => Self::from_gguf(&GgufHeader::open(path)?),
            ModelFiles::Directory(path) => Self::from_directory(path),
        }
    }

    /// Reads `tokenizer.json` and the end tokens of a directory; `tekken.json` if there is no
    /// other.
    pub fn from_directory(directory: &Path) -> Result<Self, TokenizerError> {
        let tekken = directory.join("tekken.json");
        if tekken.is_file() && !directory.join("tokenizer.json").exists() {
            let mut inner = tekken::read(&tekken)?;
            hub::add_ends(directory, &mut inner.eos)?;
            return Self::finish(inner);
        }
        Self::finish(hub::read(directory)?)
    }

    /// Reads a file in Mistral's own format.
    pub fn from_tekken(file: &Path) -> Result<Self, TokenizerError> {
        Self::finish(tekken::read(file)?)
    }

    /// Builds the tokenizer from the metadata of a GGUF file.
    pub fn from_gguf(gguf: &GgufHeader) -> Result<Self, TokenizerError> {
        Self::finish(gguf::read(gguf)?)
    }

    /// Makes a vocabulary of `vocab` tokens for a model without one: each byte is a token, and all
    /// further ids have names to which no text is encoded.
    ///
    /// # Errors
    /// [`TokenizerError::Value`], with `file`, if the vocabulary has no room for all bytes.
    pub fn letters(
        file: &Path,
        vocab: usize,
        bos: Option<TokenId>,
        eos: &[TokenId],
    ) -> Result<Self, TokenizerError> {
        Self::finish(letters::make(file, vocab, bos, eos)?)
    }

    fn finish(inner: Inner) -> Result<Self, TokenizerError> {
        let mut tokenizer = Self(Arc::new(inner));
        // Tested, not read: several parts of a tokenizer may add the space.
        let adds_prefix = tokenizer.decode(&tokenizer.encode("a", false)?) == " a";
        Arc::get_mut(&mut tokenizer.0).expect("nobody else has seen it").adds_prefix = adds_prefix;
        Ok(tokenizer)
    }

    /// Disables the tokens for which a model's embedding has no row: none of them ends a sequence,
    /// and a text that contains one cannot be encoded.
    pub(crate) fn limit_to(&mut self, num_rows: usize) {
        let inner =
            Arc::get_mut(&mut self.0).expect("a model is opened with a tokenizer of its own");
        inner.num_rows = Some(num_rows);
        inner.eos.retain(|token| (*token as usize) < num_rows);
    }

    /// Encodes a text. Names of special tokens in the text become those tokens.
    ///
    /// `add_special` adds the tokens that the model needs around a text, such as its begin token.
    /// The output of a chat template already has them.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the encoder fails, [`TokenizerError::NoRow`] if the text
    /// contains a token for which the model has no embedding.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, TokenizerError> {
        let tokens = self.encode_any(text, add_special)?;
        let Some(num_rows) = self.0.num_rows else { return Ok(tokens) };
        match tokens.iter().find(|token| **token as usize >= num_rows) {
            None => Ok(tokens),
            Some(&token) => {
                let name = self.name(token).unwrap_or_default();
                Err(TokenizerError::NoRow { token, name, num_rows })
            }
        }
    }

    fn encode_any(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, TokenizerError> {
        let run = |tokenizer: &tokenizers::Tokenizer, add_special| {
            let encoding = tokenizer.encode_fast(text, add_special);
            encoding
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|source| TokenizerError::Encode { num_bytes: text.len(), source })
        };
        let (inner, begin, end) = match &self.0.encoder {
            Encoder::Hub(tokenizer) => return run(tokenizer, add_special),
            Encoder::Gguf { inner, begin, end } => (inner, *begin, *end),
            Encoder::Tekken(encoder) => {
                let failed = |source| TokenizerError::Encode { num_bytes: text.len(), source };
                let mut tokens = encoder.encode(text).map_err(failed)?;
                if add_special {
                    tokens.insert(0, encoder.bos);
                }
                return Ok(tokens);
            }
            Encoder::Letters(ids) => {
                let begin = self.0.bos.filter(|_| add_special);
                let tokens = text.bytes().map(|byte| ids[usize::from(byte)]);
                return Ok(begin.into_iter().chain(tokens).collect());
            }
        };
        let mut tokens = match inner {
            GgufEncoder::ByteLevel(tokenizer) => run(tokenizer, false)?,
            GgufEncoder::Spm(encoder) => encoder.encode(text),
        };
        if add_special {
            if let Some(begin) = begin {
                tokens.insert(0, begin);
            }
            tokens.extend(end);
        }
        Ok(tokens)
    }

    /// Encodes a text that continues another: as [`Tokenizer::encode`], but adds neither special
    /// tokens nor the space that some tokenizers put before the beginning of a text.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the encoder fails.
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        if !self.0.adds_prefix {
            return self.encode(text, false);
        }
        let before = self.encode(NO_NEIGHBOUR, false)?;
        let mut tokens = self.encode(&format!("{NO_NEIGHBOUR}{text}"), false)?;
        if !tokens.starts_with(&before) {
            return self.encode(text, false);
        }
        Ok(tokens.split_off(before.len()))
    }

    /// Decodes tokens. Special tokens have no text; bytes that are not UTF-8 are replaced.
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        let mut bytes = Vec::new();
        for token in tokens {
            if let TokenBytes::Text(text) = self.token_bytes(*token) {
                bytes.extend_from_slice(text);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Returns the meaning of a token. Ids outside the vocabulary are unused.
    pub fn token_bytes(&self, token: TokenId) -> &TokenBytes {
        self.0.table.get(token)
    }

    /// Returns one more than the largest id of a token. The model's logits may be wider.
    pub fn vocab_size(&self) -> usize {
        self.0.table.len()
    }

    /// Returns the token that begins a sequence.
    pub fn bos(&self) -> Option<TokenId> {
        self.0.bos
    }

    /// Returns all tokens that end a sequence.
    pub fn eos(&self) -> &[TokenId] {
        &self.0.eos
    }

    /// Returns whether `encode` with `add_special` begins with the begin token.
    pub fn add_bos(&self) -> bool {
        self.0.add_bos
    }

    /// Returns the name of a special token, or the text of any other.
    pub fn name(&self, token: TokenId) -> Option<String> {
        match self.token_bytes(token) {
            TokenBytes::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            TokenBytes::Special(name) => Some(name.clone()),
            TokenBytes::Unused => None,
        }
    }

    /// Returns the meanings of all tokens.
    pub fn table(&self) -> &TokenTable {
        &self.0.table
    }

    /// Decodes tokens one at a time into whole characters.
    pub fn stream(&self) -> StreamDecoder {
        self.0.table.stream()
    }
}
