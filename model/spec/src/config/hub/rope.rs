//! Rotary embeddings of a `config.json`.

use serde_json::Map;

use super::super::{Rope, RopeScaling, keys::Keys};
use crate::{error::ConfigError, family::Family};

/// The rotary embedding of layers without a window, and that of layers with one if it differs.
pub(super) fn read(text: &Keys<'_>, family: &Family) -> Result<(Rope, Option<Rope>), ConfigError> {
    let default_theta = family.defaults.theta;
    let local = || family.local_theta.map(|theta| local(text, theta)).transpose();
    let Some(values) = text.object("rope_parameters")? else {
        let theta = text.number("rope_theta")?.unwrap_or(default_theta);
        let scaling = match text.object("rope_scaling")? {
            Some(values) => scaling(&nested(text, "rope_scaling.", values))?,
            None => RopeScaling::None,
        };
        return Ok((Rope { theta, scaling }, local()?));
    };
    let keys = nested(text, "rope_parameters.", values);
    let Some(full) = keys.object("full_attention")? else {
        let rope = flat(&keys, text, default_theta)?;
        return Ok((rope, local()?));
    };
    let rope = flat(&nested(text, "rope_parameters.full_attention.", full), text, default_theta)?;
    let local = match keys.object("sliding_attention")? {
        Some(values) => {
            let keys = nested(text, "rope_parameters.sliding_attention.", values);
            Some(flat(&keys, text, family.local_theta.unwrap_or(default_theta))?)
        }
        None => local()?,
    };
    Ok((rope, local))
}

fn nested<'a>(
    text: &Keys<'a>,
    prefix: &'a str,
    values: &'a Map<String, serde_json::Value>,
) -> Keys<'a> {
    Keys { file: text.file, prefix, values }
}

fn local(text: &Keys<'_>, usual: f64) -> Result<Rope, ConfigError> {
    let theta = text.number("rope_local_base_freq")?.unwrap_or(usual);
    Ok(Rope { theta, scaling: RopeScaling::None })
}

/// Theta and scaling in one object.
fn flat(keys: &Keys<'_>, text: &Keys<'_>, default_theta: f64) -> Result<Rope, ConfigError> {
    let theta = match keys.number("rope_theta")? {
        Some(theta) => theta,
        None => text.number("rope_theta")?.unwrap_or(default_theta),
    };
    keys.refuse("partial_rotary_factor", "1", |value| value.as_f64() == Some(1.0))?;
    Ok(Rope { theta, scaling: scaling(keys)? })
}

fn scaling(keys: &Keys<'_>) -> Result<RopeScaling, ConfigError> {
    let (key, kind) = match keys.text("rope_type")? {
        Some(kind) => ("rope_type", kind),
        None => ("type", keys.text("type")?.unwrap_or("default")),
    };
    let number = |key: &str| keys.required(key, keys.number(key)?);
    Ok(match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: number("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_positions: keys.required(
                "original_max_position_embeddings",
                keys.size("original_max_position_embeddings")?,
            )?,
        },
        _ => return Err(keys.wrong(key, "default, linear or llama3")),
    })
}
