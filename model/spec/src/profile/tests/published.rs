//! Parameter counts of public models, as their cards and weight files have them.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

/// A configuration that is written down for tests.
fn fixture(name: &str) -> PathBuf {
    format!("../../tests/fixtures/configs/{name}.json").into()
}

fn config_of(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// The profile of a configuration with all weights in f32: four bytes for every parameter.
fn in_f32(config: &Value) -> ModelProfile {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config.clone();
    config["torch_dtype"] = json!("float32");
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    ModelProfile::read(directory.path(), Target::CPU).unwrap()
}

fn num_parameters(profile: &ModelProfile) -> u64 {
    total(profile) / 4
}

/// Parameters that one token passes, the whole embedding included.
fn num_active(profile: &ModelProfile) -> u64 {
    let idle = |experts: Experts| (experts.num_experts - experts.num_active) * experts.bytes_each.0;
    let idle: u64 = profile.units.iter().filter_map(|unit| unit.experts).map(idle).sum();
    (total(profile) - idle) / 4
}

#[test]
fn dense_models_have_the_published_number_of_parameters() {
    #[track_caller]
    fn check(name: &str, want: u64) {
        assert_eq!(num_parameters(&in_f32(&config_of(name))), want, "{name}");
    }
    check("llama-3-8b", 8_030_261_248);
    check("llama-3-70b", 70_553_706_496);
    check("llama-3-405b", 405_853_388_800);
    check("mistral-7b", 7_241_732_096);
    check("gemma-2-9b", 9_241_705_984);
    check("gemma-3-270m", 268_098_176);
    check("qwen2.5-7b", 7_615_616_512);
    check("smollm2-135m", 134_515_008);
}

#[test]
fn mixtures_hold_more_parameters_than_a_token_passes() {
    #[track_caller]
    fn check(config: &Value, held: u64, active: u64) {
        let profile = in_f32(config);
        assert_eq!((num_parameters(&profile), num_active(&profile)), (held, active));
    }
    check(&config_of("mixtral-8x7b"), 46_702_792_704, 12_879_925_248);
    check(&config_of("qwen3-30b-a3b"), 30_532_122_624, 3_353_032_704);
    // Qwen1.5-MoE-A2.7B, whose name counts what lies behind the embedding.
    let qwen2_moe = json!({
        "architectures": ["Qwen2MoeForCausalLM"], "hidden_size": 2048, "intermediate_size": 5632,
        "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
        "num_experts": 60, "num_experts_per_tok": 4, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 151_936,
        "max_position_embeddings": 8192, "decoder_sparse_step": 1,
    });
    check(&qwen2_moe, 14_315_784_192, 2_689_173_504);
    let olmoe = json!({
        "architectures": ["OlmoeForCausalLM"], "hidden_size": 2048, "intermediate_size": 1024,
        "num_experts": 64, "num_experts_per_tok": 8, "num_hidden_layers": 16,
        "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 50_304,
        "max_position_embeddings": 4096,
    });
    check(&olmoe, 6_919_161_856, 1_282_017_280);
}

#[test]
fn further_families_have_the_published_number_of_parameters() {
    #[track_caller]
    fn check(changes: &Value, want: u64) {
        let mut config = json!({
            "num_hidden_layers": 32, "hidden_size": 3072, "intermediate_size": 8192,
            "num_attention_heads": 32, "max_position_embeddings": 4096,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        assert_eq!(num_parameters(&in_f32(&config)), want, "{changes}");
    }
    // Phi-3-mini and Phi-4-mini.
    let phi3 = json!({"architectures": ["Phi3ForCausalLM"], "vocab_size": 32_064});
    check(&phi3, 3_821_079_552);
    let phi4 = json!({"architectures": ["Phi3ForCausalLM"], "vocab_size": 200_064,
        "num_attention_heads": 24, "num_key_value_heads": 8, "tie_word_embeddings": true});
    check(&phi4, 3_836_021_760);
    let nemo = json!({"architectures": ["MistralForCausalLM"], "vocab_size": 131_072,
        "num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 14_336,
        "num_key_value_heads": 8, "head_dim": 128});
    check(&nemo, 12_247_782_400);
    let command_r = json!({"architectures": ["CohereForCausalLM"], "vocab_size": 256_000,
        "num_hidden_layers": 40, "hidden_size": 8192, "intermediate_size": 22_528,
        "num_attention_heads": 64});
    check(&command_r, 34_980_831_232);
}

#[test]
fn mixtures_tell_what_is_read_from_what_is_held() {
    let profile = ModelProfile::read(&fixture("mixtral-8x7b"), Target::ACCELERATOR).unwrap();
    let layer = &profile.units[1];
    let experts = layer.experts.unwrap();
    let expert = 3 * 4096 * 14336;
    assert_eq!(experts, Experts { num_experts: 8, num_active: 2, bytes_each: Bytes(2 * expert) });
    let attention = 4096 * (4096 + 1024) * 2;
    let (router, norms) = (8 * 4096, 2 * 4096);
    assert_eq!(layer.read_bytes, Bytes(2 * (attention + router) + 4 * norms));
    assert_eq!(layer.weight_bytes.0, layer.read_bytes.0 + 8 * experts.bytes_each.0);
    assert_eq!(layer.flops_per_token, 2 * (attention + router + 2 * expert));
    assert_eq!(layer.flops_per_position, 4 * 4096);
    assert_eq!(profile.compute, ComputeType::Bf16);
    assert_eq!(profile.hidden_element_bytes, 4, "activations are f32 wherever they are");
    assert_eq!(layer.kv.unwrap().bytes_per_token, Bytes(2 * 1024 * 2));
}

#[test]
fn windows_make_groups() {
    let groups = |name: &str| {
        let profile = ModelProfile::read(&fixture(name), Target::CPU).unwrap();
        let first: Vec<usize> =
            profile.units[1..7].iter().map(|unit| unit.kv.unwrap().group_idx).collect();
        (profile.kv_groups, first)
    };
    let (full, window) = (KvGroup::Full, KvGroup::Window);
    assert_eq!(groups("gemma-2-9b"), (vec![full, window(4096)], vec![1, 0, 1, 0, 1, 0]));
    assert_eq!(groups("gemma-3-270m"), (vec![full, window(512)], vec![1, 1, 1, 1, 1, 0]));
    assert_eq!(groups("mistral-7b"), (vec![window(4096)], vec![0; 6]));
    assert_eq!(groups("mixtral-8x7b"), (vec![full], vec![0; 6]));
    assert_eq!(groups("qwen2.5-7b"), (vec![full], vec![0; 6]));
}
