//! `sluicegate plan` as its users run it, on clusters that do not exist.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::process::Output;

use serde_json::Value;

use program::{check_refused, run_unread, text};

/// The path of a model's configuration.
fn config(name: &str) -> String {
    format!("../tests/fixtures/configs/{name}.json")
}

fn sluicegate(arguments: &[&str]) -> Output {
    program::run(arguments, "")
}

/// Plans Llama 3 8B.
fn plan(arguments: &[&str]) -> Output {
    let model = config("llama-3-8b");
    let all: Vec<&str> = ["plan", "--model", &model].iter().chain(arguments).copied().collect();
    sluicegate(&all)
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn a_plan_is_printed_with_its_reasons() {
    let cluster = "2x rtx4090 + 1x rtx3090, pcie4";
    let table = printed(&plan(&["--cluster", cluster, "--batch", "16"]));
    for words in ["2x RTX 4090, RTX 3090", "stage", "embed, layers", "tokens/s", "proven"] {
        assert!(table.contains(words), "wanted `{words}` in:\n{table}");
    }
}

#[test]
fn json_has_the_promised_fields() {
    let cluster = "2x rtx4090 + 1x rtx3090, pcie4";
    let json: Value =
        serde_json::from_str(&printed(&plan(&["--cluster", cluster, "--json"]))).unwrap();
    assert_eq!(json["profile"]["units"].as_array().unwrap().len(), 34);
    assert_eq!(json["cluster"]["devices"].as_array().unwrap().len(), 3);
    assert_eq!(json["cluster"]["links"].as_array().unwrap().len(), 6);
    let stage = &json["stages"][0];
    let counts = ["first_unit", "end_unit", "weight_bytes", "kv_bytes", "workspace_bytes"];
    assert!(counts.iter().all(|field| stage[field].is_u64()), "{stage}");
    assert!(stage["device"].is_string() && stage["free_bytes"].is_u64(), "{stage}");
    for field in ["bottleneck_seconds", "lower_bound_seconds", "objective_value"] {
        assert!(json[field].as_f64().unwrap() > 0.0, "{field}");
    }
    assert!(stage["seconds"].as_f64().unwrap() > 0.0);
    assert!(json["gap"].as_f64().unwrap() < 1e-9, "{}", json["gap"]);
    let rate = json["predicted_tokens_per_s"].as_f64().unwrap();
    assert!((rate * json["objective_value"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert!(json["kv_tokens"].is_u64() && json["microbatches"].is_u64());
    let baselines = json["baselines"].as_object().unwrap();
    assert_eq!(baselines.len(), 5);
    for (name, baseline) in baselines {
        let worse = baseline["objective_value"].as_f64().unwrap_or(f64::INFINITY);
        let ours = json["objective_value"].as_f64().unwrap();
        assert!(baseline["feasible"] != true || worse >= ours * (1.0 - 1e-9), "{name}");
    }
}

#[test]
fn kept_plans_are_compared_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (before, after) = (path("before.json"), path("after.json"));
    let cluster = ["--cluster", "2x rtx4090, pcie4", "--save"];
    printed(&plan(&[&cluster[..], &[&before, "--batch", "8"]].concat()));
    printed(&plan(&[&cluster[..], &[&after, "--batch", "64"]].concat()));
    let difference = printed(&sluicegate(&["plan", "--diff", &before, &after]));
    assert!(difference.contains("sequences: 8 -> 64"), "{difference}");
    let refused = sluicegate(&["generate", "--plan", &before, "x"]);
    check_refused(&refused, 2, &["--plan", "cuda:0 is not there"]);
    std::fs::write(&before, "{}").unwrap();
    let refused = sluicegate(&["plan", "--diff", &before, &after]);
    check_refused(&refused, 2, &["--diff", "before.json", "missing field"]);
}

#[test]
fn a_kept_plan_runs_on_the_model_that_it_was_made_for_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json").to_str().unwrap().to_owned();
    let live =
        ["plan", "--cpu-devices", "2", "--prompt-tokens", "32", "--output-tokens", "32", "--save"];
    printed(&sluicegate(&[&live[..], &[&path]].concat()));
    let arguments = ["generate", "--plan", &path, "--max-tokens", "4", "--json", "Hello"];
    let json: Value = serde_json::from_str(&printed(&sluicegate(&arguments))).unwrap();
    let devices: Vec<&str> = json["plan"]["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stage| stage["device"].as_str().unwrap())
        .collect();
    assert_eq!(devices, ["cpu:0", "cpu:1"]);

    let mut saved: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    saved["profile"]["units"][3]["weight_bytes"] = 7.into();
    std::fs::write(&path, saved.to_string()).unwrap();
    let words = ["weights of layer 2: planned for 7 bytes, found"];
    check_refused(&sluicegate(&arguments), 2, &words);
}

#[test]
fn a_plan_is_kept_though_nobody_reads_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.json").to_str().unwrap().to_owned();
    let model = config("llama-3-8b");
    for form in [&[][..], &["--json"]] {
        let cluster = ["plan", "--model", &model, "--cluster", "1x h100", "--save", &path];
        let (status, stderr) = run_unread(&[&cluster[..], form].concat());
        assert!(status.success() && stderr.is_empty(), "{stderr}");
        let kept: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(kept["plan"]["num_layers"], 32);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn tokens_beyond_the_context_are_refused() {
    let on = |rest: &[&str]| plan(&[&["--cluster", "1x h100"], rest].concat());
    let wanted = ["8192", "--prompt-tokens"];
    check_refused(&on(&["--prompt-tokens", "9000"]), 2, &wanted);
    check_refused(&on(&["--prompt-tokens", "8000", "--output-tokens", "200"]), 2, &wanted);
    check_refused(&on(&["--output-tokens", "8192"]), 2, &wanted);
    check_refused(&on(&["--what-if", "prompt=8000"]), 2, &["--what-if", "8192", "prompt=N"]);
    // What is not said fits into what is left.
    printed(&on(&["--prompt-tokens", "8000"]));
    printed(&on(&["--output-tokens", "8191"]));
}

#[test]
fn changes_are_weighed() {
    let cluster = ["--cluster", "2x rtx4090, pcie4", "--batch", "8", "--kv-tokens", "8192"];
    let what_if = |change: &str| plan(&[&cluster[..], &["--what-if", change]].concat());
    assert!(printed(&what_if("+1 rtx3090")).contains("tokens/s: "));
    assert!(printed(&what_if("-cuda:1")).contains("cuda:1"));
    assert!(printed(&what_if("kv=32768")).contains("KV tokens: 8192 -> 32768"));
    check_refused(&what_if("more"), 2, &["--what-if", "`more` is not a change"]);
    check_refused(&what_if("-cuda:7"), 2, &["no device cuda:7"]);
    check_refused(&what_if("+1 rtx9999"), 2, &["--what-if", "rtx9999"]);
    check_refused(&what_if("kv=0"), 2, &["kv=0"]);
    let kept = plan(&[&cluster[..], &["--what-if", "kv=32768", "--save", "p.json"]].concat());
    check_refused(&kept, 2, &["--what-if", "--save"]);
}

#[test]
fn the_trade_is_printed() {
    let table = printed(&plan(&["--cluster", "2x rtx4090, pcie4", "--pareto"]));
    assert!(table.lines().count() > 2 && table.contains("ms/token alone"), "{table}");
}

#[test]
fn bad_input_is_one_line_that_says_where() {
    let on = |cluster: &str, rest: &[&str]| plan(&[&["--cluster", cluster], rest].concat());
    check_refused(&on("8x h1000", &[]), 2, &["--cluster", "h1000", "h100"]);
    check_refused(&on("0x h100", &[]), 2, &["--cluster", "1 to 256"]);
    check_refused(&on("1000000000x h100", &[]), 2, &["--cluster", "1 to 256"]);
    check_refused(&on("nowhere.toml", &[]), 2, &["--cluster", "nowhere.toml"]);
    check_refused(&on("2x h100", &["--forbid", "cuda:9"]), 2, &["--forbid", "cuda:9"]);
    check_refused(&on("2x h100", &["--layers", "cuda:0=0..3"]), 2, &["--layers", "3..32"]);
    check_refused(&on("2x h100", &["--keep-together", "0..99"]), 2, &["--keep-together", "0..99"]);
    check_refused(&on("2x h100", &["--max-memory", "cuda:0=-1GiB"]), 2, &["-1GiB"]);
    check_refused(&on("1x t4", &["--kv-tokens", "100000000"]), 1, &["does not fit", "missing"]);
    let nowhere = sluicegate(&["plan", "--model", "no.json", "--cluster", "2x h100"]);
    check_refused(&nowhere, 2, &["--model", "no.json"]);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "[[devices]]\nid = \"cuda:0\"\npreset = \"h100\"\nmemory = \"-3GiB\"\n")
        .unwrap();
    check_refused(&on(file.to_str().unwrap(), &[]), 2, &["bad.toml", "4", "-3GiB"]);
    let deep = folder.path().join("deep.json");
    std::fs::write(
        &deep,
        r#"{"architectures":["LlamaForCausalLM"],"num_hidden_layers":1000000000}"#,
    )
    .unwrap();
    let refused = sluicegate(&["plan", "--model", deep.to_str().unwrap(), "--cluster", "2x h100"]);
    check_refused(&refused, 2, &["deep.json", "num_hidden_layers"]);
}

#[test]
fn a_shortfall_says_what_there_is_and_only_what_would_help() {
    let refused = |arguments: &[&str]| {
        let output = plan(arguments);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr).to_owned()
    };
    let card = refused(&["--cluster", "1x rtx4090@1GiB"]);
    assert!(
        card.contains("found 0 B of 1.0 GiB on cuda:0 beside its reserve of 1.0 GiB"),
        "{card}"
    );
    // The weights alone are too much: no cache helps.
    assert!(!card.contains("--kv-bits") && !card.contains("--memory-share"), "{card}");
    let half = ["--cluster", "1x rtx4090", "--kv-tokens", "100000"];
    assert!(refused(&half).contains("; so would one with --kv-bits 8"), "{}", refused(&half));
    let smallest = ["--cluster", "1x rtx4090", "--kv-tokens", "200000", "--kv-bits", "8"];
    assert!(!refused(&smallest).contains("--kv-bits"), "{}", refused(&smallest));
    let share = refused(&["--cluster", "1x rtx4090", "--memory-share", "0.5"]);
    assert!(share.contains("of 24.0 GiB") && share.contains("or raise --memory-share"), "{share}");
}

#[test]
fn nobody_waits_longer_than_is_allowed() {
    let on =
        |limits: &[&str]| plan(&[&["--cluster", "2x rtx4090, pcie4", "--json"], limits].concat());
    let sequences = |limits: &[&str]| {
        let json: Value = serde_json::from_str(&printed(&on(limits))).unwrap();
        (json["sequences"].as_u64().unwrap(), json["cycle_seconds"].as_f64().unwrap())
    };
    let (all, _) = sequences(&[]);
    let (few, cycle_s) = sequences(&["--max-time-per-token", "25ms"]);
    assert!(few < all && cycle_s <= 0.025, "{few} of {all}, {cycle_s} s");
    let (few, cycle_s) = sequences(&["--max-time-to-first-token", "0.1s"]);
    assert!(few < all && cycle_s <= 0.1, "{few} of {all}, {cycle_s} s");
    check_refused(&on(&["--max-time-per-token", "1ms"]), 1, &["no placement is fast enough"]);
    check_refused(&on(&["--max-time-per-token", "fast"]), 2, &["--max-time-per-token", "50ms"]);
    let latency = ["--objective", "latency", "--max-time-to-first-token", "1s"];
    check_refused(&on(&latency), 2, &["--max-time-to-first-token", "latency"]);
}
