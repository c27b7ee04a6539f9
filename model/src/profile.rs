//! What each unit of a model costs, from its configuration and file headers alone.
//!
//! Owns the sizes that placement decides on. Reads no weights and knows no device.

use serde::{Deserialize, Serialize};

use crate::{
    config::{Architecture, KvGroup, ModelConfig},
    units::{Bytes, Unit},
    weights::{Role, TensorId},
};

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
    /// Width of the logits.
    pub vocab: usize,
    /// Longest context, in tokens.
    pub max_positions: usize,
    /// What the products are computed in: it chooses among a device's rates.
    pub compute: ComputeType,
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
    /// Operations on weights for each token.
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
    /// experts evenly and for itself: of `n` experts, `n * (1 - (1 - k/n)^tokens)` are chosen by one
    /// at least.
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

/// Memory that a unit needs while it runs and gives back after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Activations, for each token of the microbatch.
    pub bytes_per_token: Bytes,
    /// Gathered keys and values and one token's scores, for each position of the longest row. Rows
    /// attend one after another.
    pub bytes_per_position: Bytes,
    /// Logits, for each row that is sampled.
    pub bytes_per_row: Bytes,
}

/// The largest microbatch that a workspace is meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// New tokens of all rows together.
    pub tokens: usize,
    pub rows: usize,
    /// Context of the longest row.
    pub positions: usize,
}

impl Workspace {
    /// Memory that a microbatch of this shape needs.
    pub fn bytes(&self, shape: BatchShape) -> Bytes {
        let parts = [
            (self.bytes_per_token, shape.tokens),
            (self.bytes_per_position, shape.positions),
            (self.bytes_per_row, shape.rows),
        ];
        Bytes(parts.iter().fold(0, |sum: u64, (bytes, count)| {
            sum.saturating_add(product(&[bytes.0, *count as u64]))
        }))
    }
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
        let kv_groups = config.kv_groups();
        let costing = Costing { config, stored, elements, kv_groups: &kv_groups };
        let mut units = vec![costing.embed()];
        units.extend((0..config.num_layers).map(|layer_idx| costing.layer(layer_idx)));
        units.push(costing.head());
        let tied_embedding_bytes = if config.tied { units[0].weight_bytes } else { Bytes(0) };
        Self {
            num_layers: config.num_layers,
            units,
            tied_embedding_bytes,
            hidden: config.hidden,
            hidden_element_bytes: elements.hidden,
            vocab: config.vocab,
            max_positions: config.max_positions,
            compute: ComputeType::F32,
            kv_groups,
        }
    }
}

struct Costing<'a, F> {
    config: &'a ModelConfig,
    stored: F,
    elements: ElementBytes,
    kv_groups: &'a [KvGroup],
}

