//! Text to tokens and back, from `tokenizer.json` or from the metadata of a GGUF file.
//!
//! Owns the encoders and the table of what each token stands for. Decoding goes by that table's
//! true bytes alone, so that constraints, streams and whole texts agree byte for byte.

mod bytes;
mod gguf;
mod hub;
mod pre;
mod spm;
mod stream;
#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc};

pub(crate) use hub::token_text;
pub use stream::StreamDecoder;

use crate::{error::TokenizerError, gguf::Gguf, source::ModelFiles, units::TokenId};
use spm::SpmEncoder;

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenBytes {
    /// Bytes of output; not always whole characters.
    Text(Vec<u8>),
    /// A control token, by its name: no output.
    Special(String),
    /// An id that no token has.
    Unused,
}

/// A model's tokenizer. Clones share everything.
#[derive(Debug, Clone)]
pub struct Tokenizer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    encoder: Encoder,
    table: Vec<TokenBytes>,
    bos: Option<TokenId>,
    eos: Vec<TokenId>,
    add_bos: bool,
}

#[derive(Debug)]
enum Encoder {
    /// Begin and end tokens are its own business.
    Hub(Box<tokenizers::Tokenizer>),
    /// Built from metadata, which say whether a text begins with `bos` and ends with `eos`.
    Gguf { inner: GgufEncoder, begin: Option<TokenId>, end: Option<TokenId> },
}

#[derive(Debug)]
enum GgufEncoder {
    ByteLevel(Box<tokenizers::Tokenizer>),
    Spm(SpmEncoder),
}

impl Tokenizer {
    /// Reads the tokenizer of a model.
    ///
    /// # Errors
    /// [`TokenizerError`] naming file and key, where it is missing, malformed or of a kind that is
    /// not supported.
    pub fn from_files(files: &ModelFiles) -> Result<Self, TokenizerError> {
        match files {
            ModelFiles::Gguf(path) => Self::from_gguf(&Gguf::open(path)?),
            ModelFiles::Directory(path) => Self::from_directory(path),
        }
    }

    /// Reads `tokenizer.json` and the end tokens of a directory.
    pub fn from_directory(directory: &Path) -> Result<Self, TokenizerError> {
        hub::read(directory).map(|inner| Self(Arc::new(inner)))
    }

    /// Builds the tokenizer from the metadata of a GGUF file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TokenizerError> {
        gguf::read(gguf).map(|inner| Self(Arc::new(inner)))
    }

    /// The tokens of a text. Names of special tokens in the text become those tokens.
    ///
    /// `add_special` adds what the model wants around a text, such as its begin token; a text
    /// that a chat template wrote has them already.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] if the encoder fails.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<TokenId>, TokenizerError> {
        let run = |tokenizer: &tokenizers::Tokenizer, add_special| {
            let encoding = tokenizer.encode_fast(text, add_special);
            encoding
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|source| TokenizerError::Encode { num_bytes: text.len(), source })
        };
        let (inner, begin, end) = match &self.0.encoder {
            Encoder::Hub(tokenizer) => return run(tokenizer, add_special),
            Encoder::Gguf { inner, begin, end } => (inner, *begin, *end),
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

    /// The text of tokens. Special tokens give nothing; bytes that are no UTF-8 are replaced.
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        let mut bytes = Vec::new();
        for token in tokens {
            if let TokenBytes::Text(text) = self.token_bytes(*token) {
                bytes.extend_from_slice(text);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a token stands for. Ids past the vocabulary are unused.
    pub fn token_bytes(&self, token: TokenId) -> &TokenBytes {
        self.0.table.get(token as usize).unwrap_or(&TokenBytes::Unused)
    }

    /// One more than the largest id that a token has. The model's logits may be wider.
    pub fn vocab_size(&self) -> usize {
        self.0.table.len()
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> Option<TokenId> {
        self.0.bos
    }

    /// All tokens that end a sequence.
    pub fn eos(&self) -> &[TokenId] {
        &self.0.eos
    }

    /// Whether `encode` with `add_special` begins with the begin token.
    pub fn add_bos(&self) -> bool {
        self.0.add_bos
    }

    /// The text of a special token, or of any other.
    pub fn name(&self, token: TokenId) -> Option<String> {
        match self.token_bytes(token) {
            TokenBytes::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            TokenBytes::Special(name) => Some(name.clone()),
            TokenBytes::Unused => None,
        }
    }

    /// Decodes tokens one at a time into whole characters.
    pub fn stream(&self) -> StreamDecoder {
        StreamDecoder::new(self.clone())
    }
}
