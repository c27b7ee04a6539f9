//! Models of a `config.json` alone, and the report on devices.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use program::{check_refused, run, run_unread, text};

/// A small model's configuration, under a name of its own.
fn config(fields: &Value) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.json");
    let mut config = json!({
        "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": 2048, "hidden_size": 256,
        "intermediate_size": 8192, "num_hidden_layers": 4, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "rope_theta": 10_000.0,
        "bos_token_id": 1, "eos_token_id": 2
    });
    config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    fs::write(&path, config.to_string()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn generate(config: &str, arguments: &[&str]) -> Value {
    let all = ["generate", "--dummy-weights", "--model", config, "--max-tokens", "12", "--json"];
    let output = run(&[&all, arguments, &["Hello"]].concat(), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_model_without_weights_gives_the_same_tokens_on_any_stages() {
    let (_folder, config) = config(&json!({}));
    let one = generate(&config, &[]);
    let outputs = &one["outputs"];
    assert_eq!(one["model"], "small.json");
    assert!(!outputs[0]["token_ids"].as_array().unwrap().is_empty());
    let three =
        generate(&config, &["--cpu-devices", "3", "--layers", "cpu:0=0..1,cpu:1=1..2,cpu:2=2..4"]);
    assert_eq!(three["plan"]["stages"].as_array().unwrap().len(), 3);
    assert_eq!(three["outputs"], *outputs);
    // Two bytes for each number of a matrix and four for a norm's: the plan is that of the type.
    let layer = 2 * (256 * 256 * 2 + 256 * 128 * 2 + 3 * 256 * 8192) + 4 * 512;
    assert_eq!(three["plan"]["stages"][1]["weight_bytes"], layer);
}

#[test]
fn a_constraint_holds_without_a_tokenizer() {
    let (_folder, config) = config(&json!({}));
    let report = generate(&config, &["--regex", "[a-f]{4}-[0-9]{2}"]);
    let output = report["outputs"][0]["text"].as_str().unwrap();
    let (letters, digits) = output.split_once('-').unwrap();
    assert!(letters.len() == 4 && letters.chars().all(|c| ('a'..='f').contains(&c)), "{output}");
    assert!(digits.len() == 2 && digits.chars().all(|c| c.is_ascii_digit()), "{output}");
}

#[test]
fn a_bench_needs_no_weights() {
    let (_folder, config) = config(&json!({}));
    let arguments = [
        "bench",
        "--dummy-weights",
        "--model",
        &config,
        "--concurrency",
        "2",
        "--prompt-tokens",
        "8",
        "--output-tokens",
        "4",
        "--runs",
        "1",
        "--json",
    ];
    let output = run(&arguments, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["model"], "small.json", "{report}");
}

#[test]
fn what_is_no_configuration_is_refused() {
    #[track_caller]
    fn check(model: &str, code: i32, words: &[&str]) {
        let output = run(&["generate", "--dummy-weights", "--model", model, "x"], "");
        check_refused(&output, code, words);
    }
    check("smollm2", 2, &["--model: ", "wanted a config.json or its directory", "smollm2"]);
    let (_folder, small) = config(&json!({ "vocab_size": 200 }));
    check(&small, 1, &["small.json: `vocab_size`", "room for the 256 bytes", "found 200"]);
    let (_folder, other) = config(&json!({ "model_type": "rwkv" }));
    check(&other, 1, &["small.json", "rwkv", "LlamaForCausalLM"]);
}

#[test]
fn the_doctor_reports_on_logical_devices() {
    let output = run(&["doctor", "--device", "cpu", "--cpu-devices", "3"], "");
    let report = text(&output.stdout);
    assert!(output.status.success(), "{report}{}", text(&output.stderr));
    let names: Vec<&str> = report.lines().filter_map(|it| it.split("  ").next()).collect();
    let wanted =
        ["program", "processor", "memory", "gpus", "link", "link", "1 stage", "3 stages", "result"];
    assert_eq!(names, wanted, "{report}");
    assert!(report.starts_with("program    sluicegate "), "{report}");
    assert!(report.contains("cpu:1 to cpu:2 through host memory"), "{report}");
    assert!(report.contains("stage 2 on cpu:2 (layers 4..6)"), "{report}");
    assert!(report.ends_with("result     all is well\n"), "{report}");
}

#[test]
fn the_doctor_compares_memory_with_the_plan() {
    let (_folder, config) = config(&json!({ "hidden_size": 512 }));
    let arguments = ["doctor", "--device", "cpu", "--dummy-weights", "--model", &config];
    let output = run(&arguments, "");
    let report = text(&output.stdout);
    assert!(output.status.success(), "{report}{}", text(&output.stderr));
    let line = report.lines().rfind(|line| line.starts_with("memory")).unwrap();
    assert!(line.contains("host: planned") && line.contains("weights and cache"), "{report}");
    check_refused(&run(&["doctor", "--device", "cpu:7"], ""), 2, &["cpu:7 is not there"]);
}

/// Writes lines into `in.jsonl` of a folder; returns its path and that of the output.
fn batch(folder: &TempDir, lines: &[Value]) -> [String; 2] {
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    fs::write(folder.path().join("in.jsonl"), lines.join("\n")).unwrap();
    ["in.jsonl", "out.jsonl"].map(|name| folder.path().join(name).to_str().unwrap().to_owned())
}

fn answers(output: &str) -> Vec<Value> {
    let text = fs::read_to_string(output).unwrap();
    let mut answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    answers.sort_by_key(|answer| answer["id"].to_string());
    answers
}

#[test]
fn a_batch_file_is_answered_line_by_line_and_resumed() {
    let (folder, config) = config(&json!({}));
    let mut lines = vec![
        json!({"prompt": "one", "id": "a", "schema": {"type": "boolean"}}),
        json!({"prompt": "two", "max_tokens": 3}),
        json!({"prompt": "three", "id": "c", "seed": 5}),
    ];
    let [input, output] = batch(&folder, &lines);
    let model = ["generate", "--dummy-weights", "--model", &config, "--max-tokens", "6"];
    let files = ["--temperature", "1", "--batch-file", &input, "--output", &output];
    let run_batch = || run(&[&model[..], &files].concat(), "");
    let first = run_batch();
    assert!(first.status.success() && first.stdout.is_empty(), "{}", text(&first.stderr));
    let all = answers(&output);
    let ids: Vec<&Value> = all.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!("a"), &json!("c"), &json!(2)]);
    assert!(all[0]["outputs"][0]["parsed"].is_boolean(), "{}", all[0]);
    assert!(all[2]["outputs"][0]["token_ids"].as_array().unwrap().len() <= 3, "{}", all[2]);
    assert!(all[1]["usage"]["prompt_tokens"].is_u64(), "{}", all[1]);

    // What is there stays, and another line alone is run.
    let before = fs::read_to_string(&output).unwrap();
    lines.push(json!({"prompt": "four", "schema": {"type": 5}}));
    batch(&folder, &lines);
    check_refused(&run_batch(), 1, &["1 line of 4 failed", "out.jsonl"]);
    let after = fs::read_to_string(&output).unwrap();
    assert!(after.starts_with(&before) && after.lines().count() == 4, "{after}");
    assert_eq!(answers(&output)[3]["id"], 4);
    assert!(answers(&output)[3]["error"].as_str().unwrap().contains("schema is not valid"));
    let again = run_batch();
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("4 lines were already there"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(&output).unwrap(), after);

    // A line's numbers are its own: those of a run of all lines at once.
    fs::remove_file(&output).unwrap();
    batch(&folder, &lines[..3]);
    run_batch();
    assert_eq!(answers(&output), all);
}

#[test]
fn wrong_lines_of_a_batch_are_refused_before_any_runs() {
    let (folder, config) = config(&json!({}));
    let lines = [json!({"prompt": "one"}), json!({"prompt": "two", "max_tokens": 1000})];
    let [input, output] = batch(&folder, &lines);
    let model = ["generate", "--dummy-weights", "--model", &config];
    let files = ["--batch-file", &input, "--output", &output];
    let refused = run(&[&model[..], &files].concat(), "");
    check_refused(&refused, 2, &["--batch-file", "in.jsonl", "line 2", "--max-tokens"]);
    assert_eq!(fs::read_to_string(&output).unwrap(), "");
    fs::write(&input, "{\"prompt\": 5}\n").unwrap();
    let refused = run(&[&model[..], &files].concat(), "");
    check_refused(&refused, 2, &["--batch-file", "line 1", "invalid type"]);
}

#[test]
fn lengths_are_kept_to() {
    let (_folder, config) = config(&json!({}));
    let num_tokens = |arguments: &[&str]| {
        let report = generate(&config, arguments);
        report["outputs"][0]["token_ids"].as_array().unwrap().len()
    };
    assert_eq!(num_tokens(&["--ignore-eos"]), 12);
    assert!(num_tokens(&["--min-tokens", "7"]) >= 7);
    let one = generate(&config, &["--threads", "1"]);
    assert_eq!(generate(&config, &["--threads", "3"])["outputs"], one["outputs"]);
    let refused = |arguments: &[&str], words: &[&str]| {
        let all = ["generate", "--dummy-weights", "--model", &config, "Hello"];
        check_refused(&run(&[&all, arguments].concat(), ""), 2, words);
    };
    refused(&["--min-tokens", "300"], &["--min-tokens", "256 tokens", "300"]);
    refused(&["--max-context", "513"], &["--max-context", "512", "513"]);
    refused(
        &["--max-context", "10", "--max-tokens", "9"],
        &["--max-tokens", "--max-context of 10"],
    );
    refused(&["--system", "Be brief."], &["--system", "no chat template"]);
}

#[test]
fn files_are_written_though_nobody_reads_what_is_printed() {
    let (folder, config) = config(&json!({}));
    let file = folder.path().join("out.json");
    let name = file.to_str().unwrap();
    let model = ["generate", "--dummy-weights", "--model", &config, "--max-tokens", "4"];
    for form in ["--json", "--stream", "--no-stream"] {
        let (status, stderr) = run_unread(&[&model[..], &["--timeline", name, form, "x"]].concat());
        assert!(status.success() && stderr.is_empty(), "{stderr}");
        let trace: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(trace["traceEvents"].as_array().unwrap().len() > 4, "{form}");
    }
}
