//! Reads `config.json` and `generation_config.json` in the Hugging Face layout.
//!
//! Both the older spelling (`rope_theta` and `rope_scaling`) and the newer (`rope_parameters`) are
//! understood. Defaults are those of the transformers configuration classes.

mod rope;
mod windows;

use std::{fs, io, path::Path};

use serde_json::{Map, Value};

use super::{Architecture, ModelConfig, check::check, keys::Keys};
use crate::{error::ConfigError, lfs::refuse_pointer, units::TokenId};

pub(crate) use windows::WindowRule;

pub(super) const CONFIG: &str = "config.json";

const SUPPORTED: &str = "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, \
     Qwen3ForCausalLM, Gemma3ForCausalLM or Gemma3ForConditionalGeneration";
/// Configuration files are a few kilobytes; tokenizer configurations reach a megabyte.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// What a family's configuration class assumes where the file is silent.
pub(crate) struct Defaults {
    pub(crate) hidden: Option<usize>,
    pub(crate) intermediate: Option<usize>,
    pub(crate) num_layers: Option<usize>,
    pub(crate) num_heads: Option<usize>,
    /// `None` means one per attention head.
    pub(crate) num_kv_heads: Option<usize>,
    /// `None` means hidden size over heads.
    pub(crate) head_dim: Option<usize>,
    pub(crate) vocab: Option<usize>,
    pub(crate) max_positions: usize,
    pub(crate) theta: f64,
    pub(crate) tied: bool,
    pub(crate) activation: (&'static str, &'static [&'static str]),
}

const SILU: (&str, &[&str]) = ("hidden_act", &["silu", "swish"]);
const NOTHING: Defaults = Defaults {
    hidden: None,
    intermediate: None,
    num_layers: None,
    num_heads: None,
    num_kv_heads: None,
    head_dim: None,
    vocab: None,
    max_positions: 2048,
    theta: 10_000.0,
    tied: false,
    activation: SILU,
};

pub(crate) const fn defaults(architecture: Architecture) -> Defaults {
    match architecture {
        Architecture::Llama => NOTHING,
        Architecture::Mistral => {
            Defaults { num_kv_heads: Some(8), max_positions: 131_072, ..NOTHING }
        }
        Architecture::Qwen2 => {
            Defaults { num_kv_heads: Some(32), max_positions: 32_768, ..NOTHING }
        }
        Architecture::Qwen3 => Defaults {
            num_kv_heads: Some(32),
            head_dim: Some(128),
            max_positions: 32_768,
            ..NOTHING
        },
        Architecture::Gemma3 => Defaults {
            hidden: Some(2304),
            intermediate: Some(9216),
            num_layers: Some(26),
            num_heads: Some(8),
            num_kv_heads: Some(4),
            head_dim: Some(256),
            vocab: Some(262_208),
            max_positions: 131_072,
            theta: 1_000_000.0,
            tied: true,
            activation: ("hidden_activation", &["gelu_pytorch_tanh"]),
        },
    }
}

/// Reads a JSON object from a file of a directory.
pub fn read_json(file: &Path) -> Result<Map<String, Value>, ConfigError> {
    serde_json::from_slice(&read_bytes(file)?)
        .map_err(|source| ConfigError::Json { file: file.to_owned(), source })
}

/// As [`read_json`], with a mark in place of what is not UTF-8: for whoever does not want the text
/// that it is in.
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

/// Reads the configuration in `file`, and what the files beside one that is called `config.json` say
/// of tokens that begin and end a sequence.
pub(super) fn read(file: &Path) -> Result<ModelConfig, ConfigError> {
    let root = read_json(file)?;
    let keys = Keys { file, prefix: "", values: &root };
    let (architecture, is_nested) = architecture(&keys)?;
    let nested = if is_nested { keys.object("text_config")? } else { None };
    let text = match nested {
        Some(values) => Keys { file, prefix: "text_config.", values },
        None => keys,
    };
    refuse_unsupported(&keys, &text, architecture)?;
    let ends = match file.parent().filter(|_| file.ends_with(CONFIG)) {
        Some(directory) => EndIds::read(directory)?,
        None => EndIds::of_file(file)?,
    };
    let default = defaults(architecture);
    let hidden = text.size("hidden_size")?.or(default.hidden);
    let hidden = text.required("hidden_size", hidden)?;
    let num_heads = text.size("num_attention_heads")?.or(default.num_heads);
    let num_heads = text.required("num_attention_heads", num_heads)?;
    let head_dim = match text.size("head_dim")?.or(default.head_dim) {
        Some(head_dim) => head_dim,
        None if num_heads > 0 && hidden.is_multiple_of(num_heads) => hidden / num_heads,
        None => {
            let wanted = format!("a divisor of the hidden size {hidden}");
            return Err(text.wrong("num_attention_heads", wanted));
        }
    };
    let num_layers = text.size("num_hidden_layers")?.or(default.num_layers);
    let num_layers = text.required("num_hidden_layers", num_layers)?;
    if num_layers > 1024 {
        return Err(text.wrong("num_hidden_layers", "1 to 1024"));
    }
    let (rope, local_rope) = rope::read(&text, architecture, default.theta)?;
    let intermediate = text.size("intermediate_size")?.or(default.intermediate);
    let vocab = text.size("vocab_size")?.or(default.vocab);
    let scale_of = match architecture {
        Architecture::Gemma3 => text.number("query_pre_attn_scalar")?.unwrap_or(256.0),
        _ => head_dim as f64,
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
            max_positions: text.size("max_position_embeddings")?.unwrap_or(default.max_positions),
            norm_eps: text.number("rms_norm_eps")?.unwrap_or(1e-6),
            attention_scale: scale_of.powf(-0.5),
            rope,
            local_rope,
            windows: WindowRule::of(architecture).read(&text, num_layers)?,
            tied,
            bos: ends.bos,
            eos: ends.eos,
        },
        file,
    )
}

/// The architecture, and whether its numbers lie in `text_config`.
fn architecture(keys: &Keys<'_>) -> Result<(Architecture, bool), ConfigError> {
    let listed = keys.list("architectures")?.and_then(|list| list.first());
    let name = match listed {
        Some(name) => name.as_str().ok_or_else(|| keys.wrong("architectures", "names"))?,
        None => keys.required("architectures", keys.text("model_type")?)?,
    };
    Ok(match name {
        "LlamaForCausalLM" | "llama" => (Architecture::Llama, false),
        "MistralForCausalLM" | "mistral" => (Architecture::Mistral, false),
        "Qwen2ForCausalLM" | "qwen2" => (Architecture::Qwen2, false),
        "Qwen3ForCausalLM" | "qwen3" => (Architecture::Qwen3, false),
        "Gemma3ForCausalLM" | "gemma3_text" => (Architecture::Gemma3, false),
        "Gemma3ForConditionalGeneration" | "gemma3" => (Architecture::Gemma3, true),
        _ => {
            return Err(ConfigError::Architecture {
                file: keys.file.to_owned(),
                found: name.to_owned(),
                supported: SUPPORTED.to_owned(),
            });
        }
    })
}

fn refuse_unsupported(
    root: &Keys<'_>,
    text: &Keys<'_>,
    architecture: Architecture,
) -> Result<(), ConfigError> {
    root.refuse("quantization_config", "none (unquantised weights)", |_| false)?;
    for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
        text.refuse(key, "none (softcapping is not supported)", |_| false)?;
    }
    text.refuse("partial_rotary_factor", "1", |value| value.as_f64() == Some(1.0))?;
    text.refuse("mlp_bias", "false", |value| value == false)?;
    if architecture != Architecture::Qwen2 {
        text.refuse("attention_bias", "false", |value| value == false)?;
    }
    text.refuse("use_bidirectional_attention", "false", |value| value == false)?;
    for key in ["num_experts", "num_local_experts"] {
        text.refuse(key, "none (experts are not supported)", |value| value == 0)?;
    }
    let (key, wanted) = defaults(architecture).activation;
    text.refuse(key, wanted[0], |value| value.as_str().is_some_and(|name| wanted.contains(&name)))
}

/// The ids that begin and end a sequence: `generation_config.json` before `config.json`.
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

/// One id, a list of ids, or none.
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
