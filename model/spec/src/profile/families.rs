//! The families that can be planned for, as rows of one table.
//!
//! A row says which tensors a family has and which keys size them. Families that run here take
//! their norms and biases from [`crate::family`].

use super::outline::{HeadNormWidth, Vectors};
use crate::{
    config::{
        Architecture,
        hub::{Defaults, WindowRule, defaults},
    },
    family::{Family, QkvBias},
};

/// A family as its files tell of it.
pub(super) struct PlannedFamily {
    /// The class and the model type in `config.json`.
    pub(super) class: &'static str,
    pub(super) model_type: &'static str,
    /// `general.architecture` in GGUF files; empty where another row speaks for the family.
    pub(super) gguf: &'static str,
    /// Whether the numbers lie in `text_config`.
    pub(super) is_nested: bool,
    pub(super) defaults: Defaults,
    /// What differs from the family that runs here and is nearest.
    nearest: Architecture,
    differs: Differs,
    pub(super) windows: WindowRule,
    pub(super) feed_forward: FeedForwardKeys,
}

/// How the layers of a family differ from those of the nearest one that runs here.
#[derive(Clone, Copy)]
enum Differs {
    Nowhere,
    NumNorms(u64),
    HeadNorm(HeadNormWidth),
}

/// Which keys of `config.json` size the feed-forward blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeedForwardKeys {
    /// `intermediate_size`.
    Dense,
    Mixture(MixtureKeys),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MixtureKeys {
    /// The number of experts, in the spellings that there are.
    pub(super) num_experts: &'static [&'static str],
    /// Width inside one expert.
    pub(super) intermediate: &'static str,
    /// Width inside the expert that every token passes.
    pub(super) shared: Option<&'static str>,
    pub(super) layers: MixtureLayers,
}

/// Which layers have experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MixtureLayers {
    All,
    /// Every `decoder_sparse_step`-th that is not among `mlp_only_layers`.
    Sparse,
}

const fn row(
    class: &'static str,
    model_type: &'static str,
    nearest: Architecture,
) -> PlannedFamily {
    PlannedFamily {
        class,
        model_type,
        gguf: model_type,
        is_nested: false,
        defaults: defaults(nearest),
        nearest,
        differs: Differs::Nowhere,
        windows: WindowRule::of(nearest),
        feed_forward: FeedForwardKeys::Dense,
    }
}

const MIXTRAL: MixtureKeys = MixtureKeys {
    num_experts: &["num_local_experts"],
    intermediate: "intermediate_size",
    shared: None,
    layers: MixtureLayers::All,
};
const QWEN_MOE: MixtureKeys = MixtureKeys {
    num_experts: &["num_experts", "num_local_experts"],
    intermediate: "moe_intermediate_size",
    shared: None,
    layers: MixtureLayers::Sparse,
};

/// Every family, those that run here first.
///
/// Source: the configuration and model classes of transformers; llama.cpp for the names in GGUF.
static TABLE: [PlannedFamily; 13] = [
    row("LlamaForCausalLM", "llama", Architecture::Llama),
    // GGUF files of Mistral and Mixtral models say llama.
    PlannedFamily { gguf: "", ..row("MistralForCausalLM", "mistral", Architecture::Mistral) },
    row("Qwen2ForCausalLM", "qwen2", Architecture::Qwen2),
    row("Qwen3ForCausalLM", "qwen3", Architecture::Qwen3),
    PlannedFamily {
        gguf: "gemma3",
        ..row("Gemma3ForCausalLM", "gemma3_text", Architecture::Gemma3)
    },
    PlannedFamily {
        gguf: "",
        is_nested: true,
        ..row("Gemma3ForConditionalGeneration", "gemma3", Architecture::Gemma3)
    },
    PlannedFamily {
        defaults: Defaults {
            vocab: Some(256_000),
            max_positions: 8192,
            ..defaults(Architecture::Gemma3)
        },
        differs: Differs::HeadNorm(HeadNormWidth::Absent),
        windows: WindowRule::AllButEvery(2),
        ..row("Gemma2ForCausalLM", "gemma2", Architecture::Gemma3)
    },
    PlannedFamily {
        gguf: "",
        windows: WindowRule::All { default: None },
        feed_forward: FeedForwardKeys::Mixture(MIXTRAL),
        ..row("MixtralForCausalLM", "mixtral", Architecture::Mistral)
    },
    PlannedFamily {
        gguf: "qwen2moe",
        defaults: Defaults { num_kv_heads: None, ..defaults(Architecture::Qwen2) },
        feed_forward: FeedForwardKeys::Mixture(MixtureKeys {
            shared: Some("shared_expert_intermediate_size"),
            ..QWEN_MOE
        }),
        ..row("Qwen2MoeForCausalLM", "qwen2_moe", Architecture::Qwen2)
    },
    PlannedFamily {
        gguf: "qwen3moe",
        // Its class, unlike that of Qwen 3, makes heads of the hidden size.
        defaults: Defaults {
            num_kv_heads: Some(4),
            head_dim: None,
            ..defaults(Architecture::Qwen3)
        },
        feed_forward: FeedForwardKeys::Mixture(QWEN_MOE),
        ..row("Qwen3MoeForCausalLM", "qwen3_moe", Architecture::Qwen3)
    },
    PlannedFamily {
        differs: Differs::HeadNorm(HeadNormWidth::AllHeads),
        feed_forward: FeedForwardKeys::Mixture(MixtureKeys {
            num_experts: &["num_experts", "num_local_experts"],
            ..MIXTRAL
        }),
        ..row("OlmoeForCausalLM", "olmoe", Architecture::Llama)
    },
    PlannedFamily {
        defaults: defaults(Architecture::Llama),
        windows: WindowRule::All { default: None },
        ..row("Phi3ForCausalLM", "phi3", Architecture::Mistral)
    },
    PlannedFamily {
        gguf: "command-r",
        defaults: Defaults { tied: true, ..defaults(Architecture::Llama) },
        // Attention and feed-forward block share the one norm before them.
        differs: Differs::NumNorms(1),
        ..row("CohereForCausalLM", "cohere", Architecture::Llama)
    },
];

impl PlannedFamily {
    /// The row of a class or model type in `config.json`.
    pub(super) fn of_hub(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| row.class == name || row.model_type == name)
    }

    /// The row of an architecture in a GGUF file.
    pub(super) fn of_gguf(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|row| !row.gguf.is_empty() && row.gguf == name)
    }

    /// The classes, for messages.
    pub(super) fn classes() -> String {
        listed(TABLE.iter().map(|row| row.class))
    }

    /// The architectures of GGUF files, for messages.
    pub(super) fn gguf_names() -> String {
        listed(TABLE.iter().map(|row| row.gguf).filter(|name| !name.is_empty()))
    }

    /// The norms and biases of a layer. `has_bias` is what `attention_bias` says.
    pub(super) fn vectors(&self, has_bias: bool) -> Vectors {
        let mut vectors = Vectors::of(Family::of(self.nearest));
        match self.differs {
            Differs::Nowhere => {}
            Differs::NumNorms(num_norms) => vectors.num_norms = num_norms,
            Differs::HeadNorm(head_norm) => vectors.head_norm = head_norm,
        }
        if has_bias {
            vectors.qkv_bias = QkvBias::Present;
            vectors.output_bias = true;
        }
        vectors
    }
}

fn listed(names: impl Iterator<Item = &'static str>) -> String {
    let mut names: Vec<&str> = names.collect();
    let last = names.pop().unwrap_or_default();
    format!("{} or {last}", names.join(", "))
}
