//! Reads `config.json` and `generation_config.json` in the Hugging Face layout.
//!
//! Supports both the older spelling (`rope_theta` and `rope_scaling`) and the newer one
//! (`rope_parameters`). Defaults are those of the transformers configuration classes.

mod rope;
mod windows;

use std::{fs, io, path::Path};

use serde_json::{Map, Value};

use super::{Architecture, ModelConfig, check::check, keys::Keys};
use crate::{
    error::ConfigError,
    family::{Family, QkvBias, QueryScale},
    lfs::refuse_pointer,
    units::TokenId,
};
use rope::RopeReader;

pub(super) const CONFIG: &str = "config.json";

/// Configuration files are a few kilobytes; tokenizer configurations reach a megabyte.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// Reads a JSON object from a file.
pub fn read_json(file: &Path) -> Result<Map<String, Value>, ConfigError> {
    serde_json::from_slice(&read_bytes(file)?)
        .map_err(|source| ConfigError::Json { file: file.to_owned(), source })
}

/// As [`read_json`], but replaces invalid UTF-8, for callers that do not need the text with it.
pub fn read_json_lossy(file: &Path) -> Result<Map<String, Value>, ConfigError> {
    serde_json::from_str(&String::from_utf8_lossy(&read_bytes(file)?))
        .map_err(|source| ConfigError::Json { file: file.to_owned(), source })
}

fn read_bytes(file: &Path) -> Result<Vec<u8>, ConfigError> {
    let io = |source| ConfigError::Io { file: file.to_owned(), source };
    let num_bytes = fs::metadata(file).map_err(io)?.len();
    if num_bytes > MAX_JSON_BYTES {
        let message = format!("{num_bytes} bytes are more than the {MAX_JSON_BYTES} allowed");
        return Err(io(io::Error::new(io::ErrorKind::FileTooLarge, message)));
    }
    let bytes = fs::read(file).map_err(io)?;
    refuse_pointer(file, &bytes)?;
    Ok(bytes)
}

/// Reads the configuration in `file`. If its name is `config.json`, the files next to it also give
/// the tokens that begin and end a sequence.
pub(super) fn read(file: &Path) -> Result<ModelConfig, ConfigError> {
    let root = read_json(file)?;
    let keys = Keys { file, prefix: "", values: &root };
    let (family, architecture, is_nested) = family(&keys)?;
    let nested = if is_nested { keys.object("text_config")? } else { None };
    let text = match nested {
        Some(values) => Keys { file, prefix: "text_config.", values },
        None => keys,
    };
    refuse_unsupported(&keys, &text, family)?;
    let ends = match file.parent().filter(|_| file.ends_with(CONFIG)) {
        Some(directory) => EndIds::read(directory)?,
        None => EndIds::of_file(file)?,
    };
    let default = &family.defaults;
    let hidden = text.size("hidden_size")?.or(default.hidden);
    let hidden = text.required("hidden_size", hidden)?;
    let num_heads = text.size("num_attention_heads")?.or(default.num_heads);
    let num_heads = text.required("num_attention_heads", num_heads)?;
    let head_dim = head_dim(&text, family, hidden, num_heads)?;
    let num_layers = text.size("num_hidden_layers")?.or(default.num_layers);
    let num_layers = text.required("num_hidden_layers", num_layers)?;
    if num_layers > 1024 {
        return Err(text.wrong("num_hidden_layers", "1 to 1024"));
    }
    let max_positions = text.size("max_position_embeddings")?.unwrap_or(default.max_positions);
    let reader = RopeReader { text: &text, family, head_dim, max_positions };
    let (rope, local_rope) = reader.read()?;
    let intermediate = text.size("intermediate_size")?.or(default.intermediate);
    let vocab = text.size("vocab_size")?.or(default.vocab);
    let scale_of = match family.query_scale {
        QueryScale::HeadDim => head_dim as f64,
        QueryScale::Stated { usual, .. } => text.number("query_pre_attn_scalar")?.unwrap_or(usual),
    };
    let tied = match text.flag("tie_word_embeddings")? {
        Some(tied) => tied,
        None => keys.flag("tie_word_embeddings")?.unwrap_or(default.tied),
    };
    check(
        ModelConfig {
            architecture,
            num_layers,
            hidden,
            intermediate: text.required("intermediate_size", intermediate)?,
            num_heads,
            num_kv_heads: text
                .size("num_key_value_heads")?
                .or(default.num_kv_heads)
                .unwrap_or(num_heads),
            head_dim,
            vocab: text.required("vocab_size", vocab)?,
            max_positions,
            norm_eps: text.number("rms_norm_eps")?.unwrap_or(default.norm_eps),
            attention_scale: scale_of.powf(-0.5),
            score_cap: cap(&text, "attn_logit_softcapping", family.caps.map(|caps| caps.scores))?,
            logit_cap: cap(&text, "final_logit_softcapping", family.caps.map(|caps| caps.logits))?,
            rope,
            local_rope,
            windows: family.windows.read(&text, num_layers)?,
            tied,
            bos: ends.bos,
            eos: ends.eos,
        },
        file,
    )
}

