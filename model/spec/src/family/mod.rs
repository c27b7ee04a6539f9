//! The families of decoders as data, one file per family with everything specific to it.
//!
//! Only these files know a family's names, the defaults of its configuration classes, the
//! operations of its layers, and how its files name and store tensors. Readers, planner and decoder
//! query them. `docs/families.md` tells how to add a family.

mod cohere;
mod gemma2;
mod gemma3;
mod llama;
mod mistral;
mod mixtral;
mod olmoe;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;

use crate::{architecture::Architecture, tensors::Role};

/// A decoder family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// The architecture it runs as; none for a family that can only be planned for.
    pub(crate) runs_as: Option<Architecture>,
    /// Its names in `config.json`; the first one is used in messages.
    pub(crate) hub: &'static [HubName],
    /// `general.architecture` in GGUF files; none if another family's name is used.
    pub(crate) gguf: Option<&'static str>,
    pub(crate) defaults: Defaults,
    pub(crate) windows: WindowRule,
    /// The window of GGUF files that do not state one; none if those have no windows.
    pub(crate) gguf_window: Option<usize>,
    pub(crate) feed_forward: FeedForwardKeys,
    pub(crate) query_scale: QueryScale,
    pub(crate) rotary_share: RotaryShare,
    /// The default soft caps of scores and logits; none if caps are not allowed.
    pub(crate) caps: Option<Caps>,
    /// The rotary base of layers with a window, if they have their own.
    pub(crate) local_theta: Option<f64>,
    pub qkv_bias: QkvBias,
    pub head_norm: HeadNorm,
    pub layer_norms: LayerNorms,
    pub activation: Activation,
    pub embedding_scale: EmbeddingScale,
    /// How the layers of a family that does not run differ from the fields above.
    pub(crate) differs: Differs,
    /// The row order of queries and keys in GGUF files.
    pub gguf_rows: RotaryRows,
    /// How safetensors files store norm weights.
    pub hub_norms: NormWeights,
    /// Prefixes of tensor names in safetensors files, the usual one first.
    pub(crate) hub_prefixes: &'static [&'static str],
    /// Tensor names in safetensors files that differ from the usual ones.
    pub(crate) hub_names: &'static [(Role, &'static str)],
    pub(crate) fused: &'static [Fused],
}

/// A family's name in `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HubName {
    pub(crate) class: &'static str,
    pub(crate) model_type: &'static str,
    /// Whether the keys are nested in `text_config`.
    pub(crate) is_nested: bool,
}

impl HubName {
    const fn new(class: &'static str, model_type: &'static str) -> Self {
        Self { class, model_type, is_nested: false }
    }
}

/// The defaults of a family's configuration class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Defaults {
    pub(crate) hidden: Option<usize>,
    pub(crate) intermediate: Option<usize>,
    pub(crate) num_layers: Option<usize>,
    pub(crate) num_heads: Option<usize>,
    /// `None` means one per attention head.
    pub(crate) num_kv_heads: Option<usize>,
    /// `None` means hidden size divided by heads.
    pub(crate) head_dim: Option<usize>,
    pub(crate) vocab: Option<usize>,
    pub(crate) max_positions: usize,
    pub(crate) norm_eps: f64,
    pub(crate) theta: f64,
    pub(crate) tied: bool,
    pub(crate) activation: (&'static str, &'static [&'static str]),
}

/// Soft caps of scores and logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Caps {
    pub(crate) scores: f64,
    pub(crate) logits: f64,
}

/// The square of the divisor of the attention scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum QueryScale {
    HeadDim,
    /// `query_pre_attn_scalar`, else `usual`. GGUF files do not state it: it is the head size,
    /// except in the largest model, which has this many layers, where it is the hidden size divided
    /// by the heads.
    Stated {
        usual: f64,
        layers_of_largest: usize,
    },
}

/// How much of a head is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RotaryShare {
    Whole,
    /// The share `partial_rotary_factor`, from the head's first dimension on.
    Stated,
}

/// Matrices that a family's files store stacked, under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fused {
    /// In the order of their rows.
    pub(crate) roles: &'static [Role],
    pub(crate) hub: &'static str,
    pub(crate) gguf: &'static str,
}

/// Which layers of a family have a window, if its files do not list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowRule {
    /// None, whatever `sliding_window` says.
    Never,
    /// All, if there is a window. A null key means no window; without the key the class has a
    /// default.
    All { default: Option<usize> },
    /// If `use_sliding_window`, those from `max_window_layers` on, else from `first` on. The window
    /// is `usual` if the key is missing.
    Switched { first: usize, usual: usize },
    /// All but every n-th, with n from `sliding_window_pattern`, else `pattern`. The window is
    /// `usual` if the files do not state it.
    AllButEvery { pattern: usize, usual: usize },
}

/// Which keys of `config.json` give the sizes of the feed-forward blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FeedForwardKeys {
    /// `intermediate_size`.
    Dense,
    Mixture(MixtureKeys),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MixtureKeys {
    /// The number of experts, in all known spellings.
    pub(crate) num_experts: &'static [&'static str],
    /// Width inside one expert.
    pub(crate) intermediate: &'static str,
    /// Width inside the expert that every token uses.
    pub(crate) shared: Option<&'static str>,
    pub(crate) layers: MixtureLayers,
}

