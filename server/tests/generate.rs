//! The program as its users run it: what it prints, where, and with which exit code.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::{collections::BTreeSet, process::Output};

use serde_json::Value;

use program::{check_refused, text};

const SCHEMA: &str = "../examples/schemas/character.json";

fn generate(arguments: &[&str], stdin: &str) -> Output {
    program::run(&[&["generate"], arguments].concat(), stdin)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_first_command_of_the_readme_streams_json_that_the_schema_allows() {
    let output = generate(
        &["--device", "auto", "--cpu-devices", "2", "--schema", SCHEMA, "Describe a wizard."],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Lines end after commas, and never before them.
    assert!(!text(&output.stdout).contains("\n,"), "{}", text(&output.stdout));
    let character: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(character["class"], "wizard");
    assert!(character["age"].is_u64() && character["inventory"].is_array(), "{character}");
}

#[test]
fn json_has_the_promised_fields() {
    let output = generate(
        &[
            "--cpu-devices",
            "3",
            "--regex",
            "[a-z]{3,8}",
            "--beams",
            "3",
            "--samples",
            "2",
            "--json",
            "A word:",
        ],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(keys(&report), ["model", "plan", "outputs", "usage", "timings", "ledger", "masks"]);
    let stages = report["plan"]["stages"].as_array().unwrap();
    // A device may hold the first layers and the head: two stages.
    let devices: BTreeSet<&str> =
        stages.iter().map(|stage| stage["device"].as_str().unwrap()).collect();
    assert_eq!(devices.len(), 3);
    let wanted = [
        "device",
        "first_unit",
        "end_unit",
        "first_layer",
        "end_layer",
        "weight_bytes",
        "kv_bytes",
    ];
    for stage in stages {
        assert!(wanted.iter().all(|key| keys(stage).contains(key)), "{stage}");
    }
    let outputs = report["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 2);
    for output in outputs {
        let wanted = ["text", "token_ids", "finish_reason", "score"];
        assert!(wanted.iter().all(|key| keys(output).contains(key)), "{output}");
    }
    let wanted = ["load_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "mask_wait_us"];
    assert!(wanted.iter().all(|key| keys(&report["timings"]).contains(key)), "{report}");
    let ledger = report["ledger"].as_array().unwrap();
    for kind in ["hidden", "order", "ancestors", "mask", "tokens"] {
        let entry = ledger.iter().find(|entry| entry["kind"] == kind).unwrap();
        let wanted = ["kind", "source", "target", "route", "transfers", "bytes", "raw_bytes"];
        assert_eq!(keys(entry), wanted);
        assert_eq!(entry["target"] == "host", kind == "tokens");
    }
}

#[test]
fn log_probabilities_are_printed_with_the_top_tokens() {
    let output = generate(&["--json", "--logprobs", "3", "--max-tokens", "4", "Say hello."], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let output = &report["outputs"][0];
    let tokens = output["tokens"].as_array().unwrap();
    let ids: Vec<&Value> = tokens.iter().map(|token| &token["id"]).collect();
    assert_eq!(ids, output["token_ids"].as_array().unwrap().iter().collect::<Vec<_>>());
    for token in tokens {
        // Greedy: the token is the most likely of the three.
        let top_tokens = token["top_tokens"].as_array().unwrap();
        assert_eq!((top_tokens.len(), &top_tokens[0]["id"]), (3, &token["id"]), "{token}");
        let log = |token: &Value| token["log_probability"].as_f64().unwrap();
        assert!(log(&top_tokens[0]) >= log(&top_tokens[1]) && log(token) <= 0.0, "{token}");
        assert_eq!(log(&top_tokens[0]).to_bits(), log(token).to_bits());
    }
    let words: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(output["text"], words);
}

#[test]
fn a_timeline_of_the_run_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let drawing = folder.path().join("out.svg");
    let name = drawing.to_str().unwrap();
    let arguments = ["--cpu-devices", "2", "--max-tokens", "4", "--timeline", name, "Hello"];
    let output = generate(&arguments, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let svg = std::fs::read_to_string(drawing).unwrap();
    let wanted = ["stage 0 (cpu:0)", "stage 1 (cpu:1)", "host", "microbatch 4: compute"];
    assert!(wanted.iter().all(|words| svg.contains(words)), "{svg}");
    check(&["--timeline", "out.txt", "x"], 2, &["--timeline", ".svg"]);
    check(&["--timeline", "/no/such/folder/out.svg", "--max-tokens", "1", "x"], 2, &["folder"]);
}

#[test]
fn the_prompt_may_come_from_standard_input() {
    let choices = ["--choice", "Paris", "--choice", "Berlin"];
    let output =
        generate(&[&choices[..], &["--raw", "-"]].concat(), "The capital of France is the city of");
    assert_eq!(text(&output.stdout).trim(), "Paris", "{}", text(&output.stderr));
}

#[test]
fn the_prompt_is_shown_as_the_model_gets_it() {
    let options = ["--system", "Be brief.", "--show-prompt", "--max-tokens", "1", "Hello"];
    let output = generate(&options, "");
    let shown = text(&output.stderr);
    assert!(output.status.success() && shown.starts_with("--- prompt 1, "), "{shown}");
    let wanted =
        ["<|im_start|>system\nBe brief.<|im_end|>", "user\nHello<|im_end|>", "\n--- ids\n1 "];
    assert!(wanted.iter().all(|words| shown.contains(words)), "{shown}");
}

#[test]
fn options_without_effect_are_warned_of() {
    let output = generate(&["--seed", "3", "--compact", "--max-tokens", "1", "Hello"], "");
    let warnings = text(&output.stderr);
    assert!(output.status.success(), "{warnings}");
    assert!(warnings.contains("--seed has no effect"), "{warnings}");
    assert!(warnings.contains("--compact has no effect"), "{warnings}");
    let drawn = ["--seed", "3", "--temperature", "1", "--max-tokens", "1", "Hello"];
    assert!(text(&generate(&drawn, "").stderr).is_empty());
}

#[track_caller]
fn check(arguments: &[&str], code: i32, wanted: &[&str]) {
    check_refused(&generate(arguments, ""), code, wanted);
}

#[test]
fn wrong_arguments_say_what_is_wrong_and_where() {
    check(&["--logprobs", "3", "a"], 2, &["--logprobs", "--json", "--batch-file"]);
    check(&["--json", "--logprobs", "21", "a"], 2, &["--logprobs", "0..=20"]);
    check(&["--json", "--logprobs", "1", "--beams", "2", "a"], 2, &["--logprobs", "--beams"]);
    check(&["--length-penalty", "1", "a"], 2, &["--beams"]);
    check(&["--device", "gpu", "x"], 2, &["gpu", "auto"]);
    check(&["--device", "cpu:3", "x"], 2, &["cpu:3", "--cpu-devices"]);
    check(&["--device", "cuda", "x"], 2, &["CUDA", "--features cuda"]);
    check(&["--schema", "no-such-file.json", "x"], 2, &["no-such-file.json"]);
    check(&["--schema", "{\"type\": 5}", "x"], 2, &["type"]);
    check(&["--regex", "(", "x"], 2, &["regex"]);
    check(&["--layers", "cpu:0=0..10,cpu:1=12..30", "x"], 2, &["10", "12"]);
    check(&["--model", "no/such/model.gguf", "x"], 2, &["no/such/model.gguf"]);
    check(&["--temperature", "-1", "x"], 2, &["temperature"]);
    check(&["--max-tokens", "100000", "x"], 2, &["100000", "8192"]);
    let schema = "{\"type\": \"string\", \"minLength\": 99}";
    let short = ["--schema", schema, "--max-tokens", "3", "x"];
    check(&["--output", "out.jsonl", "x"], 2, &["--output", "--batch-file"]);
    check(&short, 2, &["--max-tokens: at most 3 tokens", "wanted at least"]);
    check(&[&["--stop", "x"].repeat(17), &["x"][..]].concat(), 2, &["--stop: wanted at most 16"]);
}

#[test]
fn a_model_that_does_not_fit_says_how_much_is_missing_and_where() {
    let wanted = ["found 10.0 MiB of ", "missing at least", "--max-memory"];
    check(&["--max-memory", "cpu:0=10MiB", "x"], 1, &wanted);
}

#[test]
fn a_model_that_cannot_be_read_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.gguf");
    std::fs::write(&file, b"GGUF\x03\x00\x00\x00\xff\xff\xff\xff").unwrap();
    check(&["--model", file.to_str().unwrap(), "x"], 1, &["broken.gguf"]);
}
