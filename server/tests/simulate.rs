//! `sluicegate simulate` as its users run it, on clusters that do not exist.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::{collections::BTreeSet, process::Output};

use serde_json::Value;

use program::{check_refused, text};

const CLUSTER: &str = "2x rtx4090, pcie4";

/// Simulates Llama 3 8B.
fn simulate(arguments: &[&str]) -> Output {
    let model = ["simulate", "--model", "../tests/fixtures/configs/llama-3-8b.json"];
    program::run(&[&model, arguments].concat(), "")
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

#[test]
fn a_workload_is_simulated_and_printed() {
    let workload = "rate=4/s prompt=256 output=64 n=60 constrained=0.5";
    let arguments = ["--cluster", CLUSTER, "--batch", "32", "--workload", workload];
    let table = printed(&simulate(&arguments));
    let from_name = &table[table.find("llama-3-8b.json").unwrap()..];
    insta::assert_snapshot!(from_name, @r#"
    llama-3-8b.json: 2x RTX 4090

    60 requests in 17.37 s: 3840 tokens, 221.1 tokens/s
    nobody waited, with at most 11 sequences at once; the plan's 1256.2 tokens/s are for 32 sequences, each followed by another

                                p50         p95         p99
    time to first token    52.71 ms    59.76 ms    79.64 ms
    time per token         19.23 ms    19.43 ms    28.46 ms
    whole request            1.27 s      1.30 s      1.32 s

    stage  device  units                        busy    input    masks     host
        0  cuda:0  embed, layers 0..17        93.1 %    0.0 %    0.0 %    6.9 %
        1  cuda:1  layers 17..32, norm+head   95.6 %    4.4 %    0.0 %    0.0 %
    95.6 % of the ideal from 0.16 s to 17.33 s; stage 1 is busiest
    1709 microbatches; 19140 tokens computed, 0 of them again after 0 preemptions; 0 prompt tokens shared
    "#);
}

#[test]
fn json_has_every_figure_and_comes_again() {
    let workload = "rate=8/s prompt=128 output=32 n=40 shared=64 seed=3";
    let arguments = ["--cluster", CLUSTER, "--json", "--workload", workload];
    let first = printed(&simulate(&arguments));
    assert_eq!(first, printed(&simulate(&arguments)));
    let json: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(json["output_tokens"], 40 * 32);
    for field in ["time_to_first_token_s", "time_per_token_s", "request_s"] {
        let at = |percent: &str| json[field][percent].as_f64().unwrap();
        assert!(0.0 < at("p50") && at("p50") <= at("p95") && at("p95") <= at("p99"), "{field}");
    }
    let fraction = json["fraction_of_ideal"].as_f64().unwrap();
    assert!((0.0..=1.0 + 1e-9).contains(&fraction), "{fraction}");
    let stages = json["stages"].as_array().unwrap();
    // A device may hold the first layers and the head: two stages.
    let devices: BTreeSet<&str> =
        stages.iter().map(|stage| stage["device"].as_str().unwrap()).collect();
    assert_eq!(devices.len(), 2);
    for stage in stages {
        let fields = [
            "computing",
            "transferring",
            "lent",
            "awaiting_masks",
            "awaiting_input",
            "awaiting_host",
        ];
        let sum: f64 = fields.iter().map(|field| stage[field].as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{stage}");
    }
    assert!(json["scheduler"]["shared_tokens"].as_u64().unwrap() > 0);
}

#[test]
fn a_single_request_is_not_several() {
    let table = printed(&simulate(&["--cluster", CLUSTER, "--workload", "prompt=5 output=1 n=1"]));
    assert!(table.contains("1 request in ") && table.contains(": 1 token, "), "{table}");
    assert!(table.contains("\n1 microbatch; 5 tokens computed, 0 of them again"), "{table}");
    assert!(table.contains("after 0 preemptions; 0 prompt tokens shared"), "{table}");
}

#[test]
fn timelines_are_written_for_people_and_for_tools() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (svg, trace) = (path("out.svg"), path("out.json"));
    for path in [&svg, &trace] {
        let workload = "prompt=64 output=40 n=8";
        printed(&simulate(&["--cluster", CLUSTER, "--workload", workload, "--timeline", path]));
    }
    let drawing = std::fs::read_to_string(svg).unwrap();
    assert!(drawing.starts_with("<svg") && drawing.contains("stage 1 (cuda:1)"), "{drawing}");
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(trace).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert!(events.iter().filter(|event| event["ph"] == "X").count() > 80);
    let name = path("out.png");
    let workload = "prompt=64 output=40 n=8";
    let refused = simulate(&["--cluster", CLUSTER, "--workload", workload, "--timeline", &name]);
    check_refused(&refused, 2, &["--timeline", "wanted a name that ends in .svg or .json"]);
}

#[test]
fn workloads_in_files_are_checked_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("requests.jsonl");
    let run = |lines: &str| {
        std::fs::write(&path, lines).unwrap();
        simulate(&["--cluster", CLUSTER, "--json", "--workload", path.to_str().unwrap()])
    };
    let good =
        "{\"arrival_s\": 0.5, \"prompt_tokens\": 50, \"output_tokens\": 9, \"samples\": 2}\n";
    let json: Value = serde_json::from_str(&printed(&run(good))).unwrap();
    assert_eq!(json["output_tokens"], 18);
    let wrong = format!("{good}{{\"prompt_tokens\": 50, \"output_tokens\": 9000}}");
    check_refused(&run(&wrong), 2, &["--workload", "requests.jsonl", "line 2", "context is 8192"]);
    check_refused(&run(""), 2, &["--workload", "there are no requests"]);
    let words = simulate(&["--cluster", CLUSTER, "--workload", "rate=4/s prompt=5 n=1"]);
    check_refused(&words, 2, &["--workload", "`output=N` is missing"]);
    let policy = ["--prompt-tokens", "9000", "--workload", "prompt=5 output=5 n=1"];
    check_refused(&simulate(&[&["--cluster", CLUSTER], &policy[..]].concat()), 2, &["8192"]);
    let nothing = simulate(&["--cluster", CLUSTER, "--workload", "nothing.jsonl"]);
    check_refused(&nothing, 2, &["--workload", "nothing.jsonl: neither a file nor words"]);
}
