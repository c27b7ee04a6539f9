//! The cost of each unit of a model, from its configuration and file headers alone.
//!
//! Owns the sizes on which placement decides. Reads no weights and knows no device.
//!
//! A profile is made from a [`ModelConfig`] and the stored sizes of its tensors
//! ([`ModelProfile::new`]), or from a file, which may describe a family that does not run here
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
    /// Additional bytes of a shard with the head but without the embedding: the copy of a tied
    /// embedding, else zero.
    pub tied_embedding_bytes: Bytes,
    /// Width of the activations.
    pub hidden: usize,
    /// Bytes of one activation element in a transfer between devices.
    pub hidden_element_bytes: usize,
    /// Bytes of one element of the KV cache.
    #[serde(default = "two")]
    pub kv_element_bytes: usize,
    /// Width of the logits.
    pub vocab: usize,
    /// Longest context, in tokens.
    pub max_positions: usize,
    /// The type of the products, which selects a device's rate.
    pub compute: ComputeType,
}

/// The value implied by older profiles without this field.
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
    /// Weights of the unit, without the embedding that a tied head shares.
    pub weight_bytes: Bytes,
    /// Weights that every microbatch reads, however small; experts are counted separately.
    pub read_bytes: Bytes,
    /// The experts of a layer with a mixture of experts.
    #[serde(default)]
    pub experts: Option<Experts>,
    /// The cache of a layer; none for embedding and head.
    pub kv: Option<UnitKv>,
    /// Operations on weights per token, including the experts that it uses.
    ///
    /// The same in prefill and in decode: a chunk of `n` tokens of which token `i` attends to `p_i`
    /// positions takes `n * flops_per_token + sum(p_i) * flops_per_position`. A decoded token is a
    /// chunk of one. The head only processes tokens whose logits are needed.
    pub flops_per_token: u64,
    /// Operations of attention per token and per position that it attends to.
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
    /// Returns the bytes that a microbatch of `tokens` is expected to read, if each token chooses
    /// its experts uniformly and independently. Of `n` experts, `n * (1 - (1 - k/n)^tokens)` are
    /// chosen at least once.
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
    /// Bytes of key and value of one position.
    pub bytes_per_token: Bytes,
}

/// Sizes of elements in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementBytes {
    /// Of weights whose stored size is unknown.
    pub weights: usize,
    /// Of activations.
    pub hidden: usize,
    /// Of cached keys and values.
    pub kv: usize,
}

impl Default for ElementBytes {
    /// The sizes on a CPU: f32 activations and cache; weights of unknown size count as f32 too.
    fn default() -> Self {
        Self { weights: 4, hidden: 4, kv: 4 }
    }
}

impl ModelProfile {
    /// Computes the costs of a model from its configuration and the sizes of its tensors.
    ///
    /// `stored` returns the bytes of a matrix in its file; if it returns `None`, the size follows
    /// from the shape. Vectors (norms, biases) count as f32, the type in which they are kept.
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

    /// Computes the costs of the model that a file describes, from its header or its `config.json`.
    /// No weights are read, and none need exist.
    ///
    /// `path` is a GGUF file, which may end after its header; a `config.json`, under any name; or a
    /// directory with one. Safetensors files next to a `config.json` give the true sizes of their
    /// tensors, if all files in the index exist. Otherwise sizes follow from `torch_dtype` (or
    /// `dtype`; f32 if neither is given, as in transformers) and from `quantization_config`: the
    /// matrices of the layers use its bits and group scales, while embedding, head, routers, norms
    /// and biases stay unquantised.
    ///
    /// Supports more families than run here: also Mixtral, Qwen 2 and Qwen 3 with experts, `OLMoE`
    /// and Command R.
    ///
    /// # Errors
    /// [`ProfileError`] with the file and the key that is missing, wrong or of an unknown family.
    pub fn read(path: &Path, target: Target) -> Result<Self, ProfileError> {
        read::read(path, target)
    }
}

/// Returns the product, saturating: hostile sizes end as "does not fit".
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}
