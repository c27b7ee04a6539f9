//! Rebuilds the tokenizer from the metadata of a GGUF file.
//!
//! Source: `llama-vocab.cpp` of llama.cpp, for keys, token types and defaults.

#[cfg(test)]
mod tests;

use sluicegate_spec::{
    gguf::{Array, GgufHeader, Value},
    units::TokenId,
};
use tokenizers::{AddedToken, models::bpe, pre_tokenizers::byte_level::ByteLevel};

use super::{
    Encoder, GgufEncoder, Inner, TokenBytes,
    bytes::{METASPACE, Spelling, byte_of},
    pre::Pre,
    spm::{SpmEncoder, WholeToken, WholeTokens},
};
use crate::error::TokenizerError;

const MAX_VOCAB: usize = 4 << 20;
const MAX_TOKEN_BYTES: usize = 1 << 16;
const SUPPORTED: &str = "gpt2 or llama";
/// Control tokens that end a turn, regardless of the end token in the file.
const TURN_ENDS: [&str; 4] = ["<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>"];
/// White space after these special tokens of Phi 3 is part of the text; after its others it is not.
const PHI3_KEEPS_AFTER: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// The purpose of a token, by the format's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// The token lists of a file, checked to have the same length.
struct Vocabulary {
    texts: Vec<String>,
    types: Vec<TokenType>,
}

pub(super) fn read(gguf: &GgufHeader) -> Result<Inner, TokenizerError> {
    let keys = Keys { gguf };
    let vocabulary = keys.vocabulary()?;
    let (spelling, inner, adds_bos) = match keys.text("model")? {
        Some("gpt2") => {
            let name = match keys.text("pre")? {
                Some(name) => name,
                None => assumed_pre(gguf, vocabulary.texts.len()),
            };
            let pre = Pre::by_name(name)
                .ok_or_else(|| keys.unsupported("pre-tokenizer", name, Pre::supported()))?;
            let tokenizer = byte_level(&keys, &vocabulary, pre)?;
            let encoder = GgufEncoder::ByteLevel(Box::new(tokenizer));
            (Spelling::ByteLevel, encoder, pre.add_bos)
        }
        Some("llama") => {
            let encoder = GgufEncoder::Spm(spm(&keys, &vocabulary)?);
            (Spelling::Metaspace { byte_fallback: false }, encoder, true)
        }
        other => {
            let found = other.unwrap_or("nothing");
            return Err(keys.unsupported("tokenizer.ggml.model", found, SUPPORTED.to_owned()));
        }
    };
    let bos = keys.token("bos_token_id", &vocabulary)?;
    let mut eos = Vec::new();
    for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        eos.extend(keys.token(key, &vocabulary)?.filter(|token| !eos.contains(token)));
    }
    let end = if keys.flag("add_eos_token")? == Some(true) { eos.first().copied() } else { None };
    for (token, text) in (0..).zip(&vocabulary.texts) {
        let is_control = vocabulary.types[token as usize] == TokenType::Control;
        if is_control && TURN_ENDS.contains(&text.as_str()) && !eos.contains(&token) {
            eos.push(token);
        }
    }
    let begin = bos.filter(|_| adds_bos);
    let begin = match keys.flag("add_bos_token")? {
        Some(true) => bos,
        Some(false) => None,
        None => begin,
    };
    Ok(Inner {
        encoder: Encoder::Gguf { inner, begin, end },
        table: vocabulary.table(spelling).into(),
        bos,
        eos,
        add_bos: begin.is_some(),
        adds_prefix: false,
        num_rows: None,
    })
}

/// Returns the pre-tokenizer assumed for a file without the key: that of most models of its
/// architecture and size. Files older than the key lack it.
fn assumed_pre(gguf: &GgufHeader, num_tokens: usize) -> &'static str {
    let assumed = match (Keys { gguf }.architecture(), num_tokens) {
        ("qwen2" | "qwen3", _) => "qwen2",
        // Llama 3, and models that extend its vocabulary.
        ("llama", 128_256..=128_511) => "llama-bpe",
        // Newer Mistral models.
        ("llama", 131_072) => "tekken",
        _ => "default",
    };
    tracing::warn!(
        "{} has no `tokenizer.ggml.pre`; text is split as for `{assumed}`; if the model needs \
         another pre-tokenizer, its tokens are wrong",
        gguf.path().display()
    );
    assumed
}

