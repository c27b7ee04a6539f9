//! Reads the configuration from the metadata of a GGUF file.
//!
//! Source: gguf-py/gguf/constants.py and src/llama-model.cpp of llama.cpp, for keys and defaults.

mod rope;

use super::{ModelConfig, Rope, RopeScaling, check::check};
use crate::{
    error::ConfigError,
    family::{Family, QueryScale, WindowRule},
    gguf::{Gguf, GgufHeader, Value},
    units::TokenId,
};

pub(super) fn read(gguf: &Gguf) -> Result<ModelConfig, ConfigError> {
    let whole = Keys { gguf, prefix: "" };
    let name = whole.required("general.architecture", whole.text("general.architecture")?)?;
    let found = Family::of_gguf(name);
    let running = found.and_then(|family| Some((family, family.runs_as?)));
    let (family, architecture) = running.ok_or_else(|| ConfigError::Architecture {
        file: gguf.path().to_owned(),
        found: name.to_owned(),
        supported: Family::gguf_names(true),
    })?;
    let keys = Keys { gguf, prefix: name };
    let num_layers = keys.required_size("block_count")?;
    let hidden = keys.required_size("embedding_length")?;
    let num_heads = keys.required_size("attention.head_count")?;
    if !(1..=1024).contains(&num_layers) {
        return Err(keys.wrong("block_count", "1 to 1024"));
    }
    let head_dim = head_dim(&keys, hidden, num_heads)?;
    refuse_unsupported(&keys, family)?;
    let windows = windows(&keys, family, num_layers)?;
    let scale_of = match family.query_scale {
        QueryScale::Stated { layers_of_largest, .. } if num_layers == layers_of_largest => {
            hidden as f64 / num_heads as f64
        }
        QueryScale::Stated { .. } | QueryScale::HeadDim => head_dim as f64,
    };
    let local_theta = match family.local_theta {
        Some(usual) => Some(keys.number("rope.freq_base_swa")?.unwrap_or(usual)),
        None => None,
    };
    let local_rope = local_theta.map(|theta| Rope::new(theta, RopeScaling::None));
    let cap = |key: &str, usual: Option<f64>| -> Result<Option<f64>, ConfigError> {
        // Zero means none.
        Ok(keys.number(key)?.or(usual).filter(|cap| *cap != 0.0 && family.caps.is_some()))
    };
    let ends = end_ids(&whole)?;
    check(
        ModelConfig {
            architecture,
            num_layers,
            hidden,
            intermediate: keys.required_size("feed_forward_length")?,
            num_heads,
            num_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(num_heads),
            head_dim,
            vocab: vocab(gguf, hidden)?,
            max_positions: keys.required_size("context_length")?,
            norm_eps: keys.required(
                "attention.layer_norm_rms_epsilon",
                keys.number("attention.layer_norm_rms_epsilon")?,
            )?,
            attention_scale: keys.number("attention.scale")?.unwrap_or(scale_of.powf(-0.5)),
            score_cap: cap("attn_logit_softcapping", family.caps.map(|caps| caps.scores))?,
            logit_cap: cap("final_logit_softcapping", family.caps.map(|caps| caps.logits))?,
            rope: rope::read(gguf, &keys, family, head_dim)?,
            local_rope,
            windows,
            tied: !gguf.contains("output.weight"),
            bos: ends.0,
            eos: ends.1,
        },
        gguf.path(),
    )
}

fn head_dim(keys: &Keys<'_>, hidden: usize, num_heads: usize) -> Result<usize, ConfigError> {
    let head_dim = match keys.size("attention.key_length")? {
        Some(head_dim) => head_dim,
        None if num_heads > 0 && hidden.is_multiple_of(num_heads) => hidden / num_heads,
        None => {
            let wanted = format!("a divisor of the embedding length {hidden}");
            return Err(keys.wrong("attention.head_count", wanted));
        }
    };
    let key = "attention.value_length";
    if keys.size(key)?.is_some_and(|size| size != head_dim) {
        return Err(keys.wrong(key, format!("the head size {head_dim}")));
    }
    Ok(head_dim)
}

fn refuse_unsupported(keys: &Keys<'_>, family: &Family) -> Result<(), ConfigError> {
    let caps = ["final_logit_softcapping", "attn_logit_softcapping"];
    let caps = caps.into_iter().filter(|_| family.caps.is_none());
    for key in caps.chain(["expert_count"]) {
        if keys.number(key)?.is_some_and(|number| number != 0.0) {
            return Err(keys.wrong(key, "none (not supported)"));
        }
    }
    Ok(())
}

