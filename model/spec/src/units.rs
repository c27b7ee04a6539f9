//! The parts of a model for placement: units in order, ranges of them, and sizes.
//!
//! Owns the terms that planner, loader and stages share. Knows no device and no tensor.

use std::{fmt, ops::Range, str::FromStr};

use serde::{Deserialize, Serialize};

/// The id of a token in the model's vocabulary.
///
/// An alias, not a newtype, because tokenizers and kernels take slices of it.
pub type TokenId = u32;

/// An indivisible part of a model. Units are in the order in which a token passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The token embedding.
    Embed,
    /// Decoder layer `i`, counted from 0.
    Layer(usize),
    /// The final norm and the output head.
    Head,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embed => f.write_str("embed"),
            Self::Layer(layer_idx) => write!(f, "layer {layer_idx}"),
            Self::Head => f.write_str("norm+head"),
        }
    }
}

/// A half-open range of decoder layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LayerRange {
    pub start: usize,
    pub end: usize,
}

impl LayerRange {
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn iter(self) -> Range<usize> {
        self.start..self.end
    }
}

impl fmt::Display for LayerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A half-open range of units of a model with `num_layers` layers.
///
/// Unit 0 is the embedding, units `1..=num_layers` are the layers, the last unit is norm and head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnitRange {
    pub start: usize,
    pub end: usize,
}

impl UnitRange {
    /// Returns the range of a whole model.
    pub fn whole(num_layers: usize) -> Self {
        Self { start: 0, end: num_layers + 2 }
    }

    pub fn has_embed(self) -> bool {
        self.start == 0 && self.end > 0
    }

    pub fn has_head(self, num_layers: usize) -> bool {
        self.start < self.end && self.end == num_layers + 2
    }

    /// Returns the decoder layers among the units.
    pub fn layers(self, num_layers: usize) -> LayerRange {
        let start = self.start.max(1) - 1;
        let end = self.end.clamp(1, num_layers + 1) - 1;
        LayerRange { start: start.min(end), end }
    }

    /// Returns the first unit of the range, for messages.
    pub fn first(self, num_layers: usize) -> Unit {
        match self.start {
            0 => Unit::Embed,
            unit_idx if unit_idx <= num_layers => Unit::Layer(unit_idx - 1),
            _ => Unit::Head,
        }
    }
}

/// A size in bytes; prints and parses with binary prefixes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

const PREFIXES: [(&str, u64); 4] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match PREFIXES.iter().find(|(_, size)| self.0 >= *size) {
            Some((prefix, size)) => f.pad(&format!("{:.1} {prefix}", self.0 as f64 / *size as f64)),
            None => f.pad(&format!("{} B", self.0)),
        }
    }
}

/// The text is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size; wanted a number with a unit, such as 300MiB, 1.5GiB or 2GB")]
pub struct ParseBytesError(String);

impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseBytesError(text.to_owned());
        let trimmed = text.trim();
        let split =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let number: f64 = trimmed[..split].parse().map_err(|_| wrong())?;
        let scale = match trimmed[split..].trim() {
            "" | "B" => 1.0,
            "KiB" | "K" => 1024.0,
            "MiB" | "M" => 1024f64.powi(2),
            "GiB" | "G" => 1024f64.powi(3),
            "TiB" | "T" => 1024f64.powi(4),
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "TB" => 1e12,
            _ => return Err(wrong()),
        };
        let bytes = number * scale;
        if !bytes.is_finite() || bytes >= u64::MAX as f64 {
            return Err(wrong());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "finite, not negative (no sign is parsed) and below u64::MAX"
        )]
        Ok(Self(bytes as u64))
    }
}
