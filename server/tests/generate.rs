//! The program as its users run it: what it prints, where, and with which exit code.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn schema() -> String {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "examples", "schemas", "character.json"]
        .iter()
        .collect();
    file.to_str().unwrap().to_owned()
}

fn generate(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.arg("generate").args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A run that ends early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_first_command_of_the_readme_streams_json_that_the_schema_allows() {
    let schema = schema();
    let output = generate(
        &["--device", "auto", "--cpu-devices", "2", "--schema", &schema, "Describe a wizard."],
        "",
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
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
    assert_eq!(stages.len(), 3);
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
    let wanted = ["load_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "mask_exposed_us"];
    assert!(wanted.iter().all(|key| keys(&report["timings"]).contains(key)), "{report}");
    let ledger = report["ledger"].as_array().unwrap();
    for kind in ["hidden", "order", "ancestors", "mask", "tokens"] {
        let entry = ledger.iter().find(|entry| entry["kind"] == kind).unwrap();
        let wanted = ["kind", "source", "target", "transfers", "bytes", "raw_bytes"];
        assert_eq!(keys(entry), wanted);
        assert_eq!(entry["target"] == "host", kind == "tokens");
    }
}

#[test]
fn the_prompt_may_come_from_standard_input() {
    let choices = ["--choice", "Paris", "--choice", "Berlin"];
    let output =
        generate(&[&choices[..], &["--raw", "-"]].concat(), "The capital of France is the city of");
    assert_eq!(text(&output.stdout).trim(), "Paris", "{}", text(&output.stderr));
}

/// `wanted` are parts of the one line on stderr.
#[track_caller]
fn check_refused(arguments: &[&str], code: i32, wanted: &[&str]) {
    let output = generate(arguments, "");
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(output.stdout.is_empty());
    assert_eq!(line.trim_end().lines().count(), 1, "one line: {line}");
    for part in wanted {
        assert!(line.contains(part), "`{part}` is not in {line}");
    }
}

#[test]
fn wrong_arguments_say_what_is_wrong_and_where() {
    check_refused(&["--device", "gpu", "x"], 2, &["gpu", "auto"]);
    check_refused(&["--device", "cpu:3", "x"], 2, &["cpu:3", "--cpu-devices"]);
    check_refused(&["--device", "cuda", "x"], 2, &["CUDA", "--features cuda"]);
    check_refused(&["--schema", "no-such-file.json", "x"], 2, &["no-such-file.json"]);
    check_refused(&["--schema", "{\"type\": 5}", "x"], 2, &["type"]);
    check_refused(&["--regex", "(", "x"], 2, &["regex"]);
    check_refused(&["--layers", "cpu:0=0..10,cpu:1=12..30", "x"], 2, &["10", "12"]);
    check_refused(&["--model", "no/such/model.gguf", "x"], 2, &["no/such/model.gguf"]);
    check_refused(&["--temperature", "-1", "x"], 2, &["temperature"]);
    check_refused(&["--max-tokens", "100000", "x"], 2, &["100000", "8192"]);
}

#[test]
fn a_model_that_does_not_fit_says_how_much_is_missing_and_where() {
    let wanted = ["10.0 MiB on cpu:0", "missing at least", "--max-memory"];
    check_refused(&["--max-memory", "cpu:0=10MiB", "x"], 1, &wanted);
}

#[test]
fn a_model_that_cannot_be_read_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("broken.gguf");
    std::fs::write(&file, b"GGUF\x03\x00\x00\x00\xff\xff\xff\xff").unwrap();
    check_refused(&["--model", file.to_str().unwrap(), "x"], 1, &["broken.gguf"]);
}
