//! Every fixture that transformers made: windows, scaled positions, tied and untied.

use std::fs;

use serde::Deserialize;
use serde_json::Value;
use sluicegate_model::threads::Threads;
use sluicegate_spec::config::ModelConfig;
use sluicegate_tests::{
    steps::{Pipe, RowInput},
    tiny::{StoredType, TinyModel},
};

use super::compare::{error, open};

/// Far below what an error in one position or one window makes, see the fixtures' own page.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Fixture {
    config: Value,
    /// What transformers writes for the same model.
    config_saved: Value,
    seed: u64,
    tokens: Vec<u32>,
    /// Of the last tokens.
    prefill_logits: Vec<Vec<f32>>,
    decode: Decode,
}

#[derive(Deserialize)]
struct Decode {
    ids: Vec<u32>,
    logits: Vec<Vec<f32>>,
}

fn fixture(name: &str) -> Fixture {
    let path = format!("fixtures/logits/{name}.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A configuration as it is read from a file.
fn read(config: &Value) -> ModelConfig {
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    fs::write(file.path(), config.to_string()).unwrap();
    ModelConfig::from_file(file.path()).unwrap()
}

#[track_caller]
fn check(name: &str) {
    let fixture = fixture(name);
    assert_eq!(read(&fixture.config), read(&fixture.config_saved), "{name}");
    let model = TinyModel::from_config(fixture.config, fixture.seed);
    let files = model.directory(StoredType::F32);
    let (weights, config) = open(&files.files);
    for cuts in [&[][..], &[2, 5]] {
        let mut pipe = Pipe::new(&weights, &config, cuts, 1, &Threads::inline());
        let num = fixture.tokens.len();
        let last = num - fixture.prefill_logits.len()..num;
        let row = RowInput { sequence: 0, past: 0, tokens: &fixture.tokens, logits: last };
        for (got, want) in pipe.forward(&[row]).iter().zip(&fixture.prefill_logits) {
            let error = error(got, want);
            assert!(error <= TOLERANCE, "{name}, prompt: off by {error}");
        }
        for (i, (token, want)) in fixture.decode.ids.iter().zip(&fixture.decode.logits).enumerate()
        {
            let got = pipe.last_logits(&[*token], num + i);
            let error = error(&got, want);
            assert!(error <= TOLERANCE, "{name}, decode step {i}: off by {error}");
        }
    }
}

#[test]
fn llama_equals_transformers() {
    check("llama");
    check("llama_tied");
}

#[test]
fn llama_with_stretched_positions_equals_transformers() {
    check("llama_rope_linear");
    check("llama_rope_llama3");
}

#[test]
fn mistral_equals_transformers_past_its_window() {
    check("mistral_window");
}

#[test]
fn qwen2_equals_transformers_with_and_without_a_window() {
    check("qwen2");
    check("qwen2_window");
}

#[test]
fn qwen3_equals_transformers() {
    check("qwen3");
}

#[test]
fn phi3_equals_transformers_past_its_window() {
    check("phi3_window");
}

#[test]
fn phi3_with_stretched_positions_equals_transformers() {
    check("phi3_longrope");
    check("phi3_shortrope");
}

#[test]
fn gemma2_equals_transformers_past_its_window() {
    check("gemma2");
}

#[test]
fn gemma3_equals_transformers_past_its_window() {
    check("gemma3");
    check("gemma3_rope_linear");
}