fn head_dim(
    text: &Keys<'_>,
    family: &Family,
    hidden: usize,
    num_heads: usize,
) -> Result<usize, ConfigError> {
    match text.size("head_dim")?.or(family.defaults.head_dim) {
        Some(head_dim) => Ok(head_dim),
        None if num_heads > 0 && hidden.is_multiple_of(num_heads) => Ok(hidden / num_heads),
        None => {
            let wanted = format!("a divisor of the hidden size {hidden}");
            Err(text.wrong("num_attention_heads", wanted))
        }
    }
}

/// Returns the family, the architecture it runs as, and whether the keys are nested in
/// `text_config`.
fn family(keys: &Keys<'_>) -> Result<(&'static Family, Architecture, bool), ConfigError> {
    let listed = keys.list("architectures")?.and_then(|list| list.first());
    let name = match listed {
        Some(name) => name.as_str().ok_or_else(|| keys.wrong("architectures", "names"))?,
        None => keys.required("architectures", keys.text("model_type")?)?,
    };
    let found = Family::of_hub(name);
    let running = found.and_then(|(family, it)| Some((family, family.runs_as?, it.is_nested)));
    running.ok_or_else(|| ConfigError::Architecture {
        file: keys.file.to_owned(),
        found: name.to_owned(),
        supported: Family::classes(true),
    })
}

/// Reads a soft cap; null means none.
fn cap(text: &Keys<'_>, key: &str, usual: Option<f64>) -> Result<Option<f64>, ConfigError> {
    let is_null = text.values.get(key).is_some_and(Value::is_null);
    Ok(text.number(key)?.or(usual.filter(|_| !is_null)))
}

fn refuse_unsupported(
    root: &Keys<'_>,
    text: &Keys<'_>,
    family: &Family,
) -> Result<(), ConfigError> {
    root.refuse("quantization_config", "none (unquantised weights)", |_| false)?;
    if family.caps.is_none() {
        for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
            text.refuse(key, "none (the family has no caps)", |_| false)?;
        }
    }
    text.refuse("mlp_bias", "false", |value| value == false)?;
    if family.qkv_bias == QkvBias::Absent {
        text.refuse("attention_bias", "false", |value| value == false)?;
    }
    text.refuse("use_bidirectional_attention", "false", |value| value == false)?;
    for key in ["num_experts", "num_local_experts"] {
        text.refuse(key, "none (experts are not supported)", |value| value == 0)?;
    }
    let (key, wanted) = family.defaults.activation;
    text.refuse(key, wanted[0], |value| value.as_str().is_some_and(|name| wanted.contains(&name)))
}

/// The ids that begin and end a sequence; `generation_config.json` overrides `config.json`.
#[derive(Debug, Default)]
pub struct EndIds {
    pub bos: Option<TokenId>,
    pub eos: Vec<TokenId>,
}

impl EndIds {
    pub fn read(directory: &Path) -> Result<Self, ConfigError> {
        let mut ends = Self::default();
        for name in ["generation_config.json", CONFIG] {
            let file = &directory.join(name);
            if !file.exists() {
                continue;
            }
            let Self { bos, eos } = Self::of_file(file)?;
            ends.bos = ends.bos.or(bos);
            if ends.eos.is_empty() {
                ends.eos = eos;
            }
        }
        Ok(ends)
    }

    fn of_file(file: &Path) -> Result<Self, ConfigError> {
        let root = read_json(file)?;
        let keys = Keys { file, prefix: "", values: &root };
        let bos = token_ids(&keys, "bos_token_id")?;
        let mut eos = token_ids(&keys, "eos_token_id")?;
        if let (true, Some(values)) = (eos.is_empty(), keys.object("text_config")?) {
            let text = Keys { file, prefix: "text_config.", values };
            eos = token_ids(&text, "eos_token_id")?;
        }
        Ok(Self { bos: bos.first().copied(), eos })
    }
}

/// Reads one id, a list of ids, or none.
fn token_ids(keys: &Keys<'_>, key: &str) -> Result<Vec<TokenId>, ConfigError> {
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| TokenId::try_from(id).ok());
        id.ok_or_else(|| keys.wrong(key, "token ids"))
    };
    match keys.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(id).collect(),
        Some(value) => Ok(vec![id(value)?]),
    }
}