impl<F: Fn(TensorId) -> Option<Bytes>> Costing<'_, F> {
    fn embed(&self) -> UnitProfile {
        let weight_bytes = self.tensor(Unit::Embed, Role::Embedding);
        UnitProfile {
            unit: Unit::Embed,
            weight_bytes,
            // A token looks up one row.
            read_bytes: Bytes(weight_bytes.0 / (self.config.vocab as u64).max(1)),
            experts: None,
            kv: None,
            flops_per_token: 0,
            flops_per_position: 0,
            workspace: Workspace {
                bytes_per_token: self.activations(self.config.hidden as u64),
                ..Workspace::default()
            },
        }
    }

    fn layer(&self, layer_idx: usize) -> UnitProfile {
        let config = self.config;
        let unit = Unit::Layer(layer_idx);
        let roles = layer_roles(config.architecture);
        let weight_bytes = self.sum(unit, &roles);
        let weights = roles
            .iter()
            .map(|role| shape(config, *role))
            .filter(|shape| shape.len() == 2)
            .fold(0, |sum: u64, shape| sum.saturating_add(product(&shape)));
        let queries = product(&[config.num_heads as u64, config.head_dim as u64]);
        let keys = product(&[config.num_kv_heads as u64, config.head_dim as u64]);
        let group = config.kv_group(layer_idx);
        UnitProfile {
            unit,
            weight_bytes,
            read_bytes: weight_bytes,
            experts: None,
            kv: Some(UnitKv {
                group_idx: self.kv_groups.iter().position(|other| *other == group).unwrap_or(0),
                bytes_per_token: Bytes(product(&[2, keys, self.elements.kv as u64])),
            }),
            flops_per_token: weights.saturating_mul(2),
            // A product with the key and one with the value.
            flops_per_position: queries.saturating_mul(4),
            workspace: Workspace {
                // Residual, normed input and output; query and its result; key and value; gate, up
                // and their product.
                bytes_per_token: self.activations(
                    product(&[3, config.hidden as u64])
                        .saturating_add(product(&[2, queries]))
                        .saturating_add(product(&[2, keys]))
                        .saturating_add(product(&[3, config.intermediate as u64])),
                ),
                bytes_per_position: self.activations(
                    product(&[2, keys]).saturating_add(product(&[2, config.num_heads as u64])),
                ),
                bytes_per_row: Bytes(0),
            },
        }
    }

    fn head(&self) -> UnitProfile {
        let config = self.config;
        let norm = self.tensor(Unit::Head, Role::FinalNorm);
        let (own, read) = if config.tied {
            (Bytes(0), self.tensor(Unit::Embed, Role::Embedding))
        } else {
            let head = self.tensor(Unit::Head, Role::Head);
            (head, head)
        };
        UnitProfile {
            unit: Unit::Head,
            weight_bytes: Bytes(own.0.saturating_add(norm.0)),
            read_bytes: Bytes(read.0.saturating_add(norm.0)),
            experts: None,
            kv: None,
            flops_per_token: product(&[2, config.vocab as u64, config.hidden as u64]),
            flops_per_position: 0,
            workspace: Workspace {
                bytes_per_token: self.activations(config.hidden as u64),
                bytes_per_position: Bytes(0),
                // Logits and the distribution made of them, both f32.
                bytes_per_row: Bytes(product(&[2, 4, config.vocab as u64])),
            },
        }
    }

    fn sum(&self, unit: Unit, roles: &[Role]) -> Bytes {
        Bytes(roles.iter().fold(0, |sum: u64, role| sum.saturating_add(self.tensor(unit, *role).0)))
    }

    fn tensor(&self, unit: Unit, role: Role) -> Bytes {
        let shape = shape(self.config, role);
        if shape.len() == 1 {
            return Bytes(product(&[shape[0], 4]));
        }
        let by_shape = || Bytes(product(&shape).saturating_mul(self.elements.weights as u64));
        (self.stored)(TensorId { unit, role }).unwrap_or_else(by_shape)
    }

    fn activations(&self, elements: u64) -> Bytes {
        Bytes(product(&[elements, self.elements.hidden as u64]))
    }
}

/// The tensors of a decoder layer.
fn layer_roles(architecture: Architecture) -> Vec<Role> {
    use Role::{
        Down, Gate, InputNorm, Key, KeyBias, KeyNorm, MlpNorm, Output, PostAttentionNorm,
        PostMlpNorm, Query, QueryBias, QueryNorm, Up, Value, ValueBias,
    };
    let mut roles = vec![InputNorm, MlpNorm, Query, Key, Value, Output, Gate, Up, Down];
    roles.extend_from_slice(match architecture {
        Architecture::Llama | Architecture::Mistral => &[],
        Architecture::Qwen2 => &[QueryBias, KeyBias, ValueBias],
        Architecture::Qwen3 => &[QueryNorm, KeyNorm],
        Architecture::Gemma3 => &[QueryNorm, KeyNorm, PostAttentionNorm, PostMlpNorm],
    });
    roles
}

/// The shape of a tensor, as [`Role`] documents it.
fn shape(config: &ModelConfig, role: Role) -> Vec<u64> {
    let hidden = config.hidden as u64;
    let queries = product(&[config.num_heads as u64, config.head_dim as u64]);
    let keys = product(&[config.num_kv_heads as u64, config.head_dim as u64]);
    match role {
        Role::Embedding | Role::Head => vec![config.vocab as u64, hidden],
        Role::FinalNorm
        | Role::InputNorm
        | Role::PostAttentionNorm
        | Role::MlpNorm
        | Role::PostMlpNorm => vec![hidden],
        Role::Query => vec![queries, hidden],
        Role::Key | Role::Value => vec![keys, hidden],
        Role::Output => vec![hidden, queries],
        Role::QueryBias => vec![queries],
        Role::KeyBias | Role::ValueBias => vec![keys],
        Role::QueryNorm | Role::KeyNorm => vec![config.head_dim as u64],
        Role::Gate | Role::Up => vec![config.intermediate as u64, hidden],
        Role::Down => vec![hidden, config.intermediate as u64],
    }
}

