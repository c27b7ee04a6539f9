//! The rotary embedding of a GGUF file, some of which is stored in tensors.

use super::{
    super::{Rope, RopeScaling, longrope_magnitude},
    Keys,
};
use crate::{
    error::ConfigError,
    family::{Family, RotaryShare},
    gguf::{Gguf, StoredKind},
};

/// Divisors of the frequencies for any context.
const FACTORS: &str = "rope_freqs.weight";
/// Divisors for contexts beyond the original one, and for shorter ones.
const LONG: &str = "rope_factors_long.weight";
const SHORT: &str = "rope_factors_short.weight";

/// Reads the rotary embedding of the layers without a window, or of all layers.
pub(super) fn read(
    gguf: &Gguf,
    keys: &Keys<'_>,
    family: &Family,
    head_dim: usize,
) -> Result<Rope, ConfigError> {
    let width = width(keys, family, head_dim)?;
    let (scaling, magnitude) = scaling(gguf, keys, width)?;
    Ok(Rope {
        theta: keys.number("rope.freq_base")?.unwrap_or(10_000.0),
        scaling,
        width: Some(width).filter(|width| *width != head_dim),
        magnitude,
    })
}

/// Returns how many dimensions of a head are rotated.
fn width(keys: &Keys<'_>, family: &Family, head_dim: usize) -> Result<usize, ConfigError> {
    let key = "rope.dimension_count";
    let width = keys.size(key)?.unwrap_or(head_dim);
    match family.rotary_share {
        RotaryShare::Whole if width != head_dim => {
            Err(keys.wrong(key, format!("the head size {head_dim}")))
        }
        RotaryShare::Stated if width > head_dim => {
            Err(keys.wrong(key, format!("at most the head size {head_dim}")))
        }
        RotaryShare::Whole | RotaryShare::Stated => Ok(width),
    }
}

/// Returns the scaling of the frequencies, and the factor of cosines and sines.
fn scaling(
    gguf: &Gguf,
    keys: &Keys<'_>,
    width: usize,
) -> Result<(RopeScaling, Option<f64>), ConfigError> {
    if let Some(factors) = factors(gguf, FACTORS, width)? {
        return Ok((RopeScaling::Factors(factors), None));
    }
    if gguf.contains(LONG) || gguf.contains(SHORT) {
        return longrope(gguf, keys, width);
    }
    let kind = keys.text("rope.scaling.type")?.unwrap_or("none");
    let scaling = match kind {
        "none" => {
            // The older spelling of linear scaling; a factor of one changes nothing.
            let factor = keys.number("rope.scale_linear")?;
            factor.map_or(RopeScaling::None, |factor| RopeScaling::Linear { factor })
        }
        "linear" => {
            let factor = keys.number("rope.scaling.factor")?;
            RopeScaling::Linear { factor: keys.required("rope.scaling.factor", factor)? }
        }
        _ => {
            let wanted = format!("none, linear, or a tensor `{FACTORS}` or `{LONG}`");
            return Err(keys.wrong("rope.scaling.type", wanted));
        }
    };
    Ok((scaling, None))
}

/// Returns the divisors for the model's whole context; see [`crate::config`].
fn longrope(
    gguf: &Gguf,
    keys: &Keys<'_>,
    width: usize,
) -> Result<(RopeScaling, Option<f64>), ConfigError> {
    let context = keys.required_size("context_length")?;
    let key = "rope.scaling.original_context_length";
    let original = keys.required_size(key)?;
    if original < 2 {
        return Err(keys.wrong(key, "2 or more"));
    }
    let name = if context > original { LONG } else { SHORT };
    let missing = || ConfigError::Missing { file: gguf.path().to_owned(), key: name.to_owned() };
    let factors = factors(gguf, name, width)?.ok_or_else(missing)?;
    let given = keys.number("rope.scaling.attn_factor")?;
    let magnitude =
        given.or_else(|| longrope_magnitude(context as f64 / original as f64, original));
    Ok((RopeScaling::Factors(factors), magnitude))
}

/// Reads a tensor with one number per rotated pair.
fn factors(gguf: &Gguf, name: &str, width: usize) -> Result<Option<Vec<f32>>, ConfigError> {
    let Some(info) = gguf.tensor(name)? else { return Ok(None) };
    if info.kind != StoredKind::F32 || info.shape != [width / 2] {
        return Err(ConfigError::Value {
            file: gguf.path().to_owned(),
            key: name.to_owned(),
            wanted: format!("F32 [{}]", width / 2),
            found: format!("{:?} {:?}", info.kind, info.shape),
        });
    }
    let bytes = gguf.bytes(info);
    let factors = bytes.as_chunks::<4>().0.iter().map(|item| f32::from_le_bytes(*item));
    Ok(Some(factors.collect()))
}
