//! Checks the bounds of every configuration, whatever its file format.
//!
//! Runs before anything is allocated, so that later code can multiply sizes without overflow.

use std::{ops::RangeInclusive, path::Path};

use super::{ModelConfig, Rope, RopeScaling};
use crate::{error::ConfigError, units::TokenId};

/// Checks every number of a configuration.
pub(super) fn check(mut config: ModelConfig, file: &Path) -> Result<ModelConfig, ConfigError> {
    let bounds = Bounds { file };
    bounds.size("layers", config.num_layers, 1..=1024)?;
    bounds.size("hidden size", config.hidden, 1..=1 << 17)?;
    bounds.size("feed-forward size", config.intermediate, 1..=1 << 20)?;
    bounds.size("attention heads", config.num_heads, 1..=4096)?;
    bounds.size("key-value heads", config.num_kv_heads, 1..=config.num_heads)?;
    bounds.size("head size", config.head_dim, 2..=4096)?;
    bounds.size("vocabulary", config.vocab, 1..=4 << 20)?;
    bounds.size("positions", config.max_positions, 1..=1 << 30)?;
    bounds.that(
        config.num_heads.is_multiple_of(config.num_kv_heads),
        "attention heads",
        &format!("a multiple of the {} key-value heads", config.num_kv_heads),
        &config.num_heads.to_string(),
    )?;
    let head_dim = config.head_dim.to_string();
    bounds.that(config.head_dim.is_multiple_of(2), "head size", "an even number", &head_dim)?;
    bounds.number("norm epsilon", config.norm_eps, 0.0, 1.0)?;
    bounds.number("attention scale", config.attention_scale, 0.0, 1e6)?;
    bounds.size("heads * head size", config.num_heads * config.head_dim, 1..=1 << 20)?;
    for (key, cap) in [("cap of scores", config.score_cap), ("cap of logits", config.logit_cap)] {
        if let Some(cap) = cap {
            bounds.number(key, cap, 1e-3, 1e6)?;
        }
    }
    bounds.rope("rope", &config.rope, config.head_dim)?;
    if let Some(rope) = &config.local_rope {
        bounds.rope("rope of windowed layers", rope, config.head_dim)?;
    }
    bounds.size("windows", config.windows.len(), config.num_layers..=config.num_layers)?;
    for window in config.windows.iter().flatten() {
        bounds.size("sliding window", *window, 1..=1 << 30)?;
    }
    // Ids without an embedding row are never sampled, and prompts with them are refused when
    // encoded.
    let has_row = |token: &TokenId| (*token as usize) < config.vocab;
    config.eos.retain(has_row);
    config.bos = config.bos.filter(has_row);
    Ok(config)
}

struct Bounds<'a> {
    file: &'a Path,
}

impl Bounds<'_> {
    fn that(&self, holds: bool, key: &str, wanted: &str, found: &str) -> Result<(), ConfigError> {
        if holds {
            return Ok(());
        }
        Err(ConfigError::Value {
            file: self.file.to_owned(),
            key: key.to_owned(),
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        })
    }

    fn size(
        &self,
        key: &str,
        found: usize,
        wanted: RangeInclusive<usize>,
    ) -> Result<(), ConfigError> {
        let text = format!("{} to {}", wanted.start(), wanted.end());
        self.that(wanted.contains(&found), key, &text, &found.to_string())
    }

    /// Checks for a finite number above `above` and not above `most`.
    fn number(&self, key: &str, found: f64, above: f64, most: f64) -> Result<(), ConfigError> {
        let text = format!("a number above {above}, at most {most}");
        self.that(found > above && found <= most, key, &text, &found.to_string())
    }

    fn rope(&self, key: &str, rope: &Rope, head_dim: usize) -> Result<(), ConfigError> {
        self.number(&format!("{key} theta"), rope.theta, 0.0, 1e12)?;
        if let Some(magnitude) = rope.magnitude {
            self.number(&format!("{key} magnitude"), magnitude, 0.0, 1e6)?;
        }
        let width = rope.width.unwrap_or(head_dim);
        self.size(&format!("{key} width"), width, 2..=head_dim)?;
        let found = width.to_string();
        self.that(width.is_multiple_of(2), &format!("{key} width"), "an even number", &found)?;
        match &rope.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => {
                self.number(&format!("{key} factor"), *factor, 0.0, 1e6)
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_positions,
            } => {
                self.number(&format!("{key} factor"), *factor, 0.0, 1e6)?;
                self.number(&format!("{key} low_freq_factor"), *low_freq_factor, 0.0, 1e6)?;
                // The smoothing divides by the difference.
                let least = *low_freq_factor;
                self.number(&format!("{key} high_freq_factor"), *high_freq_factor, least, 1e6)?;
                let positions = format!("{key} original positions");
                self.size(&positions, *original_max_positions, 1..=1 << 30)
            }
            RopeScaling::Factors(factors) => {
                let wanted = width / 2;
                self.size(&format!("{key} factors"), factors.len(), wanted..=wanted)?;
                factors.iter().try_for_each(|factor| {
                    self.number(&format!("{key} factors"), f64::from(*factor), 0.0, 1e6)
                })
            }
        }
    }
}
