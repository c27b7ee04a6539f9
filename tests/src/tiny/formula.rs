//! The weights' formula.

use serde_json::Value;

use super::config::size;
use crate::draws::{GOLDEN, splitmix64};

/// A weight of a tiny model.
#[derive(Debug, Clone)]
pub struct TinyTensor {
    /// Its name in a safetensors file.
    pub name: String,
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// All weights of a configuration.
pub(super) fn tensors(config: &Value, seed: u64) -> Vec<TinyTensor> {
    let is_gemma = is_gemma(config["model_type"].as_str().unwrap_or_default());
    shapes(config)
        .into_iter()
        .map(|(name, shape)| {
            let values = values(&name, &shape, seed, is_gemma);
            TinyTensor { name, shape, values }
        })
        .collect()
}

fn values(name: &str, shape: &[usize], seed: u64, is_gemma: bool) -> Vec<f32> {
    let fan_in = shape[shape.len() - 1] as f64;
    let (center, factor) = if name == "model.embed_tokens.weight" {
        (0.0, 1.0)
    } else if name.strip_suffix(".bias").is_some() {
        (0.0, 0.1)
    } else if shape.len() == 2 {
        (0.0, (3.0 / fan_in).sqrt())
    } else {
        (if is_gemma { 0.0 } else { 1.0 }, 0.1)
    };
    let start = fnv1a64(name.as_bytes()) ^ seed.wrapping_mul(GOLDEN);
    (0..shape.iter().product::<usize>() as u64)
        .map(|i| {
            let bits = splitmix64(start.wrapping_add(i)) >> 40;
            let unit = bits as f64 / f64::from(1 << 24) * 2.0 - 1.0;
            #[expect(clippy::cast_possible_truncation, reason = "the formula rounds to f32")]
            let value = (center + unit * factor) as f32;
            value
        })
        .collect()
}

fn is_gemma(model_type: &str) -> bool {
    matches!(model_type, "gemma2" | "gemma3_text")
}

/// Source: the FNV page of Fowler, Noll and Vo, 64-bit FNV-1a.
fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn shapes(config: &Value) -> Vec<(String, Vec<usize>)> {
    let [hidden, intermediate, vocab, head_dim] =
        ["hidden_size", "intermediate_size", "vocab_size", "head_dim"].map(|key| size(config, key));
    let queries = size(config, "num_attention_heads") * head_dim;
    let keys = size(config, "num_key_value_heads") * head_dim;
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let mut layer = vec![
        ("input_layernorm.weight", vec![hidden]),
        ("self_attn.o_proj.weight", vec![hidden, queries]),
        ("post_attention_layernorm.weight", vec![hidden]),
        ("mlp.down_proj.weight", vec![hidden, intermediate]),
    ];
    layer.extend(match model_type {
        "phi3" => vec![
            ("self_attn.qkv_proj.weight", vec![queries + 2 * keys, hidden]),
            ("mlp.gate_up_proj.weight", vec![2 * intermediate, hidden]),
        ],
        _ => vec![
            ("self_attn.q_proj.weight", vec![queries, hidden]),
            ("self_attn.k_proj.weight", vec![keys, hidden]),
            ("self_attn.v_proj.weight", vec![keys, hidden]),
            ("mlp.gate_proj.weight", vec![intermediate, hidden]),
            ("mlp.up_proj.weight", vec![intermediate, hidden]),
        ],
    });
    match model_type {
        "qwen2" => layer.extend([
            ("self_attn.q_proj.bias", vec![queries]),
            ("self_attn.k_proj.bias", vec![keys]),
            ("self_attn.v_proj.bias", vec![keys]),
        ]),
        "qwen3" | "gemma3_text" => layer.extend([
            ("self_attn.q_norm.weight", vec![head_dim]),
            ("self_attn.k_norm.weight", vec![head_dim]),
        ]),
        _ => {}
    }
    if is_gemma(model_type) {
        layer.extend([
            ("pre_feedforward_layernorm.weight", vec![hidden]),
            ("post_feedforward_layernorm.weight", vec![hidden]),
        ]);
    }
    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![vocab, hidden])];
    for layer_idx in 0..size(config, "num_hidden_layers") {
        let named = |(name, shape): &(&str, Vec<usize>)| {
            (format!("model.layers.{layer_idx}.{name}"), shape.clone())
        };
        shapes.extend(layer.iter().map(named));
    }
    shapes.push(("model.norm.weight".to_owned(), vec![hidden]));
    if config["tie_word_embeddings"] != true {
        shapes.push(("lm_head.weight".to_owned(), vec![vocab, hidden]));
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_published_ones() {
        assert_eq!(fnv1a64(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a64(b"foobar"), 0x8594_4171_F739_67E8);
    }
}