impl Vocabulary {
    fn table(&self, spelling: Spelling) -> Vec<TokenBytes> {
        let entry = |(text, kind): (&String, &TokenType)| match kind {
            TokenType::Normal => TokenBytes::Text(spelling.bytes(text)),
            TokenType::UserDefined => TokenBytes::Text(match spelling {
                Spelling::ByteLevel => text.clone().into_bytes(),
                Spelling::Metaspace { .. } => spelling.bytes(text),
            }),
            TokenType::Byte => match byte_of(text) {
                Some(byte) => TokenBytes::Text(vec![byte]),
                None => TokenBytes::Unused,
            },
            TokenType::Control | TokenType::Unknown => TokenBytes::Special(text.clone()),
            TokenType::Unused => TokenBytes::Unused,
        };
        self.texts.iter().zip(&self.types).map(entry).collect()
    }

    fn iter(&self) -> impl Iterator<Item = (TokenId, &str, TokenType)> {
        let texts = self.texts.iter().map(String::as_str);
        (0..).zip(texts).zip(&self.types).map(|((token, text), kind)| (token, text, *kind))
    }
}

fn byte_level(
    keys: &Keys<'_>,
    vocabulary: &Vocabulary,
    pre: Pre,
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let vocab: bpe::Vocab =
        vocabulary.iter().map(|(token, text, _)| (text.to_owned(), token)).collect();
    let array = keys.array("merges")?.ok_or_else(|| keys.wrong("merges", "a list of merges"))?;
    let texts = keys.gguf.texts(array);
    let mut merges = Vec::new();
    let mut whole = String::new();
    for merge in texts.ok_or_else(|| keys.wrong("merges", "a list of strings"))? {
        let halves = std::str::from_utf8(merge).ok().and_then(|merge| merge.split_once(' '));
        let bad = || {
            let found = String::from_utf8_lossy(merge).chars().take(80).collect::<String>();
            keys.wrong_found("merges", "two tokens that make a third", found)
        };
        let (left, right) = halves.ok_or_else(bad)?;
        whole.clear();
        whole.extend([left, right]);
        // The library slices without checking this.
        if ![left, right, &whole].iter().all(|token| vocab.contains_key(*token)) {
            return Err(bad());
        }
        merges.push((left.to_owned(), right.to_owned()));
    }
    let malformed =
        |source| TokenizerError::Malformed { file: keys.gguf.path().to_owned(), source };
    // A byte without a token of its own is dropped from texts, as in the original tokenizers.
    let model = bpe::BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(pre.ignore_merges)
        .build()
        .map_err(malformed)?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    tokenizer.with_normalizer(pre.normalizer()).map_err(malformed)?;
    tokenizer.with_pre_tokenizer(Some(pre.pre_tokenizer().map_err(malformed)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let added = |wanted: TokenType, special: bool| {
        let tokens = vocabulary.iter().filter(move |(_, _, kind)| *kind == wanted);
        tokens.map(move |(_, text, _)| AddedToken::from(text, special).normalized(false))
    };
    let special = added(TokenType::Control, true).chain(added(TokenType::Unknown, true));
    tokenizer.add_special_tokens(special).map_err(malformed)?;
    tokenizer.add_tokens(added(TokenType::UserDefined, false)).map_err(malformed)?;
    Ok(tokenizer)
}

fn spm(keys: &Keys<'_>, vocabulary: &Vocabulary) -> Result<SpmEncoder, TokenizerError> {
    let array = keys.array("scores")?.ok_or_else(|| keys.wrong("scores", "a list of scores"))?;
    let scores = keys.gguf.numbers(array).filter(|scores| scores.len() == vocabulary.texts.len());
    let wanted = "one number per token";
    let scores = scores.ok_or_else(|| keys.wrong("scores", wanted))?;
    let mut bytes = Box::new([None; 256]);
    let mut pieces = std::collections::HashMap::new();
    for ((token, text, kind), score) in vocabulary.iter().zip(&scores) {
        match kind {
            TokenType::Normal => {
                #[expect(clippy::cast_possible_truncation, reason = "scores are stored as f32")]
                let score = *score as f32;
                pieces.entry(text.to_owned()).or_insert((token, score));
            }
            TokenType::Byte => {
                let byte = byte_of(text).ok_or_else(|| {
                    keys.wrong_found("tokens", "byte tokens such as <0x0A>", text.to_owned())
                })?;
                bytes[usize::from(byte)] = Some(token);
            }
            _ => {}
        }
    }
    let is_phi3 = keys.architecture() == "phi3";
    let whole = vocabulary.iter().filter_map(|(token, text, kind)| {
        let is_control = kind == TokenType::Control;
        let written = match kind {
            TokenType::Control => text.to_owned(),
            // As in the text, before spaces are replaced.
            TokenType::UserDefined => text.replace(METASPACE, " "),
            _ => return None,
        };
        // Stated by its `tokenizer.json`; a GGUF file cannot state it.
        let strips_after =
            is_phi3 && (is_control || text == "</s>") && !PHI3_KEEPS_AFTER.contains(&text);
        Some(WholeToken { text: written, token, is_control, strips_after })
    });
    Ok(SpmEncoder {
        pieces,
        whole: WholeTokens::new(whole),
        bytes,
        unknown: keys.token("unknown_token_id", vocabulary)?,
        add_space_prefix: keys.flag("add_space_prefix")?.unwrap_or(true),
    })
}

/// The keys with the prefix `tokenizer.ggml.`.
struct Keys<'a> {
    gguf: &'a GgufHeader,
}

impl<'a> Keys<'a> {
    fn value(&self, key: &str) -> Option<&'a Value> {
        self.gguf.value(&format!("tokenizer.ggml.{key}"))
    }

    /// Empty if the file does not state it.
    fn architecture(&self) -> &'a str {
        match self.gguf.value("general.architecture") {
            Some(Value::Text(name)) => name,
            _ => "",
        }
    }

    fn wrong(&self, key: &str, wanted: &str) -> TokenizerError {
        let found = self.value(key).map_or_else(|| "nothing".to_owned(), Value::describe);
        self.wrong_found(key, wanted, found)
    }

    fn wrong_found(&self, key: &str, wanted: &str, found: String) -> TokenizerError {
        TokenizerError::Value {
            file: self.gguf.path().to_owned(),
            key: format!("tokenizer.ggml.{key}"),
            wanted: wanted.to_owned(),
            found,
        }
    }

    fn unsupported(&self, what: &'static str, found: &str, supported: String) -> TokenizerError {
        let file = self.gguf.path().to_owned();
        TokenizerError::Unsupported { file, what, found: found.to_owned(), supported }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, TokenizerError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, TokenizerError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong(key, "a bool")),
        }
    }

    fn array(&self, key: &str) -> Result<Option<&'a Array>, TokenizerError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(array)) => Ok(Some(array)),
            Some(_) => Err(self.wrong(key, "an array")),
        }
    }

    fn token(&self, key: &str, of: &Vocabulary) -> Result<Option<TokenId>, TokenizerError> {
        let token = match self.value(key) {
            None => return Ok(None),
            Some(Value::Unsigned(token)) => TokenId::try_from(*token).ok(),
            Some(Value::Signed(token)) => TokenId::try_from(*token).ok(),
            Some(_) => None,
        };
        let token = token.filter(|token| (*token as usize) < of.texts.len());
        let wanted = format!("an id below {}", of.texts.len());
        token.map(Some).ok_or_else(|| self.wrong(key, &wanted))
    }

    fn vocabulary(&self) -> Result<Vocabulary, TokenizerError> {
        let array = self.array("tokens")?.ok_or_else(|| self.wrong("tokens", "a list"))?;
        let wanted = format!("1 to {MAX_VOCAB} strings");
        let texts = self.gguf.texts(array).filter(|_| (1..=MAX_VOCAB).contains(&array.len));
        let mut vocabulary = Vocabulary { texts: Vec::new(), types: Vec::new() };
        for text in texts.ok_or_else(|| self.wrong("tokens", &wanted))? {
            if text.len() > MAX_TOKEN_BYTES {
                let found = format!("one of {} bytes", text.len());
                let wanted = format!("tokens of at most {MAX_TOKEN_BYTES} bytes");
                return Err(self.wrong_found("tokens", &wanted, found));
            }
            vocabulary.texts.push(String::from_utf8_lossy(text).into_owned());
        }
        let num_tokens = vocabulary.texts.len();
        let Some(array) = self.array("token_type")? else {
            vocabulary.types = vec![TokenType::Normal; num_tokens];
            return Ok(vocabulary);
        };
        let wanted = format!("{num_tokens} numbers from 1 to 6, one per token");
        let numbers = self.gguf.numbers(array).filter(|numbers| numbers.len() == num_tokens);
        for number in numbers.ok_or_else(|| self.wrong("token_type", &wanted))? {
            #[expect(clippy::cast_possible_truncation, reason = "what does not fit is no type")]
            let kind = TokenType::by_number(number as i64);
            vocabulary.types.push(
                kind.ok_or_else(|| self.wrong_found("token_type", &wanted, number.to_string()))?,
            );
        }
        Ok(vocabulary)
    }
}

impl TokenType {
    fn by_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}
