//! The outline of a model from the header of its GGUF file.

use std::ops::RangeInclusive;

use super::{
    ComputeType,
    headers::UnitSizes,
    outline::{FeedForward, LayerOutline, Mixture, Outline, Vectors},
};
use crate::{
    config::gguf::{Keys, vocab, windows},
    error::{ConfigError, HeaderError},
    family::Family,
    gguf::{GgufHeader, StoredKind},
    units::Unit,
};

/// The cost-relevant contents of a GGUF header.
pub(super) struct GgufModel {
    pub(super) outline: Outline,
    pub(super) sizes: UnitSizes,
    /// The type of its weights if unquantised, else f16.
    pub(super) stored: ComputeType,
}

pub(super) fn read(header: &GgufHeader) -> Result<GgufModel, ConfigError> {
    let whole = Keys { gguf: header, prefix: "" };
    let name = whole.required("general.architecture", whole.text("general.architecture")?)?;
    let wrong = || whole.wrong("general.architecture", Family::gguf_names(false));
    let family = Family::of_gguf(name).ok_or_else(wrong)?;
    let outline = outline(&Keys { gguf: header, prefix: name }, family)?;
    let sizes = UnitSizes::of_gguf(header)?;
    let units = (0..outline.layers.len()).map(Unit::Layer).chain([Unit::Embed, Unit::Head]);
    if let Some(unit) = units.into_iter().find(|unit| sizes.get(*unit).is_none()) {
        let key = format!("tensors of {unit}");
        return Err(ConfigError::Missing { file: header.path().to_owned(), key });
    }
    Ok(GgufModel { stored: stored_type(header)?, outline, sizes })
}

fn outline(keys: &Keys<'_>, family: &Family) -> Result<Outline, ConfigError> {
    let num_layers = wanted(keys, "block_count", None, 1..=1024)?;
    let hidden = wanted(keys, "embedding_length", None, 1..=1 << 17)?;
    let num_heads = wanted(keys, "attention.head_count", None, 1..=4096)?;
    let num_kv_heads = wanted(keys, "attention.head_count_kv", Some(num_heads), 1..=num_heads)?;
    if !num_heads.is_multiple_of(num_kv_heads) {
        let wanted = format!("a multiple of the {num_kv_heads} key-value heads");
        return Err(keys.wrong("attention.head_count", wanted));
    }
    let head_dim = wanted(keys, "attention.key_length", Some(hidden / num_heads), 1..=4096)?;
    if keys.size("attention.value_length")?.is_some_and(|size| size != head_dim) {
        return Err(keys.wrong("attention.value_length", format!("the key length {head_dim}")));
    }
    let windows = windows(keys, family, num_layers)?;
    if windows.iter().flatten().any(|window| *window > 1 << 30) {
        return Err(keys.wrong("attention.sliding_window", "at most 1073741824"));
    }
    Ok(Outline {
        hidden: hidden as u64,
        num_heads: num_heads as u64,
        num_kv_heads: num_kv_heads as u64,
        head_dim: head_dim as u64,
        vocab: vocab(keys.gguf, hidden)? as u64,
        max_positions: wanted(keys, "context_length", None, 1..=1 << 30)?,
        tied: !keys.gguf.contains("output.weight"),
        vectors: Vectors::of(family, false),
        layers: layers(keys, &windows)?,
    })
}

const WIDTHS: RangeInclusive<usize> = 1..=1 << 20;

fn layers(keys: &Keys<'_>, windows: &[Option<usize>]) -> Result<Vec<LayerOutline>, ConfigError> {
    let num_experts = wanted(keys, "expert_count", Some(0), 0..=1 << 16)?;
    let dense = keys.size("feed_forward_length")?;
    let mixture = if num_experts == 0 { None } else { Some(mixture(keys, num_experts, dense)?) };
    let layer = |(layer_idx, window): (usize, &Option<usize>)| {
        let router = format!("blk.{layer_idx}.ffn_gate_inp.weight");
        let feed_forward = match mixture {
            Some(mixture) if keys.gguf.contains(&router) => FeedForward::Mixture(mixture),
            _ => FeedForward::Dense {
                intermediate: wanted(keys, "feed_forward_length", None, WIDTHS)? as u64,
            },
        };
        Ok(LayerOutline { window: *window, feed_forward })
    };
    windows.iter().enumerate().map(layer).collect()
}

fn mixture(
    keys: &Keys<'_>,
    num_experts: usize,
    dense: Option<usize>,
) -> Result<Mixture, ConfigError> {
    let shared = match keys.size("expert_shared_feed_forward_length")? {
        Some(0) | None => None,
        Some(_) => Some(wanted(keys, "expert_shared_feed_forward_length", None, WIDTHS)? as u64),
    };
    Ok(Mixture {
        num_experts: num_experts as u64,
        num_active: wanted(keys, "expert_used_count", None, 1..=num_experts)? as u64,
        intermediate: wanted(keys, "expert_feed_forward_length", dense, WIDTHS)? as u64,
        shared,
    })
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

/// Determined from a matrix that every layer of every model has.
fn stored_type(header: &GgufHeader) -> Result<ComputeType, HeaderError> {
    Ok(match header.tensor("blk.0.attn_output.weight")?.map(|info| info.kind) {
        Some(StoredKind::F32) => ComputeType::F32,
        Some(StoredKind::BF16) => ComputeType::Bf16,
        Some(StoredKind::F16 | StoredKind::Quantized(_)) | None => ComputeType::F16,
    })
}
