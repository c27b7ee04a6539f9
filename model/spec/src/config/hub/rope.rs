//! Reads the rotary embeddings of a `config.json`.

use serde_json::Map;

use super::super::{Rope, RopeScaling, keys::Keys, longrope_magnitude};
use crate::{
    error::ConfigError,
    family::{Family, RotaryShare},
};

/// What is needed to read a model's rotary embeddings.
pub(super) struct RopeReader<'a> {
    pub(super) text: &'a Keys<'a>,
    pub(super) family: &'a Family,
    pub(super) head_dim: usize,
    pub(super) max_positions: usize,
}

impl RopeReader<'_> {
    /// Returns the rotary embedding of the layers without a window, and that of the layers with one
    /// if it differs.
    pub(super) fn read(&self) -> Result<(Rope, Option<Rope>), ConfigError> {
        let text = self.text;
        let default_theta = self.family.defaults.theta;
        let local = || self.family.local_theta.map(|theta| local(text, theta)).transpose();
        let Some(values) = text.object("rope_parameters")? else {
            let empty = Map::new();
            let values = text.object("rope_scaling")?.unwrap_or(&empty);
            let rope = self.flat(&nested(text, "rope_scaling.", values), default_theta)?;
            return Ok((rope, local()?));
        };
        let keys = nested(text, "rope_parameters.", values);
        let Some(full) = keys.object("full_attention")? else {
            return Ok((self.flat(&keys, default_theta)?, local()?));
        };
        let full = nested(text, "rope_parameters.full_attention.", full);
        let rope = self.flat(&full, default_theta)?;
        let local = match keys.object("sliding_attention")? {
            Some(values) => {
                let keys = nested(text, "rope_parameters.sliding_attention.", values);
                Some(self.flat(&keys, self.family.local_theta.unwrap_or(default_theta))?)
            }
            None => local()?,
        };
        Ok((rope, local))
    }

    /// Reads one rotary embedding; keys that its object lacks are looked up next to the object.
    fn flat(&self, keys: &Keys<'_>, default_theta: f64) -> Result<Rope, ConfigError> {
        let theta = match keys.number("rope_theta")? {
            Some(theta) => theta,
            None => self.text.number("rope_theta")?.unwrap_or(default_theta),
        };
        let width = self.width(keys)?;
        let (scaling, magnitude) = self.scaling(keys, width)?;
        let width = Some(width).filter(|width| *width != self.head_dim);
        Ok(Rope { theta, scaling, width, magnitude })
    }

    /// Returns how many dimensions of a head are rotated.
    fn width(&self, keys: &Keys<'_>) -> Result<usize, ConfigError> {
        let key = "partial_rotary_factor";
        let keys = if keys.get(key).is_some() { keys } else { self.text };
        if self.family.rotary_share == RotaryShare::Whole {
            keys.refuse(key, "1", |value| value.as_f64() == Some(1.0))?;
            return Ok(self.head_dim);
        }
        let share = keys.number(key)?.unwrap_or(1.0);
        if !(share > 0.0 && share <= 1.0) {
            return Err(keys.wrong(key, "a number above 0, at most 1"));
        }
        let width = self.head_dim as f64 * share;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a size; rounded down as transformers does"
        )]
        let width = width as usize;
        Ok(width)
    }

    /// Returns the scaling of the frequencies, and the factor of cosines and sines.
    fn scaling(
        &self,
        keys: &Keys<'_>,
        width: usize,
    ) -> Result<(RopeScaling, Option<f64>), ConfigError> {
        let (key, kind) = match keys.text("rope_type")? {
            Some(kind) => ("rope_type", kind),
            None => ("type", keys.text("type")?.unwrap_or("default")),
        };
        let number = |key: &str| keys.required(key, keys.number(key)?);
        let scaling = match kind {
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
            // `su` is the original name.
            "longrope" | "su" => return self.longrope(keys, width),
            _ => return Err(keys.wrong(key, "default, linear, llama3 or longrope")),
        };
        Ok((scaling, None))
    }

    /// Returns the divisors for the model's whole context; see [`crate::config`].
    ///
    /// Source: `_compute_longrope_parameters` in transformers' `modeling_rope_utils.py`.
    fn longrope(
        &self,
        keys: &Keys<'_>,
        width: usize,
    ) -> Result<(RopeScaling, Option<f64>), ConfigError> {
        let key = "original_max_position_embeddings";
        // Phi 3 has the key next to the object, and that one counts.
        let (owner, original) = match self.text.size(key)? {
            Some(original) => (self.text, Some(original)),
            None => (keys, keys.size(key)?),
        };
        let original = owner.required(key, original)?;
        if original < 2 {
            return Err(owner.wrong(key, "2 or more"));
        }
        let long = factors(keys, "long_factor", width / 2)?;
        let short = factors(keys, "short_factor", width / 2)?;
        let longer = self.max_positions as f64 / original as f64;
        let longer = keys.number("factor")?.unwrap_or(longer);
        let magnitude = match keys.number("attention_factor")? {
            None => longrope_magnitude(longer, original),
            given => given,
        };
        let chosen = if self.max_positions > original { long } else { short };
        Ok((RopeScaling::Factors(chosen), magnitude))
    }
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
    Ok(Rope::new(theta, RopeScaling::None))
}

/// Reads one divisor per rotated pair.
fn factors(keys: &Keys<'_>, key: &str, num: usize) -> Result<Vec<f32>, ConfigError> {
    let list = keys.required(key, keys.list(key)?)?;
    if list.len() != num {
        let found = list.len();
        return Err(keys.wrong(key, format!("{num} numbers, one per pair, not {found}")));
    }
    let factors = list.iter().map(|value| {
        #[expect(clippy::cast_possible_truncation, reason = "divisors are computed with as f32")]
        let factor = value.as_f64()? as f32;
        Some(factor)
    });
    factors.collect::<Option<_>>().ok_or_else(|| keys.wrong(key, "numbers"))
}