/// Which layers have experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MixtureLayers {
    All,
    /// Every `decoder_sparse_step`-th layer that is not in `mlp_only_layers`.
    Sparse,
}

/// How the layers of a family differ from those of the most similar family that runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Differs {
    Nowhere,
    NumNorms(u64),
    HeadNorm(HeadNormWidth),
}

/// The width of the norms of queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadNormWidth {
    Absent,
    OneHead,
    AllHeads,
}

/// The row order within a head: which rows the rotary embedding pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotaryRows {
    /// A row is paired with the one half a head further.
    Halves,
    /// A row is paired with the next; llama.cpp's converter uses this order for some families.
    Interleaved,
}

/// What is stored as a norm's weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormWeights {
    Plain,
    /// The weight minus one.
    LessOne,
}

/// Whether queries, keys and values have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvBias {
    Absent,
    Present,
}

/// Whether each head's query and key are normalised before rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadNorm {
    Absent,
    Present,
}

/// Where a layer normalises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerNorms {
    /// Before attention and before the feed-forward block.
    Before,
    /// Also after each, before its residual is added.
    BeforeAndAfter,
}

/// The activation function of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// The `tanh` approximation of GELU.
    ///
    /// Source: Hendrycks and Gimpel 2016, section 2.
    GeluTanh,
}

/// The factor of the embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbeddingScale {
    One,
    /// The square root of the hidden width, rounded to the stored type of the embedding.
    ///
    /// Source: `Gemma3TextScaledWordEmbedding` in transformers' `modeling_gemma3.py`.
    SqrtHidden,
}

/// All families, those that run here first.
///
/// Source: the configuration and model classes of transformers; llama.cpp for the GGUF names.
static ALL: [&Family; 12] = [
    &llama::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
    &mixtral::FAMILY,
    &qwen2_moe::FAMILY,
    &qwen3_moe::FAMILY,
    &olmoe::FAMILY,
    &cohere::FAMILY,
];

impl Family {
    /// Returns the family of an architecture.
    pub fn of(architecture: Architecture) -> &'static Self {
        ALL.iter()
            .find(|family| family.runs_as == Some(architecture))
            .expect("every architecture has a family: the test below looks them all up")
    }

    /// Finds the family with this class or model type in `config.json`.
    pub(crate) fn of_hub(name: &str) -> Option<(&'static Self, &'static HubName)> {
        ALL.iter().find_map(|family| {
            let is_it = |it: &&HubName| it.class == name || it.model_type == name;
            Some((*family, family.hub.iter().find(is_it)?))
        })
    }

    /// Finds the family with this GGUF architecture.
    pub(crate) fn of_gguf(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|family| family.gguf == Some(name)).copied()
    }

    /// Returns the roles stored in one matrix with `role`, in the order of their rows; `None` if it
    /// is stored alone.
    pub fn fused_roles(&self, role: Role) -> Option<&'static [Role]> {
        self.fused_with(role).map(|fused| fused.roles)
    }

    pub(crate) fn fused_with(&self, role: Role) -> Option<&'static Fused> {
        self.fused.iter().find(|fused| fused.roles.contains(&role))
    }

    /// Lists the classes of the families that run here, or of all, for messages.
    pub(crate) fn classes(only_running: bool) -> String {
        listed(families(only_running).flat_map(|family| family.hub).map(|name| name.class))
    }

    /// Lists the GGUF architectures, for messages.
    pub(crate) fn gguf_names(only_running: bool) -> String {
        listed(families(only_running).filter_map(|family| family.gguf))
    }
}

fn families(only_running: bool) -> impl Iterator<Item = &'static Family> {
    ALL.iter().copied().filter(move |family| !only_running || family.runs_as.is_some())
}

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<&str> = names.collect();
    let last = names.pop().unwrap_or_default();
    format!("{} or {last}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_architecture_has_its_own_family() {
        // The match fails to compile when an architecture is added that the list may lack.
        let place = |architecture: Architecture| match architecture {
            Architecture::Llama => 0,
            Architecture::Mistral => 1,
            Architecture::Qwen2 => 2,
            Architecture::Qwen3 => 3,
            Architecture::Gemma2 => 4,
            Architecture::Gemma3 => 5,
            Architecture::Phi3 => 6,
        };
        assert!(Architecture::ALL.into_iter().map(place).eq(0..Architecture::ALL.len()));
        for architecture in Architecture::ALL {
            let its = ALL.iter().filter(|family| family.runs_as == Some(architecture));
            assert_eq!(its.count(), 1);
        }
    }

    #[test]
    fn names_belong_to_one_family() {
        let hub = || ALL.iter().flat_map(|family| family.hub);
        let names = hub().flat_map(|name| [name.class, name.model_type]);
        let names: Vec<&str> = names.chain(ALL.iter().filter_map(|family| family.gguf)).collect();
        for name in &names {
            let families = ALL.iter().filter(|family| {
                family.gguf == Some(name)
                    || family.hub.iter().any(|it| it.class == *name || it.model_type == *name)
            });
            assert_eq!(families.count(), 1, "{name}");
        }
    }
}
