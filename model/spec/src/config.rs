//! The configuration of a decoder, independent of the file format it was read from.
//!
//! Owns the resolved configuration. The readers know how each file format names things.
//!
//! Models with `longrope` (Phi 3) have two lists of divisors: short ones for contexts up to the
//! original training length, long ones beyond. A cache must not mix keys rotated by both. So the
//! choice is made here, once: the long ones for every model that supports more positions than the
//! original ones. transformers recomputes the cache when a sequence grows beyond that length; vLLM
//! and llama.cpp also choose once, but by the context that a run allows.

mod check;
pub(crate) mod gguf;
pub(crate) mod hub;
pub(crate) mod keys;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{error::ConfigError, files::ModelFiles, gguf::Gguf, units::TokenId};

pub use crate::architecture::Architecture;
pub use hub::{EndIds, read_json, read_json_lossy};

/// Everything about a decoder that is not a weight. Checked once, when it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    pub architecture: Architecture,
    pub num_layers: usize,
    /// Width of the activations.
    pub hidden: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    /// Width of the logits; may exceed the tokenizer's vocabulary.
    pub vocab: usize,
    /// Longest context, in tokens.
    pub max_positions: usize,
    pub norm_eps: f64,
    /// Factor of the attention scores, usually `1 / sqrt(head_dim)`.
    pub attention_scale: f64,
    /// Soft cap of the scores before the softmax: `cap * tanh(score / cap)` (Gemma 2).
    #[serde(default)]
    pub score_cap: Option<f64>,
    /// Soft cap of the logits (Gemma 2).
    #[serde(default)]
    pub logit_cap: Option<f64>,
    /// Rotary embedding of the layers without a window.
    pub rope: Rope,
    /// Rotary embedding of the layers with a window, if it differs (Gemma 3).
    pub local_rope: Option<Rope>,
    /// Per layer, how many positions a token attends to, itself included; `None` is all.
    pub windows: Vec<Option<usize>>,
    /// Whether the head shares the embedding's weights.
    pub tied: bool,
    /// The ids that begin and end a sequence, from the model's files.
    pub bos: Option<TokenId>,
    pub eos: Vec<TokenId>,
}

/// A rotary position embedding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rope {
    pub theta: f64,
    pub scaling: RopeScaling,
    /// How many dimensions of a head are rotated, from the first on; `None` is all (Phi 4 mini: 96
    /// of 128).
    #[serde(default)]
    pub width: Option<usize>,
    /// Factor of cosines and sines, and so of rotated queries and keys (Phi 3 with `longrope`).
    #[serde(default)]
    pub magnitude: Option<f64>,
}

impl Rope {
    /// Makes a rope that rotates whole heads and keeps their magnitude.
    pub fn new(theta: f64, scaling: RopeScaling) -> Self {
        Self { theta, scaling, width: None, magnitude: None }
    }
}

/// Returns the default factor of cosines and sines for `longrope`, for a context that is `longer`
/// times the `original` one. `original` must be at least 2.
///
/// Source: `_compute_longrope_parameters` in transformers' `modeling_rope_utils.py`.
fn longrope_magnitude(longer: f64, original: usize) -> Option<f64> {
    (longer > 1.0).then(|| (1.0 + longer.ln() / (original as f64).ln()).sqrt())
}

/// How rotary frequencies are scaled for longer contexts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RopeScaling {
    None,
    /// Divides every frequency by the factor.
    Linear {
        factor: f64,
    },
    /// Source: Llama 3.1, `rope_type: llama3`.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_max_positions: usize,
    },
    /// One divisor per frequency: GGUF's `rope_freqs.weight`, or the long or short factors of
    /// `longrope`, of which a model uses one set throughout ([`crate::config`]).
    Factors(Vec<f32>),
}

/// Which positions a layer keeps in its KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvGroup {
    /// Every position.
    Full,
    /// The last `n` positions, the current one included.
    Window(usize),
}

impl KvGroup {
    /// Returns the group of a layer with this window.
    pub(crate) fn of(window: Option<usize>) -> Self {
        window.map_or(Self::Full, Self::Window)
    }

    /// Returns the distinct groups of the layers, `Full` first.
    pub(crate) fn all(layers: impl Iterator<Item = Self>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for group in layers {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        groups.sort_by_key(|group| match group {
            Self::Full => 0,
            Self::Window(window) => *window,
        });
        groups
    }
}

impl ModelConfig {
    /// Reads and checks the configuration of a model.
    ///
    /// # Errors
    /// [`ConfigError`] with file and key, if the files do not describe a supported decoder.
    pub fn read(files: &ModelFiles) -> Result<Self, ConfigError> {
        match files {
            ModelFiles::Gguf(path) => Self::from_gguf(&Gguf::open(path)?),
            ModelFiles::Directory(path) => Self::from_directory(path),
        }
    }

    /// Reads and checks `config.json` and `generation_config.json` of a directory.
    pub fn from_directory(directory: &Path) -> Result<Self, ConfigError> {
        hub::read(&directory.join(hub::CONFIG))
    }

    /// Reads and checks a file with the contents of a `config.json`, under any name.
    ///
    /// # Errors
    /// [`ConfigError`] with file and key, if it does not describe a supported decoder.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        hub::read(file)
    }

    /// Reads and checks the metadata of a GGUF file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, ConfigError> {
        gguf::read(gguf)
    }

    /// Returns the KV groups of the model, `Full` first; each layer belongs to one.
    pub fn kv_groups(&self) -> Vec<KvGroup> {
        KvGroup::all((0..self.num_layers).map(|layer_idx| self.kv_group(layer_idx)))
    }

    /// Returns the KV group of one layer.
    pub fn kv_group(&self, layer_idx: usize) -> KvGroup {
        KvGroup::of(self.windows.get(layer_idx).copied().flatten())
    }
}
