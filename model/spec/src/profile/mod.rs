//! What each unit of a model costs, from its configuration and file headers alone.
//!
//! Owns the sizes that placement decides on. Reads no weights and knows no device.
//!
//! A profile is made of a [`ModelConfig`] and the sizes of its tensors where the model is to run
//! ([`ModelProfile::new`]), or of a file that may describe a model of more families than run here
//! ([`ModelProfile::read`]).

mod costing;
mod gguf;
mod headers;
mod hub;
mod outline;
mod packing;
mod peak;
mod read;
#[cfg(test)]
mod tests;
mod workspace;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use hub::stored_type;
pub use read::Target;
pub use workspace::{BatchShape, Workspace};

use crate::{
    config::{KvGroup, ModelConfig},
    error::ProfileError,
    tensors::TensorId,
    units::{Bytes, Unit},
};
use costing::{Costing, Elements, StoredSizes};
use outline::Outline;
use packing::WeightFormat;

/// The costs of a model, unit by unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelProfile {
    pub num_layers: usize,
    /// `num_layers + 2` units in order: embedding, layers, norm and head.
    pub units: Vec<UnitProfile>,
    /// As [`ModelConfig::kv_groups`]: `Full` first.
    pub kv_groups: Vec<KvGroup>,
    /// What a shard with the head but without the embedding holds on top of its units: a copy of
    /// the embedding where the model is tied, else nothing.
    pub tied_embedding_bytes: Bytes,
    /// Width of the activations.
    pub hidden: usize,
    /// Size of one activation, as it crosses a device border.
    pub hidden_element_bytes: usize,
    /// Size of one number in the KV cache.
    #[serde(default = "two")]
    pub kv_element_bytes: usize,
    /// Width of the logits.
    pub vocab: usize,
    /// Longest context, in tokens.
    pub max_positions: usize,
    /// What the products are computed in: it chooses among a device's rates.
    pub compute: ComputeType,
}

/// What profiles meant that were written down without it.
fn two() -> usize {
    2
}

/// The element type of products and activations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComputeType {
    #[default]
    F32,
    F16,
    Bf16,
}

/// The costs of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitProfile {
    pub unit: Unit,
    /// Weights that the unit holds, without the embedding that a tied head shares.
    pub weight_bytes: Bytes,
    /// Weights that one microbatch reads, however few its tokens; those of experts come on top.
    pub read_bytes: Bytes,
    /// The experts of a layer whose tokens choose among several.
    #[serde(default)]
    pub experts: Option<Experts>,
    /// The cache of a layer; none for the embedding and the head.
    pub kv: Option<UnitKv>,
    /// Operations on weights for each token, those of the experts that it chooses included.
    ///
    /// The same in prefill and in decode: a chunk of `n` tokens of which token `i` sees `p_i`
    /// positions takes `n * flops_per_token + sum(p_i) * flops_per_position`, a decoded token is a
    /// chunk of one. The head works only on tokens whose logits are wanted.
    pub flops_per_token: u64,
    /// Operations of attention for each token and each position that it sees.
    pub flops_per_position: u64,
    pub workspace: Workspace,
}

/// The experts of one layer, of which each token uses some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Experts {
    pub num_experts: u64,
    pub num_active: u64,
    /// Weights of one expert.
    pub bytes_each: Bytes,
}

impl Experts {
    /// Bytes that a microbatch of so many tokens is expected to read, each token choosing its
    /// experts evenly and for itself: of `n` experts, `n * (1 - (1 - k/n)^tokens)` are chosen by
    /// one at least.
    pub fn read_bytes(&self, tokens: f64) -> f64 {
        let num_experts = self.num_experts as f64;
        let missed = (1.0 - self.num_active as f64 / num_experts.max(1.0)).clamp(0.0, 1.0);
        num_experts * (1.0 - missed.powf(tokens)) * self.bytes_each.0 as f64
    }
}

/// The KV cache of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitKv {
    /// Index into [`ModelProfile::kv_groups`].
    pub group_idx: usize,
    /// Key and value of one position.
    pub bytes_per_token: Bytes,
}

/// Sizes of single elements, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementBytes {
    /// Of a weight whose stored size is not known.
    pub weights: usize,
    /// Of activations.
    pub hidden: usize,
    /// Of cached keys and values.
    pub kv: usize,
}

impl Default for ElementBytes {
    /// What runs on a CPU: f32 activations and cache; unknown weights are taken for f32 too.
    fn default() -> Self {
        Self { weights: 4, hidden: 4, kv: 4 }
    }
}

impl ModelProfile {
    /// Costs a model from its configuration and the sizes of its tensors.
    ///
    /// `stored` gives the bytes that a matrix takes in its file; where it gives none, the size
    /// follows from the shape. Vectors (norms, biases) count as f32, which is how they are held.
    pub fn new(
        config: &ModelConfig,
        stored: impl Fn(TensorId) -> Option<Bytes>,
        elements: ElementBytes,
    ) -> Self {
        let elements = Elements {
            weights: WeightFormat::plain(elements.weights),
            hidden: elements.hidden,
            kv: elements.kv,
            compute: ComputeType::F32,
        };
        let outline = Outline::of(config);
        Costing::new(&outline, StoredSizes::Tensors(&stored), elements).profile()
    }

    /// Costs the model that a file describes, from its header or its `config.json`: no weight is
    /// read, and none need be there.
    ///
    /// `path` is a GGUF file, which may end behind its header; a `config.json`, under any name; or
    /// a directory with one. Safetensors files next to a `config.json` give the true sizes of their
    /// tensors by their headers, if all that the index names are there. Else sizes follow from
    /// `torch_dtype` (or `dtype`; where neither is given, from f32, as in transformers) and from
    /// `quantization_config`: the matrices of the layers take its bits and the scales of its
    /// groups, while embedding, head, routers, norms and biases stay as they were.
    ///
    /// More families than run here: also Mixtral, Qwen 2 and Qwen 3 with experts, `OLMoE` and
    /// Command R.
    ///
    /// # Errors
    /// [`ProfileError`] naming the file and the key that is missing, wrong or of an unknown family.
    pub fn read(path: &Path, target: Target) -> Result<Self, ProfileError> {
        read::read(path, target)
    }
}

/// The product, or the largest number where that is larger: hostile sizes end as "does not fit".
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}
