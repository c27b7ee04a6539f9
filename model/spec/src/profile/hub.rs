//! The outline of a model from its `config.json`.

use std::{ops::RangeInclusive, path::Path};

use serde_json::Value;

use super::{
    ComputeType,
    outline::{FeedForward, LayerOutline, Mixture, Outline, Vectors},
    packing::WeightFormat,
};
use crate::{
    config::{keys::Keys, read_json},
    error::ConfigError,
    family::{Family, FeedForwardKeys, MixtureKeys, MixtureLayers},
};

/// The cost-relevant contents of a `config.json`.
pub(super) struct HubModel {
    pub(super) outline: Outline,
    /// The type of its weights.
    pub(super) stored: ComputeType,
    pub(super) weights: WeightFormat,
}

/// Reads and checks a `config.json`.
pub(super) fn read(file: &Path) -> Result<HubModel, ConfigError> {
    let root = read_json(file)?;
    let keys = Keys { file, prefix: "", values: &root };
    let (family, is_nested) = family(&keys)?;
    let nested = if is_nested { keys.object("text_config")? } else { None };
    let text = match nested {
        Some(values) => Keys { file, prefix: "text_config.", values },
        None => keys,
    };
    let outline = outline(&keys, &text, family)?;
    let stored = stored_type_of(&keys, &text)?;
    let weights = WeightFormat::read(&keys, stored.num_bytes())?;
    Ok(HubModel { outline, stored, weights })
}

/// Returns the type of the weights that a `config.json` describes; f32 if it names none, as in
/// transformers.
pub fn stored_type(file: &Path) -> Result<ComputeType, ConfigError> {
    let root = read_json(file)?;
    let keys = Keys { file, prefix: "", values: &root };
    match keys.object("text_config")? {
        Some(values) => stored_type_of(&keys, &Keys { file, prefix: "text_config.", values }),
        None => stored_type_of(&keys, &keys),
    }
}

fn stored_type_of(root: &Keys<'_>, text: &Keys<'_>) -> Result<ComputeType, ConfigError> {
    Ok(match named_type(text)? {
        Some(stored) => stored,
        None => named_type(root)?.unwrap_or_default(),
    })
}

fn family(keys: &Keys<'_>) -> Result<(&'static Family, bool), ConfigError> {
    let listed = keys.list("architectures")?.and_then(|list| list.first());
    let (key, name) = match listed {
        Some(name) => {
            let name = name.as_str().ok_or_else(|| keys.wrong("architectures", "names"))?;
            ("architectures", name)
        }
        None => ("model_type", keys.required("architectures", keys.text("model_type")?)?),
    };
    let found = Family::of_hub(name).ok_or_else(|| keys.wrong(key, Family::classes(false)));
    found.map(|(family, name)| (family, name.is_nested))
}

fn outline(root: &Keys<'_>, text: &Keys<'_>, family: &Family) -> Result<Outline, ConfigError> {
    let default = &family.defaults;
    text.refuse("mlp_bias", "false", |value| value == false)?;
    text.refuse("use_qk_norm", "false", |value| value == false)?;
    let num_layers = wanted(text, "num_hidden_layers", default.num_layers, 1..=1024)?;
    let hidden = wanted(text, "hidden_size", default.hidden, 1..=1 << 17)?;
    let num_heads = wanted(text, "num_attention_heads", default.num_heads, 1..=4096)?;
    let kv_heads = default.num_kv_heads.unwrap_or(num_heads);
    let num_kv_heads = wanted(text, "num_key_value_heads", Some(kv_heads), 1..=num_heads)?;
    if !num_heads.is_multiple_of(num_kv_heads) {
        let wanted = format!("a multiple of the {num_kv_heads} key-value heads");
        return Err(text.wrong("num_attention_heads", wanted));
    }
    let head_dim = match default.head_dim {
        None if text.get("head_dim").is_none() && !hidden.is_multiple_of(num_heads) => {
            let wanted = format!("a divisor of the hidden size {hidden}");
            return Err(text.wrong("num_attention_heads", wanted));
        }
        default => wanted(text, "head_dim", Some(default.unwrap_or(hidden / num_heads)), 1..=4096)?,
    };
    let tied = match text.flag("tie_word_embeddings")? {
        Some(tied) => tied,
        None => root.flag("tie_word_embeddings")?.unwrap_or(default.tied),
    };
    let windows = family.windows.read(text, num_layers)?;
    let positions = Some(default.max_positions);
    Ok(Outline {
        hidden: hidden as u64,
        num_heads: num_heads as u64,
        num_kv_heads: num_kv_heads as u64,
        head_dim: head_dim as u64,
        vocab: wanted(text, "vocab_size", default.vocab, 1..=4 << 20)? as u64,
        max_positions: wanted(text, "max_position_embeddings", positions, 1..=1 << 30)?,
        tied,
        vectors: Vectors::of(family, text.flag("attention_bias")?.unwrap_or(false)),
        layers: layers(text, family, windows)?,
    })
}

