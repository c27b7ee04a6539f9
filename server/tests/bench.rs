//! `sluicegate bench` as its users run it, with as few tokens as show that everything takes part.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::process::Output;

use serde_json::Value;

use program::text;

fn bench(arguments: &[&str]) -> Output {
    program::run(&[&["bench"], arguments].concat(), "")
}

/// Few tokens, on two stages whatever the planner would do with so few requests.
const SHORT: [&str; 8] =
    ["--layers", LAYERS, "--prompt-tokens", "6", "--output-tokens", "5", "--runs", "1"];
const LAYERS: &str = "cpu:0=0..16,cpu:1=16..30";

#[test]
fn more_requests_than_an_engine_takes_are_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let timeline = folder.path().join("out.json");
    let nothing_else = ["--model", "no-such.gguf", "--timeline", timeline.to_str().unwrap()];
    let refused = bench(&[&["--concurrency", "1,100000"], &nothing_else[..]].concat());
    program::check_refused(&refused, 2, &["--concurrency", "100000", "from 1 to 1024"]);
    assert!(!timeline.exists(), "it began before it refused");
}

#[test]
fn every_side_does_the_same_work() {
    let more = ["--concurrency", "3", "--against", "inline,ceiling,threads,constraint", "--json"];
    let output = bench(&[&SHORT[..], &more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [point] = &report["points"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(point["requests"], 3);
    let sides = point["sides"].as_array().unwrap();
    let names: Vec<&str> = sides.iter().map(|side| side["name"].as_str().unwrap()).collect();
    let want = [
        "2 stages",
        "2 engines of 1 thread",
        "1 stage, 2 threads",
        "1 stage, 1 thread",
        "2 stages, constrained",
    ];
    assert_eq!(names, want);
    for side in sides {
        assert_eq!(side["tokens"]["completion"], 15, "{side}");
        assert_eq!(side["tokens"]["jump_forward"], 0, "{side}");
        assert!(side["tokens_per_s"]["median"].as_f64().unwrap() > 0.0, "{side}");
        let times = ["first_token_us", "token_us"];
        assert!(times.iter().all(|it| side[it]["p50"].as_u64().unwrap() > 0), "{side}");
        let is_constrained = side["name"] == "2 stages, constrained";
        assert_eq!(side["mask_wait_us"].is_object(), is_constrained, "{side}");
        let processes = side["used"].as_array().unwrap();
        assert_eq!(processes.len(), side["placements"].as_array().unwrap().len(), "{side}");
    }
    assert_eq!(sides[1]["placements"].as_array().unwrap().len(), 2);
    assert_eq!(sides[3]["threads_per_stage"], 1);
    let ratios = point["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 4);
    assert_eq!(ratios[0]["against"], "2 engines of 1 thread");
    assert_eq!(ratios[3]["side"], "2 stages, constrained");
}

#[test]
fn requests_at_once_are_a_table_each_in_a_row() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("out.json");
    let more = ["--concurrency", "2,1", "--timeline", trace.to_str().unwrap()];
    let output = bench(&[&SHORT[..], &more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let rows: Vec<&str> =
        text(&output.stdout).lines().filter(|line| line.contains("2 stages")).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows[0].trim_start().starts_with("1 ") && rows[1].trim_start().starts_with("2 "));
    // Of the row with the most requests: a prompt each in the first microbatches.
    let trace: Value = serde_json::from_str(&std::fs::read_to_string(trace).unwrap()).unwrap();
    let tokens = trace["traceEvents"].as_array().unwrap().iter().map(|it| &it["args"]["tokens"]);
    assert!(tokens.max_by_key(|it| it.as_u64()).unwrap().as_u64().unwrap() >= 6, "{trace}");
    assert!(text(&output.stdout).contains("of the ideal"), "{}", text(&output.stdout));
}

/// `wanted` are parts of the one line on stderr.
#[track_caller]
fn check_refused(arguments: &[&str], words: &[&str]) {
    program::check_refused(&bench(arguments), 2, words);
}

#[test]
fn what_cannot_be_measured_says_what_to_change() {
    check_refused(&["--against", "ceiling"], &["--against", "--cpu-devices"]);
    check_refused(&["--against", "speed"], &["speed", "ceiling"]);
    check_refused(&["--concurrency", "0"], &["--concurrency", "from 1 to 1024"]);
    check_refused(&["--regex", "a*"], &["--regex", "--against constraint"]);
    check_refused(&["--output-tokens", "9000"], &["9032", "8192", "--output-tokens"]);
    check_refused(
        &["--layers", LAYERS, "--against", "ceiling", "--concurrency", "1"],
        &["2 engines", "--concurrency"],
    );
    // Only the measuring process compiles it; what it says is passed on.
    let unclosed = ["--concurrency", "1", "--against", "constraint", "--regex", "("];
    check_refused(&[&SHORT[..], &unclosed].concat(), &["--regex", "constrained"]);
}