/// The product, or the largest number where that is larger: hostile sizes end as "does not fit".
fn product(factors: &[u64]) -> u64 {
    factors.iter().fold(1, |product: u64, factor| product.saturating_mul(*factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Rope, RopeScaling};

    /// Sizes of SmolLM2-135M.
    fn smol(tied: bool) -> ModelConfig {
        ModelConfig {
            architecture: Architecture::Llama,
            num_layers: 30,
            hidden: 576,
            intermediate: 1536,
            num_heads: 9,
            num_kv_heads: 3,
            head_dim: 64,
            vocab: 49152,
            max_positions: 8192,
            norm_eps: 1e-5,
            attention_scale: 0.125,
            rope: Rope { theta: 1e5, scaling: RopeScaling::None },
            local_rope: None,
            windows: vec![None; 30],
            tied,
            bos: None,
            eos: vec![],
        }
    }

    fn total(profile: &ModelProfile) -> u64 {
        profile.units.iter().map(|unit| unit.weight_bytes.0).sum()
    }

    #[test]
    fn shapes_give_the_parameter_count() {
        let profile = ModelProfile::new(&smol(true), |_| None, ElementBytes::default());
        // 134,515,008 is the number of parameters that the model card states.
        assert_eq!(total(&profile), 134_515_008 * 4);
        assert_eq!(profile.tied_embedding_bytes, Bytes(49152 * 576 * 4));
        assert_eq!(profile.units.len(), 32);
        assert_eq!(profile.units[31].weight_bytes, Bytes(576 * 4));
        assert_eq!(profile.units[31].read_bytes, Bytes(49152 * 576 * 4 + 576 * 4));

        let untied = ModelProfile::new(&smol(false), |_| None, ElementBytes::default());
        assert_eq!(total(&untied), (134_515_008 + 49152 * 576) * 4);
        assert_eq!(untied.tied_embedding_bytes, Bytes(0));
    }

    #[test]
    fn stored_sizes_win_over_shapes() {
        let stored = |id: TensorId| match (id.unit, id.role) {
            (Unit::Layer(3), Role::Down) => Some(Bytes(1000)),
            (Unit::Layer(3), Role::InputNorm) => Some(Bytes(1)),
            _ => None,
        };
        let by_shape = ModelProfile::new(&smol(true), |_| None, ElementBytes::default());
        let profile = ModelProfile::new(&smol(true), stored, ElementBytes::default());
        let saved = by_shape.units[4].weight_bytes.0 - profile.units[4].weight_bytes.0;
        // The norm is held as f32, whatever its file says.
        assert_eq!(saved, 576 * 1536 * 4 - 1000);
        assert_eq!(profile.units[5], by_shape.units[5]);
    }

    #[test]
    fn families_differ_by_their_extra_tensors() {
        let layer = |architecture| {
            let config = ModelConfig { architecture, ..smol(true) };
            let profile = ModelProfile::new(&config, |_| None, ElementBytes::default());
            profile.units[1].weight_bytes.0
        };
        let llama = layer(Architecture::Llama);
        assert_eq!(layer(Architecture::Mistral), llama);
        assert_eq!(layer(Architecture::Qwen2) - llama, (576 + 192 + 192) * 4);
        assert_eq!(layer(Architecture::Qwen3) - llama, (64 + 64) * 4);
        assert_eq!(layer(Architecture::Gemma3) - llama, (64 + 64 + 576 + 576) * 4);
    }

    #[test]
    fn layers_name_their_kv_group() {
        let mut config = smol(true);
        config.windows = (0..30).map(|i| (i % 6 != 5).then_some(512)).collect();
        let profile = ModelProfile::new(&config, |_| None, ElementBytes::default());
        assert_eq!(profile.kv_groups, [KvGroup::Full, KvGroup::Window(512)]);
        let group = |layer_idx: usize| profile.units[layer_idx + 1].kv.expect("a layer").group_idx;
        assert_eq!((group(0), group(5), group(6)), (1, 0, 1));
        let bytes = profile.units[1].kv.expect("a layer").bytes_per_token;
        assert_eq!(bytes, Bytes(2 * 3 * 64 * 4));
        assert_eq!(profile.units[0].kv, None);
    }

    #[test]
    fn huge_sizes_saturate() {
        let mut config = smol(false);
        config.hidden = usize::MAX;
        config.intermediate = usize::MAX;
        let profile = ModelProfile::new(&config, |_| None, ElementBytes::default());
        assert_eq!(profile.units[1].weight_bytes, Bytes(u64::MAX));
        let shape = BatchShape { tokens: usize::MAX, rows: 1, positions: 1 };
        assert_eq!(profile.units[1].workspace.bytes(shape), Bytes(u64::MAX));
    }
}