fn layers(
    text: &Keys<'_>,
    family: &Family,
    windows: Vec<Option<usize>>,
) -> Result<Vec<LayerOutline>, ConfigError> {
    if windows.iter().flatten().any(|window| !(1..=1 << 30).contains(window)) {
        return Err(text.wrong("sliding_window", "1 to 1073741824"));
    }
    let dense = || -> Result<FeedForward, ConfigError> {
        let width = wanted(text, "intermediate_size", family.defaults.intermediate, WIDTHS)?;
        Ok(FeedForward::Dense { intermediate: width as u64 })
    };
    let feed_forwards = match family.feed_forward {
        FeedForwardKeys::Dense => vec![dense()?; windows.len()],
        FeedForwardKeys::Mixture(keys) => {
            let mixture = FeedForward::Mixture(mixture(text, &keys)?);
            let has_experts = mixture_layers(text, keys.layers, windows.len())?;
            let dense = if has_experts.contains(&false) { dense()? } else { mixture };
            let choose = |has_experts: bool| if has_experts { mixture } else { dense };
            has_experts.into_iter().map(choose).collect()
        }
    };
    let layers = windows.into_iter().zip(feed_forwards);
    Ok(layers.map(|(window, feed_forward)| LayerOutline { window, feed_forward }).collect())
}

const WIDTHS: RangeInclusive<usize> = 1..=1 << 20;
const NUM_EXPERTS: RangeInclusive<usize> = 1..=1 << 16;

fn mixture(text: &Keys<'_>, keys: &MixtureKeys) -> Result<Mixture, ConfigError> {
    let spelling = keys.num_experts.iter().find(|key| text.get(key).is_some());
    let key = spelling.unwrap_or(&keys.num_experts[0]);
    let num_experts = wanted(text, key, None, NUM_EXPERTS)?;
    let num_active = wanted(text, "num_experts_per_tok", None, 1..=num_experts)?;
    let shared = match keys.shared {
        Some(key) => Some(wanted(text, key, None, WIDTHS)? as u64),
        None => None,
    };
    Ok(Mixture {
        num_experts: num_experts as u64,
        num_active: num_active as u64,
        intermediate: wanted(text, keys.intermediate, None, WIDTHS)? as u64,
        shared,
    })
}

/// Returns which layers have experts.
fn mixture_layers(
    text: &Keys<'_>,
    rule: MixtureLayers,
    num_layers: usize,
) -> Result<Vec<bool>, ConfigError> {
    if rule == MixtureLayers::All {
        return Ok(vec![true; num_layers]);
    }
    let step = wanted(text, "decoder_sparse_step", Some(1), 1..=num_layers)?;
    let dense = text.list("mlp_only_layers")?.unwrap_or_default();
    let dense: Option<Vec<u64>> = dense.iter().map(Value::as_u64).collect();
    let dense = dense.ok_or_else(|| text.wrong("mlp_only_layers", "layers' numbers"))?;
    let has_experts = |layer_idx: usize| {
        (layer_idx + 1).is_multiple_of(step) && !dense.contains(&(layer_idx as u64))
    };
    Ok((0..num_layers).map(has_experts).collect())
}

/// Reads a size, or its default, and checks its bounds.
fn wanted(
    keys: &Keys<'_>,
    key: &str,
    default: Option<usize>,
    bounds: RangeInclusive<usize>,
) -> Result<usize, ConfigError> {
    let size = keys.required(key, keys.size(key)?.or(default))?;
    if bounds.contains(&size) {
        return Ok(size);
    }
    Err(keys.wrong(key, format!("{} to {}", bounds.start(), bounds.end())))
}

/// Reads the type of the weights, under its older or newer key.
fn named_type(keys: &Keys<'_>) -> Result<Option<ComputeType>, ConfigError> {
    let key = if keys.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    let Some(name) = keys.text(key)? else { return Ok(None) };
    match name.strip_prefix("torch.").unwrap_or(name) {
        "float32" | "float" => Ok(Some(ComputeType::F32)),
        "float16" | "half" => Ok(Some(ComputeType::F16)),
        "bfloat16" => Ok(Some(ComputeType::Bf16)),
        _ => Err(keys.wrong(key, "float32, float16 or bfloat16")),
    }
}
