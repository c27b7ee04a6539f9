//! Configurations of every family from both formats, and refused ones.

mod phi3;

use serde_json::{Value, json};

use super::*;
use crate::gguf::writer::Writer;

fn read_hub(config: &Value, generation: Option<&Value>) -> Result<ModelConfig, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    if let Some(generation) = generation {
        let file = directory.path().join("generation_config.json");
        std::fs::write(file, generation.to_string()).unwrap();
    }
    ModelConfig::read(&ModelFiles::Directory(directory.path().to_owned()))
}

/// A small Llama with `changes` on top; null takes a key away.
fn hub(changes: &Value) -> Value {
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2,
        "vocab_size": 100, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "rope_theta": 5e5, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

#[track_caller]
fn good(changes: &Value) -> ModelConfig {
    read_hub(&hub(changes), None).unwrap()
}

#[track_caller]
fn refused(changes: &Value, wanted: &[&str]) {
    let error = read_hub(&hub(changes), None).expect_err("a bad configuration was read");
    let error = error.to_string();
    for part in ["config.json"].iter().chain(wanted) {
        assert!(error.contains(part), "{changes}: wanted {part:?} in {error:?}");
    }
}

const NONE: RopeScaling = RopeScaling::None;

#[test]
fn llama_is_read_with_its_defaults() {
    let config = good(&json!({}));
    let rope = Rope::new(5e5, NONE);
    let wanted = ModelConfig {
        architecture: Architecture::Llama,
        num_layers: 4,
        hidden: 64,
        intermediate: 128,
        num_heads: 8,
        num_kv_heads: 2,
        head_dim: 8,
        vocab: 100,
        max_positions: 512,
        norm_eps: 1e-5,
        attention_scale: 8f64.powf(-0.5),
        score_cap: None,
        logit_cap: None,
        rope,
        local_rope: None,
        windows: vec![None; 4],
        tied: false,
        bos: Some(1),
        eos: vec![2],
    };
    assert_eq!(config, wanted);
    let config = good(&json!({"num_key_value_heads": null, "rope_theta": null, "head_dim": 10}));
    assert_eq!((config.num_kv_heads, config.head_dim), (8, 10));
    assert_eq!((config.rope.theta, config.attention_scale), (1e4, 10f64.powf(-0.5)));
}

#[test]
fn both_spellings_of_rope_are_read() {
    let llama3 = json!({"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192});
    let wanted = RopeScaling::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_positions: 8192,
    };
    assert_eq!(good(&json!({"rope_scaling": llama3})).rope.scaling, wanted);
    let mut newer = llama3;
    newer["rope_theta"] = json!(7e5);
    let config = good(&json!({"rope_theta": null, "rope_parameters": newer}));
    assert_eq!(config.rope, Rope::new(7e5, wanted));
    let linear = good(&json!({"rope_scaling": {"type": "linear", "factor": 4}}));
    assert_eq!(linear.rope.scaling, RopeScaling::Linear { factor: 4.0 });
    assert_eq!(good(&json!({"rope_scaling": {"rope_type": "default"}})).rope.scaling, NONE);
}

#[test]
fn windows_follow_the_family() {
    let windows = |changes: Value| good(&changes).windows;
    let mistral = |window: Value| {
        windows(json!({"architectures": ["MistralForCausalLM"], "sliding_window": window}))
    };
    assert_eq!(mistral(json!(16)), vec![Some(16); 4]);
    assert_eq!(mistral(Value::Null), vec![None; 4]);
    // Without the key the classes have defaults.
    let silent = |class: &str, changes: Value| {
        let mut all = json!({"architectures": [class], "hidden_act": null});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        windows(all)
    };
    assert_eq!(silent("MistralForCausalLM", json!({})), vec![Some(4096); 4]);
    for qwen in ["Qwen2ForCausalLM", "Qwen3ForCausalLM"] {
        assert_eq!(silent(qwen, json!({})), vec![None; 4]);
        let used = json!({"use_sliding_window": true, "max_window_layers": 3});
        assert_eq!(silent(qwen, used), [None, None, None, Some(4096)]);
        let used = json!({"use_sliding_window": true, "max_window_layers": 3,
            "sliding_window": null});
        assert_eq!(silent(qwen, used), vec![None; 4]);
    }
    let types = json!({"layer_types": ["full_attention", "sliding_attention", "full_attention",
        "full_attention"]});
    assert_eq!(silent("Gemma3ForCausalLM", types), [None, Some(4096), None, None]);
    assert_eq!(windows(json!({"sliding_window": 16})), vec![None; 4]);
    let qwen = |is_used: bool| {
        windows(json!({"architectures": ["Qwen2ForCausalLM"], "sliding_window": 16,
            "use_sliding_window": is_used, "max_window_layers": 3}))
    };
    assert_eq!(qwen(true), [None, None, None, Some(16)]);
    assert_eq!(qwen(false), [None; 4]);
    let gemma = json!({"architectures": ["Gemma3ForCausalLM"], "sliding_window": 16,
        "sliding_window_pattern": 2, "hidden_act": null});
    assert_eq!(windows(gemma), [Some(16), None, Some(16), None]);
    let types = json!({"architectures": ["Gemma3ForCausalLM"], "sliding_window": 16,
        "hidden_act": null, "layer_types": ["full_attention", "sliding_attention",
        "full_attention", "full_attention"]});
    assert_eq!(windows(types), [None, Some(16), None, None]);
}

#[test]
fn families_differ_in_defaults() {
    let qwen3 = good(&json!({"architectures": ["Qwen3ForCausalLM"]}));
    assert_eq!((qwen3.architecture, qwen3.head_dim), (Architecture::Qwen3, 128));
    let gemma = good(&json!({"architectures": ["Gemma3ForCausalLM"], "rope_theta": null,
        "query_pre_attn_scalar": 64, "rope_local_base_freq": 20000.0}));
    assert_eq!((gemma.head_dim, gemma.attention_scale, gemma.tied), (256, 0.125, true));
    assert_eq!(gemma.rope, Rope::new(1e6, NONE));
    assert_eq!(gemma.local_rope, Some(Rope::new(2e4, NONE)));
    let newer = good(&json!({"architectures": ["Gemma3ForCausalLM"], "rope_theta": null,
        "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 2e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 3e4}}}));
    assert_eq!(newer.rope, Rope::new(2e6, RopeScaling::Linear { factor: 8.0 }));
    assert_eq!(newer.local_rope, Some(Rope::new(3e4, NONE)));
    let vision = json!({"architectures": ["Gemma3ForConditionalGeneration"],
        "eos_token_id": [1, 106], "text_config": {"hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 7, "sliding_window": 16}});
    let vision = read_hub(&vision, None).unwrap();
    assert_eq!((vision.num_heads, vision.num_kv_heads, vision.vocab), (8, 4, 262_208));
    assert_eq!(vision.windows.iter().filter(|window| window.is_none()).count(), 1);
    assert_eq!((vision.windows[5], vision.eos), (None, vec![1, 106]));
}

#[test]
fn gemma2_caps_scores_and_logits_unless_told_otherwise() {
    let caps = |changes: Value| {
        let mut all = json!({"architectures": ["Gemma2ForCausalLM"], "hidden_act": null});
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let config = good(&all);
        (config.score_cap, config.logit_cap)
    };
    assert_eq!(caps(json!({})), (Some(50.0), Some(30.0)));
    let set = json!({"attn_logit_softcapping": 20.0, "final_logit_softcapping": null});
    assert_eq!(caps(set), (Some(20.0), None));
    let of_27b = good(&json!({"architectures": ["Gemma2ForCausalLM"], "hidden_act": null,
        "query_pre_attn_scalar": 144}));
    assert!((of_27b.attention_scale - 1.0 / 12.0).abs() < 1e-12);
    assert_eq!(of_27b.windows, [Some(4096), None, Some(4096), None]);
}

#[test]
fn the_generation_configuration_names_the_end_tokens() {
    let generation = json!({"eos_token_id": [7, 8], "bos_token_id": 5});
    let config = read_hub(&hub(&json!({})), Some(&generation)).unwrap();
    assert_eq!((config.bos, config.eos), (Some(5), vec![7, 8]));
    let config = read_hub(&hub(&json!({"eos_token_id": null})), None).unwrap();
    assert_eq!(config.eos, Vec::<TokenId>::new());
}

#[test]
fn begin_and_end_tokens_beyond_the_embedding_are_left_out() {
    let config = good(&json!({"eos_token_id": [2, 99, 100], "bos_token_id": 100}));
    assert_eq!((config.bos, config.eos), (None, vec![2, 99]));
    assert!(good(&json!({"eos_token_id": 100})).eos.is_empty());
}

#[test]
fn a_git_lfs_pointer_is_no_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 700\n";
    std::fs::write(directory.path().join("config.json"), pointer).unwrap();
    let error = ModelConfig::from_directory(directory.path()).unwrap_err().to_string();
    assert!(error.contains("config.json is a Git LFS pointer"), "{error}");
}

#[test]
fn bad_hub_configurations_are_refused_by_key() {
    refused(&json!({"architectures": ["PhiForCausalLM"]}), &["`PhiForCausalLM`", "Qwen3"]);
    refused(&json!({"architectures": ["MixtralForCausalLM"]}), &["`MixtralForCausalLM`"]);
    refused(&json!({"architectures": null}), &["`architectures` is missing"]);
    refused(&json!({"hidden_size": null}), &["`hidden_size` is missing"]);
    refused(&json!({"hidden_size": "64"}), &["`hidden_size`", "whole number", "\"64\""]);
    refused(&json!({"hidden_size": -64}), &["`hidden_size`", "found -64"]);
    refused(&json!({"hidden_size": 63}), &["`num_attention_heads`", "a divisor"]);
    refused(&json!({"hidden_size": 1u64 << 60, "head_dim": 8}), &["`hidden size`", "1 to 131072"]);
    refused(&json!({"num_hidden_layers": 0}), &["`layers`", "1 to 1024", "found 0"]);
    refused(&json!({"num_hidden_layers": u64::MAX}), &["`num_hidden_layers`", "1 to 1024"]);
    refused(&json!({"num_attention_heads": 0}), &["`num_attention_heads`"]);
    refused(&json!({"num_key_value_heads": 3}), &["a multiple of the 3", "found 8"]);
    refused(&json!({"num_key_value_heads": 0}), &["`key-value heads`", "found 0"]);
    refused(&json!({"head_dim": 7}), &["`head size`", "an even number"]);
    refused(&json!({"vocab_size": 1u64 << 40}), &["`vocabulary`", "1 to 4194304"]);
    refused(&json!({"eos_token_id": [-1]}), &["`eos_token_id`", "token ids"]);
    refused(&json!({"rms_norm_eps": 0}), &["`norm epsilon`"]);
    refused(&json!({"rope_theta": -1}), &["`rope theta`"]);
    refused(&json!({"rope_scaling": {"rope_type": "yarn"}}), &["rope_scaling.rope_type", "yarn"]);
    refused(&json!({"rope_scaling": {"type": "dynamic"}}), &["rope_scaling.type", "linear"]);
    refused(&json!({"rope_scaling": {"type": "linear"}}), &["rope_scaling.factor", "missing"]);
    refused(&json!({"rope_scaling": {"type": "linear", "factor": 0}}), &["`rope factor`"]);
    refused(&json!({"attention_bias": true}), &["`attention_bias`", "false"]);
    refused(&json!({"mlp_bias": true}), &["`mlp_bias`"]);
    refused(&json!({"hidden_act": "gelu"}), &["`hidden_act`", "silu"]);
    refused(&json!({"num_local_experts": 8}), &["`num_local_experts`", "experts"]);
    refused(&json!({"quantization_config": {"bits": 4}}), &["`quantization_config`"]);
    refused(&json!({"partial_rotary_factor": 0.5}), &["`partial_rotary_factor`"]);
    let gemma = |key: &str, value: Value| {
        let mut changes = json!({"architectures": ["Gemma3ForCausalLM"], "hidden_act": null});
        changes[key] = value;
        changes
    };
    refused(&gemma("final_logit_softcapping", json!(30.0)), &["`final_logit_softcapping`"]);
    refused(&gemma("query_pre_attn_scalar", json!(0)), &["`attention scale`"]);
    refused(&gemma("layer_types", json!(["full_attention"])), &["`layer_types`", "4 entries"]);
    refused(&gemma("layer_types", json!(["a", "a", "a", "a"])), &["`layer_types`"]);
    refused(&gemma("sliding_window_pattern", json!(0)), &["`sliding_window_pattern`"]);
    refused(&gemma("sliding_window", json!(0)), &["`sliding window`"]);
    let directory = tempfile::tempdir().unwrap();
    let files = ModelFiles::Directory(directory.path().to_owned());
    assert!(matches!(ModelConfig::read(&files), Err(ConfigError::Io { .. })));
    std::fs::write(directory.path().join("config.json"), "[1]").unwrap();
    assert!(matches!(ModelConfig::read(&files), Err(ConfigError::Json { .. })));
}

/// A small file of an architecture; later entries of the same key would be duplicates.
fn gguf(architecture: &str, changes: impl FnOnce(Writer) -> Writer) -> Writer {
    let key = |name: &str| format!("{architecture}.{name}");
    let writer = Writer::default()
        .text("general.architecture", architecture)
        .u32(&key("embedding_length"), 64)
        .u32(&key("feed_forward_length"), 128)
        .u32(&key("context_length"), 512)
        .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
        .f32(&key("rope.freq_base"), 5e5)
        .u32("tokenizer.ggml.bos_token_id", 1)
        .u32("tokenizer.ggml.eos_token_id", 2)
        .u32("tokenizer.ggml.eot_token_id", 3);
    changes(writer)
}

fn heads(writer: Writer, architecture: &str, layers: u32) -> Writer {
    writer
        .u32(&format!("{architecture}.block_count"), layers)
        .u32(&format!("{architecture}.attention.head_count"), 8)
        .u32(&format!("{architecture}.attention.head_count_kv"), 2)
        .f32_tensor("token_embd.weight", &[10, 64], &[0.0; 640])
}

fn read_gguf(writer: &Writer) -> Result<ModelConfig, ConfigError> {
    ModelConfig::read(&ModelFiles::Gguf(writer.save().path().to_owned()))
}

#[test]
fn gguf_metadata_are_read() {
    let writer = gguf("llama", |writer| {
        heads(writer, "llama", 4).f32_tensor("rope_freqs.weight", &[4], &[1.0, 1.0, 2.0, 8.0])
    });
    let config = read_gguf(&writer).unwrap();
    assert_eq!((config.architecture, config.num_layers), (Architecture::Llama, 4));
    assert_eq!((config.num_heads, config.num_kv_heads, config.head_dim), (8, 2, 8));
    assert_eq!((config.vocab, config.tied), (10, true));
    assert_eq!((config.bos, config.eos), (Some(1), vec![2, 3]));
    assert_eq!(config.rope.scaling, RopeScaling::Factors(vec![1.0, 1.0, 2.0, 8.0]));
    assert_eq!(config.windows, vec![None; 4]);
    let writer = gguf("gemma3", |writer| {
        heads(writer, "gemma3", 7)
            .u32("gemma3.attention.key_length", 16)
            .u32("gemma3.attention.sliding_window", 8)
            .text("gemma3.rope.scaling.type", "linear")
            .f32("gemma3.rope.scaling.factor", 8.0)
            .f32_tensor("output.weight", &[10, 64], &[0.0; 640])
    });
    let config = read_gguf(&writer).unwrap();
    assert_eq!((config.head_dim, config.attention_scale, config.tied), (16, 0.25, false));
    assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 8.0 });
    assert_eq!(config.local_rope, Some(Rope::new(1e4, NONE)));
    let full: Vec<usize> = (0..7).filter(|layer| config.windows[*layer].is_none()).collect();
    assert_eq!(full, [5]);
}

#[test]
fn bad_gguf_metadata_are_refused_by_key() {
    let check = |writer: &Writer, wanted: &[&str]| {
        let error = read_gguf(writer).expect_err("bad metadata were read").to_string();
        for part in wanted {
            assert!(error.contains(part), "wanted {part:?} in {error:?}");
        }
    };
    let llama = |changes: fn(Writer) -> Writer| gguf("llama", changes);
    check(&Writer::default(), &["`general.architecture` is missing"]);
    check(&gguf("mamba", |writer| writer), &["`mamba`", "gemma3"]);
    check(&llama(|writer| writer), &["`llama.block_count` is missing"]);
    check(&llama(|writer| heads(writer, "llama", 0)), &["`llama.block_count`", "1 to 1024"]);
    check(&llama(|writer| heads(writer, "llama", u32::MAX)), &["`llama.block_count`"]);
    check(
        &llama(|writer| heads(writer, "llama", 4).u32("llama.rope.dimension_count", 4)),
        &["`llama.rope.dimension_count`", "the head size 8", "found 4"],
    );
    check(
        &llama(|writer| heads(writer, "llama", 4).u32("llama.expert_count", 8)),
        &["`llama.expert_count`", "found 8"],
    );
    check(
        &llama(|writer| heads(writer, "llama", 4).text("llama.rope.scaling.type", "yarn")),
        &["`llama.rope.scaling.type`", "yarn"],
    );
    check(
        &llama(|writer| heads(writer, "llama", 4).f32_tensor("rope_freqs.weight", &[3], &[1.0; 3])),
        &["`rope_freqs.weight`", "F32 [4]", "[3]"],
    );
    check(
        &llama(|writer| {
            writer
                .u32("llama.block_count", 4)
                .i32s("llama.attention.head_count", &[8, 8, 8, 8])
                .f32_tensor("token_embd.weight", &[10, 64], &[0.0; 640])
        }),
        &["`llama.attention.head_count`", "an array of 4"],
    );
    check(
        &llama(|writer| {
            writer.u32("llama.block_count", 4).u32("llama.attention.head_count", 8).f32_tensor(
                "token_embd.weight",
                &[10, 32],
                &[0.0; 320],
            )
        }),
        &["`token_embd.weight`", "width 64", "[10, 32]"],
    );
}
