//! Reads `tokenizer.json`, and the end tokens in the files next to it.

use std::{fs, panic, path::Path};

use serde_json::Value;
use sluicegate_spec::{
    config::{EndIds, read_json_lossy},
    lfs::refuse_pointer,
    units::TokenId,
};
use tokenizers::{DecoderWrapper, ModelWrapper};

use super::{Encoder, Inner, TokenBytes, bytes::Spelling};
use crate::error::TokenizerError;

const MAX_BYTES: u64 = 512 << 20;
/// Ids from here on are refused: the table of tokens has an entry for each id below.
const MAX_VOCAB: u32 = 4 << 20;

pub(super) fn read(directory: &Path) -> Result<Inner, TokenizerError> {
    let file = &directory.join("tokenizer.json");
    let io = |source| TokenizerError::Io { file: file.clone(), source };
    let num_bytes = fs::metadata(file).map_err(io)?.len();
    if num_bytes > MAX_BYTES {
        return Err(wrong(file, "size", format!("at most {MAX_BYTES} bytes"), num_bytes));
    }
    let json = fs::read(file).map_err(io)?;
    refuse_pointer(file, &json)?;
    let malformed = |source| TokenizerError::Malformed { file: file.clone(), source };
    // The library uses indices from the file unchecked. A panic must not end the process.
    let parsed = panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(&json));
    let mut tokenizer = parsed
        .map_err(|_| malformed("the tokenizer library panicked on it".into()))?
        .map_err(malformed)?;
    // Settings from the model's training on batches; a prompt is neither truncated nor padded.
    tokenizer.with_truncation(None).map_err(malformed)?;
    tokenizer.with_padding(None);
    let table = table(&tokenizer, file)?;
    let (bos, eos) = ends(directory, &tokenizer)?;
    let mut inner = Inner {
        encoder: Encoder::Hub(Box::new(tokenizer)),
        table: table.into(),
        bos,
        eos,
        add_bos: false,
        adds_prefix: false,
        num_rows: None,
    };
    if let Encoder::Hub(tokenizer) = &inner.encoder {
        let empty = tokenizer.encode_fast("", true).map_err(malformed)?;
        inner.add_bos = bos.is_some() && empty.get_ids().first() == bos.as_ref();
    }
    Ok(inner)
}

fn wrong(file: &Path, key: &str, wanted: impl Into<String>, found: u64) -> TokenizerError {
    TokenizerError::Value {
        file: file.to_owned(),
        key: key.to_owned(),
        wanted: wanted.into(),
        found: found.to_string(),
    }
}

fn table(
    tokenizer: &tokenizers::Tokenizer,
    file: &Path,
) -> Result<Vec<TokenBytes>, TokenizerError> {
    let spelling = spelling(tokenizer, file)?;
    let mut table = Vec::new();
    let mut put = |token: TokenId, bytes: TokenBytes| {
        if token >= MAX_VOCAB {
            return Err(wrong(file, "token ids", format!("ids below {MAX_VOCAB}"), token.into()));
        }
        let idx = token as usize;
        if table.len() <= idx {
            table.resize(idx + 1, TokenBytes::Unused);
        }
        table[idx] = bytes;
        Ok(())
    };
    for (text, token) in tokenizer.get_vocab(false) {
        put(token, TokenBytes::Text(spelling.bytes(&text)))?;
    }
    for (token, added) in tokenizer.get_added_tokens_decoder() {
        let bytes = if added.special {
            TokenBytes::Special(added.content)
        } else {
            // SentencePiece files list runs of spaces among the added tokens, in their own
            // spelling.
            match spelling {
                Spelling::Metaspace { .. } => TokenBytes::Text(spelling.bytes(&added.content)),
                Spelling::ByteLevel => TokenBytes::Text(added.content.into_bytes()),
            }
        };
        put(token, bytes)?;
    }
    Ok(table)
}

/// Returns how the vocabulary spells bytes, according to its decoder.
fn spelling(tokenizer: &tokenizers::Tokenizer, file: &Path) -> Result<Spelling, TokenizerError> {
    let unsupported = |found: String| TokenizerError::Unsupported {
        file: file.to_owned(),
        what: "decoder",
        found,
        supported: "ByteLevel, Metaspace, or Replace with ByteFallback".to_owned(),
    };
    let byte_fallback = match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.byte_fallback,
        ModelWrapper::Unigram(model) => model.byte_fallback(),
        _ => false,
    };
    let decoder = tokenizer.get_decoder().ok_or_else(|| unsupported("none".to_owned()))?;
    let steps = match decoder {
        DecoderWrapper::Sequence(sequence) => sequence.get_decoders(),
        other => std::slice::from_ref(other),
    };
    let mut spelling = None;
    for step in steps {
        spelling = match step {
            DecoderWrapper::ByteLevel(_) => Some(Spelling::ByteLevel),
            DecoderWrapper::Metaspace(_) | DecoderWrapper::Replace(_) => {
                Some(Spelling::Metaspace { byte_fallback })
            }
            // These only join the output of the steps above, or trim the first space.
            DecoderWrapper::ByteFallback(_)
            | DecoderWrapper::Fuse(_)
            | DecoderWrapper::Strip(_) => spelling,
            other => return Err(unsupported(format!("{other:?}").chars().take(60).collect())),
        };
    }
    spelling.ok_or_else(|| unsupported(format!("{decoder:?}").chars().take(60).collect()))
}

/// Returns the begin token and all end tokens in the directory's files.
fn ends(
    directory: &Path,
    tokenizer: &tokenizers::Tokenizer,
) -> Result<(Option<TokenId>, Vec<TokenId>), TokenizerError> {
    let unreadable = |error| unreadable(directory, error);
    let EndIds { mut bos, mut eos } = EndIds::read(directory).map_err(unreadable)?;
    let file = directory.join("tokenizer_config.json");
    if file.exists() {
        // It also has the chat template, which may be in any encoding and is not read here.
        let config = read_json_lossy(&file).map_err(unreadable)?;
        let token = |key: &str| tokenizer.token_to_id(token_text(config.get(key)?)?);
        bos = token("bos_token").or(bos);
        eos.extend(token("eos_token").filter(|token| !eos.contains(token)));
    }
    Ok((bos, eos))
}

/// Adds the end tokens that the directory's configuration lists by id.
pub(super) fn add_ends(directory: &Path, eos: &mut Vec<TokenId>) -> Result<(), TokenizerError> {
    let ends = EndIds::read(directory).map_err(|error| unreadable(directory, error))?;
    for token in ends.eos {
        if !eos.contains(&token) {
            eos.push(token);
        }
    }
    Ok(())
}

fn unreadable(directory: &Path, error: sluicegate_spec::error::ConfigError) -> TokenizerError {
    TokenizerError::Malformed { file: directory.to_owned(), source: Box::new(error) }
}

/// Returns a token's text, given as a string or as an object with `content`.
pub(crate) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}
