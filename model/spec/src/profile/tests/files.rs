//! Profiles of files: headers with their sizes, and what is refused.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::*;
use crate::gguf::writer::Writer;

/// A small Mixtral with `changes` on top; null takes a key away.
fn config(changes: &Value) -> Value {
    let mut config = json!({
        "architectures": ["MixtralForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "vocab_size": 100, "max_position_embeddings": 512, "num_local_experts": 4,
        "num_experts_per_tok": 2, "torch_dtype": "float16",
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn directory(config: &Value) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.json"), config.to_string()).unwrap();
    directory
}

fn good(changes: &Value) -> ModelProfile {
    ModelProfile::read(directory(&config(changes)).path(), Target::CPU).unwrap()
}

#[track_caller]
fn refused(changes: &Value, wanted: &[&str]) {
    let directory = directory(&config(changes));
    let error = ModelProfile::read(directory.path(), Target::CPU).expect_err("a bad configuration");
    let error = error.to_string();
    for part in ["config.json"].iter().chain(wanted) {
        assert!(error.contains(part), "{changes}: wanted {part:?} in {error:?}");
    }
}

/// The header of a safetensors file, with nothing behind it.
fn safetensors(tensors: &[(&str, &str, &[u64], u64)]) -> Vec<u8> {
    let mut header = Map::new();
    let mut start = 0;
    for (name, dtype, shape, num_bytes) in tensors {
        let end = start + num_bytes;
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]});
        header.insert((*name).to_owned(), entry);
        start = end;
    }
    let header = Value::Object(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

#[test]
fn bad_configurations_name_file_and_key() {
    let layers = "num_hidden_layers";
    let bounds = "wanted 1 to 1024";
    refused(&json!({layers: 1_000_000_000}), &["`num_hidden_layers`", bounds, "1000000000"]);
    refused(&json!({layers: u64::MAX}), &["`num_hidden_layers`", bounds]);
    refused(&json!({layers: 0}), &["`num_hidden_layers`", bounds, "found 0"]);
    refused(&json!({layers: -3}), &["`num_hidden_layers`", "non-negative", "-3"]);
    refused(&json!({layers: 2.5}), &["`num_hidden_layers`", "whole number", "2.5"]);
    refused(&json!({layers: "two"}), &["`num_hidden_layers`", "whole number"]);
    refused(&json!({layers: null}), &["`num_hidden_layers` is missing"]);
    refused(&json!({"hidden_size": 1e300}), &["`hidden_size`", "whole number"]);
    refused(
        &json!({"hidden_size": 66}),
        &["`num_attention_heads`", "a divisor of the hidden size"],
    );
    refused(&json!({"num_key_value_heads": 3}), &["`num_attention_heads`", "a multiple of the 3"]);
    refused(&json!({"num_key_value_heads": 8}), &["`num_key_value_heads`", "1 to 4"]);
    refused(&json!({"num_attention_heads": 0}), &["`num_attention_heads`", "1 to 4096"]);
    refused(&json!({"vocab_size": 0}), &["`vocab_size`", "1 to 4194304"]);
    refused(&json!({"num_local_experts": null}), &["`num_local_experts` is missing"]);
    refused(&json!({"num_experts_per_tok": 5}), &["`num_experts_per_tok`", "1 to 4", "found 5"]);
    refused(&json!({"torch_dtype": "float8_e4m3fn"}), &["`torch_dtype`", "bfloat16", "float8"]);
    refused(&json!({"sliding_window": 0}), &["`sliding_window`", "1 to"]);
    refused(
        &json!({"architectures": ["DeepseekV3ForCausalLM"]}),
        &["`architectures`", "LlamaForCausalLM", "CohereForCausalLM", "DeepseekV3ForCausalLM"],
    );
    refused(&json!({"architectures": null}), &["`architectures` is missing"]);
    refused(&json!({"architectures": null, "model_type": "t5"}), &["`model_type`", "t5"]);
}

#[test]
fn paths_that_hold_no_model_are_refused() {
    #[track_caller]
    fn check(path: &Path, want: &str) {
        let error = ModelProfile::read(path, Target::CPU).expect_err("no model").to_string();
        assert!(error.contains(want), "wanted {want:?} in {error:?}");
        assert!(error.contains(path.to_str().unwrap()), "no file name in {error:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    check(directory.path(), "config.json");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    check(&file("a.bin", b"{}"), "wanted a .gguf or .json file, or a directory");
    check(&file("a.json", b"[1]"), "not valid JSON");
    check(&file("b.json", b"{}"), "`architectures` is missing");
    check(&file("a.gguf", b"{}"), "truncated");
    check(&file("b.gguf", &[7; 64]), "magic");
    check(Path::new("/dev/zero"), "wanted a .gguf or .json file");
    check(&directory.path().join("none.json"), "cannot read");
}

#[test]
fn sparse_layers_follow_their_keys() {
    let moe = |changes: &Value| {
        let mut all = json!({
            "architectures": ["Qwen3MoeForCausalLM"], "num_local_experts": null, "head_dim": 16,
            "num_experts": 4, "moe_intermediate_size": 32, "num_hidden_layers": 6,
        });
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let profile = good(&all);
        let layers = &profile.units[1..7];
        layers.iter().map(|unit| u8::from(unit.experts.is_some())).collect::<Vec<u8>>()
    };
    assert_eq!(moe(&json!({})), [1; 6]);
    assert_eq!(moe(&json!({"decoder_sparse_step": 2})), [0, 1, 0, 1, 0, 1]);
    assert_eq!(moe(&json!({"mlp_only_layers": [0, 4]})), [0, 1, 1, 1, 0, 1]);
}

#[test]
fn quantised_weights_shrink_the_matrices_of_layers() {
    let expert = |quantization: &Value| {
        let profile = good(&json!({"quantization_config": quantization}));
        assert_eq!(profile.units[0].weight_bytes, Bytes(100 * 64 * 2));
        assert_eq!(profile.units[3].weight_bytes, Bytes(100 * 64 * 2 + 64 * 4));
        profile.units[1].experts.unwrap().bytes_each.0
    };
    let rows = 3 * 128;
    assert_eq!(expert(&Value::Null), rows * 64 * 2);
    let gptq = json!({"quant_method": "gptq", "bits": 4, "group_size": 32});
    assert_eq!(expert(&gptq), rows * (64 * 4 + 2 * 20) / 8);
    let awq = json!({"quant_method": "awq", "w_bit": 4, "group_size": -1});
    assert_eq!(expert(&awq), rows * (64 * 4 + 20) / 8);
    let four = json!({"quant_method": "bitsandbytes", "load_in_4bit": true});
    assert_eq!(expert(&four), rows * (64 * 4 + 32) / 8);
    assert_eq!(expert(&json!({"quant_method": "fp8"})), rows * (64 + 4));
    let weights = json!({"num_bits": 8, "group_size": null});
    let tensors = json!({"quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights}}});
    assert_eq!(expert(&tensors), rows * (64 + 2));

    refused(
        &json!({"quantization_config": {"quant_method": "magic"}}),
        &["`quantization_config.quant_method`", "awq, gptq", "magic"],
    );
    refused(
        &json!({"quantization_config": {"quant_method": "gptq", "bits": 0}}),
        &["`quantization_config.bits`", "2 to 8"],
    );
    refused(
        &json!({"quantization_config": {}}),
        &["`quantization_config.quant_method` is missing"],
    );
}

#[test]
fn headers_next_to_a_configuration_refine_sizes() {
    let layer = "model.layers.0.";
    let name = |part: &str| format!("{layer}{part}");
    let (norm, packed) = (name("input_layernorm.weight"), name("self_attn.q_proj.qweight"));
    let expert = name("block_sparse_moe.experts.0.w1.weight");
    let header = safetensors(&[
        ("model.embed_tokens.weight", "BF16", &[100, 64], 12_800),
        (&norm, "BF16", &[64], 128),
        (&packed, "I32", &[64, 8], 2048),
        (&expert, "F8_E4M3", &[128, 64], 8192),
        ("vision_tower.layers.0.weight", "F32", &[8, 8], 256),
        ("lm_head.weight", "BF16", &[100, 64], 12_800),
    ]);
    let directory = directory(&config(&json!({"tie_word_embeddings": true})));
    fs::write(directory.path().join("model.safetensors"), &header).unwrap();
    let profile = ModelProfile::read(directory.path(), Target::CPU).unwrap();
    let layer = &profile.units[1];
    assert_eq!(layer.read_bytes, Bytes(64 * 4 + 2048));
    assert_eq!(layer.experts.unwrap().bytes_each, Bytes(8192 / 4));
    assert_eq!(layer.weight_bytes, Bytes(64 * 4 + 2048 + 8192));
    assert_eq!(profile.units[0].weight_bytes, Bytes(12_800));
    // Of the second layer and the head's norm the header says nothing; the head is the embedding.
    assert_eq!(profile.units[2].experts.unwrap().bytes_each, Bytes(3 * 128 * 64 * 2));
    assert_eq!(profile.units[3].weight_bytes, Bytes(64 * 4));

    // Under another name the configuration may be of another model.
    let other = directory.path().join("other.json");
    fs::copy(directory.path().join("config.json"), &other).unwrap();
    let by_shape = ModelProfile::read(&other, Target::CPU).unwrap();
    assert_eq!(by_shape.units[1].experts.unwrap().bytes_each, Bytes(3 * 128 * 64 * 2));

    // An index whose files are not all there is of no use.
    let index = json!({"weight_map": {"a": "model.safetensors", "b": "missing.safetensors"}});
    let path = directory.path().join("model.safetensors.index.json");
    fs::write(&path, index.to_string()).unwrap();
    assert_eq!(ModelProfile::read(directory.path(), Target::CPU).unwrap(), by_shape);
    fs::remove_file(path).unwrap();

    fs::write(directory.path().join("model.safetensors"), &header[..40]).unwrap();
    let error = ModelProfile::read(directory.path(), Target::CPU).unwrap_err().to_string();
    assert!(error.contains("model.safetensors: truncated"), "{error}");
}

/// A Mixtral in GGUF of `Q8_0` and f32, with no data.
fn mixtral_gguf() -> Writer {
    let mut writer = Writer::default()
        .text("general.architecture", "llama")
        .u32("llama.block_count", 1)
        .u32("llama.context_length", 512)
        .u32("llama.embedding_length", 64)
        .u32("llama.feed_forward_length", 128)
        .u32("llama.attention.head_count", 4)
        .u32("llama.attention.head_count_kv", 2)
        .u32("llama.expert_count", 4)
        .u32("llama.expert_used_count", 2)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    let (f32s, q8_0) = (0, 8);
    for (name, shape, kind) in [
        ("token_embd.weight", &[100, 64][..], q8_0),
        ("output.weight", &[100, 64], q8_0),
        ("output_norm.weight", &[64], f32s),
        ("blk.0.attn_norm.weight", &[64], f32s),
        ("blk.0.ffn_norm.weight", &[64], f32s),
        ("blk.0.attn_q.weight", &[64, 64], q8_0),
        ("blk.0.attn_k.weight", &[32, 64], q8_0),
        ("blk.0.attn_v.weight", &[32, 64], q8_0),
        ("blk.0.attn_output.weight", &[64, 64], q8_0),
        ("blk.0.ffn_gate_inp.weight", &[4, 64], f32s),
        ("blk.0.ffn_gate_exps.weight", &[4, 128, 64], q8_0),
        ("blk.0.ffn_up_exps.weight", &[4, 128, 64], q8_0),
        ("blk.0.ffn_down_exps.weight", &[4, 64, 128], q8_0),
    ] {
        writer = writer.tensor_entry(name, shape, kind, 1 << 40);
    }
    writer
}

#[test]
fn a_gguf_header_is_enough() {
    let header = mixtral_gguf().header();
    let file = crate::gguf::writer::save(&header);
    let profile = ModelProfile::read(file.path(), Target::ACCELERATOR).unwrap();
    let q8_0 = |weights: u64| weights / 32 * 34;
    let shared = q8_0(2 * 64 * 64 + 2 * 32 * 64) + 4 * (4 * 64 + 2 * 64);
    let layer = &profile.units[1];
    assert_eq!(layer.read_bytes, Bytes(shared));
    let experts = layer.experts.unwrap();
    assert_eq!((experts.num_experts, experts.num_active), (4, 2));
    assert_eq!(experts.bytes_each, Bytes(q8_0(3 * 64 * 128)));
    assert_eq!(layer.flops_per_token, 2 * (2 * 64 * 64 + 2 * 32 * 64 + 4 * 64 + 2 * 3 * 64 * 128));
    assert_eq!(profile.units[2].weight_bytes, Bytes(q8_0(6400) + 256));
    assert_eq!((profile.compute, profile.tied_embedding_bytes), (ComputeType::F16, Bytes(0)));
    for end in [3, 20, 200, header.len() - 1] {
        let file = crate::gguf::writer::save(&header[..end]);
        let error = ModelProfile::read(file.path(), Target::CPU).unwrap_err().to_string();
        assert!(error.contains("truncated"), "{end}: {error}");
    }
}

#[test]
fn bad_gguf_headers_name_the_key() {
    #[track_caller]
    fn check(writer: &Writer, wanted: &[&str]) {
        let file = crate::gguf::writer::save(&writer.header());
        let error = ModelProfile::read(file.path(), Target::CPU).expect_err("a bad header");
        let error = error.to_string();
        for part in wanted.iter().copied().chain(file.path().to_str()) {
            assert!(error.contains(part), "wanted {part:?} in {error:?}");
        }
    }
    let without = |key: &str| {
        let mut writer = mixtral_gguf();
        writer.entries.retain(|entry| !entry.windows(key.len()).any(|it| it == key.as_bytes()));
        writer
    };
    let block_count = |count| without("block_count").u32("llama.block_count", count);
    check(&without("block_count"), &["`llama.block_count` is missing"]);
    check(&block_count(1_000_000_000), &["`llama.block_count`", "1 to 1024", "1000000000"]);
    check(&block_count(2), &["`tensors of layer 1` is missing"]);
    check(&without("used_count"), &["`llama.expert_used_count` is missing"]);
    check(
        &without("general").text("general.architecture", "deepseek2"),
        &["`general.architecture`", "llama, qwen2", "command-r", "deepseek2"],
    );
    let unknown = without("ffn_norm").tensor_entry("blk.0.attn_gate.weight", &[64], 99, 0);
    check(&unknown, &["tensor `blk.0.attn_gate.weight`", "found type 99"]);
}

#[test]
fn a_split_model_costs_what_its_files_hold() {
    let whole = crate::gguf::writer::save(&mixtral_gguf().header());
    let wanted = ModelProfile::read(whole.path(), Target::CPU).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |number: usize| folder.path().join(format!("m-0000{number}-of-00002.gguf"));
    let all = mixtral_gguf();
    // What is of no use to the model has no size that is known.
    let mut second = Writer::default().tensor_entry("rope.unheard", &[0], 99, 0);
    let mut first = all.clone();
    second.tensors.extend(first.tensors.split_off(5));
    for (number, writer) in [(0, first), (1, second)] {
        let writer = writer.u32("split.count", 2).u32("split.no", number);
        fs::write(path(number as usize + 1), writer.header()).unwrap();
    }
    for given in 1..=2 {
        assert_eq!(ModelProfile::read(&path(given), Target::CPU).unwrap(), wanted);
    }
    fs::remove_file(path(2)).unwrap();
    let error = ModelProfile::read(&path(1), Target::CPU).unwrap_err().to_string();
    assert!(error.contains("m-00002-of-00002.gguf is missing"), "{error}");
}

#[test]
fn an_unneeded_tensor_of_any_type_does_not_block_a_plan() {
    let writer = mixtral_gguf().tensor_entry("v.patch", &[2, 0], 28, 0);
    let file = crate::gguf::writer::save(&writer.header());
    assert!(ModelProfile::read(file.path(), Target::CPU).is_ok());
}

#[test]
fn a_git_lfs_pointer_beside_a_configuration_is_named_as_one() {
    let directory = directory(&config(&json!({})));
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 917386\n";
    fs::write(directory.path().join("model.safetensors"), pointer).unwrap();
    let error = ModelProfile::read(directory.path(), Target::CPU).unwrap_err().to_string();
    assert!(error.contains("model.safetensors is a Git LFS pointer"), "{error}");
}

#[test]
fn a_long_header_is_read_in_steps() {
    // Longer than what is mapped at first, and ending in the second step.
    let text = "x".repeat(3 << 20);
    let file = crate::gguf::writer::save(&mixtral_gguf().text("a.b", &text).header());
    assert!(ModelProfile::read(file.path(), Target::CPU).is_ok());
}
