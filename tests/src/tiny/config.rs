//! The configurations of the tiny models.

use serde_json::{Value, json};
use sluicegate_spec::config::Architecture;

use super::tokenizer::{TINY_BOS, TINY_EOS};

/// Layers of every tiny model.
pub const TINY_LAYERS: usize = 7;

/// The window of the families that have one.
pub const TINY_WINDOW: usize = 8;

/// The configuration of a family, with every entry that its class would otherwise assume.
pub(super) fn preset(architecture: Architecture) -> Value {
    let (class, model_type) = match architecture {
        Architecture::Llama => ("LlamaForCausalLM", "llama"),
        Architecture::Mistral => ("MistralForCausalLM", "mistral"),
        Architecture::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
        Architecture::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
        Architecture::Gemma2 => ("Gemma2ForCausalLM", "gemma2"),
        Architecture::Gemma3 => ("Gemma3ForCausalLM", "gemma3_text"),
        Architecture::Phi3 => ("Phi3ForCausalLM", "phi3"),
    };
    let mut config = json!({
        "architectures": [class],
        "model_type": model_type,
        "vocab_size": 320,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": TINY_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10_000.0,
        "tie_word_embeddings": false,
        "bos_token_id": TINY_BOS,
        "eos_token_id": TINY_EOS,
        "torch_dtype": "float32",
        "hidden_act": "silu",
    });
    let entries = config.as_object_mut().expect("made above");
    entries.extend(own(architecture).as_object().expect("made there").clone());
    if matches!(architecture, Architecture::Gemma2 | Architecture::Gemma3) {
        entries.remove("hidden_act");
    }
    config
}

/// What a family's configuration has beside that.
fn own(architecture: Architecture) -> Value {
    match architecture {
        Architecture::Llama => json!({}),
        Architecture::Mistral => json!({ "sliding_window": TINY_WINDOW }),
        Architecture::Qwen2 => json!({
            "tie_word_embeddings": true,
            "use_sliding_window": false,
            "sliding_window": TINY_WINDOW,
            "max_window_layers": 3,
        }),
        Architecture::Qwen3 => json!({
            "rms_norm_eps": 1e-6,
            "attention_bias": false,
            "use_sliding_window": false,
            "sliding_window": null,
            "max_window_layers": TINY_LAYERS,
        }),
        // Caps so low that they show.
        Architecture::Gemma2 => json!({
            "rms_norm_eps": 1e-6,
            "tie_word_embeddings": true,
            "attention_bias": false,
            "query_pre_attn_scalar": 16,
            "sliding_window": TINY_WINDOW,
            "hidden_activation": "gelu_pytorch_tanh",
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        }),
        // More positions than the original ones: the long divisors.
        Architecture::Phi3 => json!({
            "sliding_window": TINY_WINDOW,
            "attention_bias": false,
            "resid_pdrop": 0.0,
            "original_max_position_embeddings": 128,
            "rope_scaling": longrope(8),
        }),
        Architecture::Gemma3 => json!({
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "rope_local_base_freq": 10_000.0,
            "tie_word_embeddings": true,
            "attention_bias": false,
            "query_pre_attn_scalar": 16,
            "sliding_window": TINY_WINDOW,
            "sliding_window_pattern": 3,
            "hidden_activation": "gelu_pytorch_tanh",
            "final_logit_softcapping": null,
            "attn_logit_softcapping": null,
        }),
    }
}

/// Scaling with divisors for so many pairs, which differ from each other.
pub fn longrope(num_pairs: usize) -> Value {
    let factors = |step: f64| (0..num_pairs).map(|pair| 1.0 + step * pair as f64).collect();
    let [short, long]: [Vec<f64>; 2] = [0.125, 1.5].map(factors);
    json!({ "type": "longrope", "short_factor": short, "long_factor": long })
}

/// A size in a configuration; `head_dim` follows from others where it is absent.
pub(super) fn size(config: &Value, key: &str) -> usize {
    match config[key].as_u64() {
        Some(size) => usize::try_from(size).expect("a tiny size"),
        None if key == "head_dim" => {
            size(config, "hidden_size") / size(config, "num_attention_heads")
        }
        None => panic!("`{key}` is missing in {config}"),
    }
}