/// Returns the rows of the embedding. The vocabulary key and the token list may be shorter.
pub(crate) fn vocab(gguf: &GgufHeader, hidden: usize) -> Result<usize, ConfigError> {
    let name = "token_embd.weight";
    let missing = || ConfigError::Missing { file: gguf.path().to_owned(), key: name.to_owned() };
    match gguf.tensor(name)?.ok_or_else(missing)?.shape[..] {
        [rows, width] if width == hidden => Ok(rows),
        ref shape => Err(ConfigError::Value {
            file: gguf.path().to_owned(),
            key: name.to_owned(),
            wanted: format!("a matrix of width {hidden}"),
            found: format!("{shape:?}"),
        }),
    }
}

/// Returns per layer how many positions a token attends to.
pub(crate) fn windows(
    keys: &Keys<'_>,
    family: &Family,
    num_layers: usize,
) -> Result<Vec<Option<usize>>, ConfigError> {
    let window = keys.size("attention.sliding_window")?.or(family.gguf_window);
    let window = window.filter(|window| *window > 0);
    let Some(window) = window else { return Ok(vec![None; num_layers]) };
    let pattern_key = "attention.sliding_window_pattern";
    let pattern = match keys.value(pattern_key) {
        Some(Value::Array(array)) => {
            let flags = keys.gguf.numbers(array).filter(|flags| flags.len() == num_layers);
            let flags = flags.ok_or_else(|| {
                keys.wrong(pattern_key, format!("a number or {num_layers} flags"))
            })?;
            return Ok(flags.iter().map(|flag| (*flag != 0.0).then_some(window)).collect());
        }
        Some(_) => keys.size(pattern_key)?,
        None => match family.windows {
            WindowRule::AllButEvery { pattern, .. } => Some(pattern),
            WindowRule::Never | WindowRule::All { .. } | WindowRule::Switched { .. } => None,
        },
    };
    let is_full = |layer_idx: usize| match pattern {
        // Every n-th layer attends to all positions.
        Some(pattern @ 1..) => (layer_idx + 1).is_multiple_of(pattern),
        _ => false,
    };
    Ok((0..num_layers).map(|layer_idx| (!is_full(layer_idx)).then_some(window)).collect())
}

fn end_ids(whole: &Keys<'_>) -> Result<(Option<TokenId>, Vec<TokenId>), ConfigError> {
    let id = |key: &str| -> Result<Option<TokenId>, ConfigError> {
        let Some(id) = whole.size(key)? else { return Ok(None) };
        TokenId::try_from(id).map(Some).map_err(|_| whole.wrong(key, "a token id"))
    };
    let mut eos = Vec::new();
    for key in ["eos_token_id", "eot_token_id", "eom_token_id"] {
        if let Some(token) = id(&format!("tokenizer.ggml.{key}"))?
            && !eos.contains(&token)
        {
            eos.push(token);
        }
    }
    Ok((id("tokenizer.ggml.bos_token_id")?, eos))
}

/// The keys of one architecture (`llama.block_count`), or all keys if the prefix is empty.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) gguf: &'a GgufHeader,
    pub(crate) prefix: &'a str,
}

impl<'a> Keys<'a> {
    fn name(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.gguf.value(&self.name(key))
    }

    pub(crate) fn wrong(&self, key: &str, wanted: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            file: self.gguf.path().to_owned(),
            key: self.name(key),
            wanted: wanted.into(),
            found: self.value(key).map_or_else(|| "nothing".to_owned(), Value::describe),
        }
    }

    pub(crate) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing {
            file: self.gguf.path().to_owned(),
            key: self.name(key),
        })
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        let size = match self.value(key) {
            None => return Ok(None),
            Some(Value::Unsigned(number)) => usize::try_from(*number).ok(),
            Some(Value::Signed(number)) => usize::try_from(*number).ok(),
            Some(_) => None,
        };
        size.map(Some).ok_or_else(|| self.wrong(key, "a non-negative whole number"))
    }

    pub(crate) fn required_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.required(key, self.size(key)?)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(number)) => Ok(Some(*number)),
            Some(Value::Unsigned(number)) => Ok(Some(*number as f64)),
            Some(Value::Signed(number)) => Ok(Some(*number as f64)),
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }
}
