//! `sluicegate maskbench` as its users run it.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::process::Output;

use serde_json::Value;

use program::{check_refused, text};

fn fixture(name: &str) -> String {
    format!("tests/fixtures/{name}")
}

fn maskbench(arguments: &[&str]) -> Output {
    program::run(&[&["maskbench"], arguments].concat(), "")
}

#[track_caller]
fn printed(arguments: &[&str]) -> String {
    let output = maskbench(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).replace(&fixture(""), "")
}

/// Times and ratios are replaced, and the spaces before them, which depend on their lengths.
fn masked(table: &str) -> String {
    let line = |line: &str| {
        let is_timed = line.contains(" us") || line.contains(" ms") || line.contains("ratio");
        if !is_timed {
            return line.to_owned();
        }
        let name_len = line.find(|c: char| c.is_ascii_digit()).unwrap();
        let (name, numbers) = line.split_at(name_len);
        let words = numbers.split_whitespace().filter(|word| !["us", "ms", "s"].contains(word));
        let words = words.map(|word| if word.contains('.') { "_" } else { word });
        format!("{} {}", name.trim_end(), words.collect::<Vec<_>>().join(" "))
    };
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_summary_counts_what_is_right_and_what_cannot_be_used() {
    insta::assert_snapshot!(masked(&printed(&[&fixture("maskbench")])), @r"
    maskbench/no-schema.json, case 0: missing field `schema` at line 1 column 15
    maskbench/not-json.json, case 0: EOF while parsing a value at line 2 column 0
    schemas passing            1 of 6         16.7 %
      real ones                1 of 5         20.0 %
    tests correct              7 of 10        70.0 %
      not optional             7 of 10        70.0 %
    valid refused              1
    invalid accepted           1
    not validated              1  tests of schemas that do not compile
    engine failures            0
    unreadable                 2
    compile errors             2  invalid schema 1, unsatisfiable 1
    warnings                   0
    guarded schemas            0
    vetoes                     0

                             num       p50       p90       p99     p99.9       max
    compile 2 _ _ _ _ _
    compile error 2 _ _ _ _ _
    matcher 2 _ _ _ _ _
    token 86 _ _ _ _ _
      its mask 86 _ _ _ _ _
      its advance 86 _ _ _ _ _
    ");
}

#[test]
fn the_test_suite_is_counted_by_tests_and_compared() {
    let arguments = [&fixture("suite"), "--remotes", &fixture("remotes"), "--compare-llguidance"];
    insta::assert_snapshot!(masked(&printed(&arguments)), @r"
    suite/strings.json, case 1: missing field `schema` at line 1 column 43
    schemas passing            3 of 4         75.0 %
      real ones                3 of 4         75.0 %
    tests correct              6 of 6        100.0 %
      not optional             4 of 4        100.0 %
    valid refused              0
    invalid accepted           0
    not validated              0  tests of schemas that do not compile
    engine failures            0
    unreadable                 1
    compile errors             0
    warnings                   0
    guarded schemas            0
    vetoes                     0

                             num       p50       p90       p99     p99.9       max
    compile 3 _ _ _ _ _
    matcher 3 _ _ _ _ _
    token 22 _ _ _ _ _
      its mask 22 _ _ _ _ _
      its advance 22 _ _ _ _ _

    compared with llguidance: 3 schemas that both compile; 0 only here
                             num       p50       p90       p99     p99.9       max
    compile 3 _ _ _ _ _
      llguidance 3 _ _ _ _ _
      ratio _ _ _ _ _
    token 17 _ _ _ _ _
      llguidance 17 _ _ _ _ _
      ratio _ _ _ _ _
    ");
}

#[test]
fn json_has_the_promised_fields() {
    let json = printed(&["--json", "--jobs", "3", &fixture("maskbench"), &fixture("suite")]);
    let report: Value = serde_json::from_str(&json).unwrap();
    let summary = &report["summary"];
    assert_eq!(summary["tests"]["total"], 16);
    assert_eq!(summary["valid_refused"], 1);
    assert_eq!(summary["invalid_accepted"], 1);
    assert_eq!(summary["not_validated"], 1);
    assert_eq!(summary["unreadable"], 3);
    for times in ["compile_us", "matcher_us"] {
        assert!(summary[times]["p50"].as_f64().unwrap() > 0.0, "{times}");
    }
    assert!(summary["unguarded"]["token_us"]["p99_9"].is_f64());

    let schemas = report["schemas"].as_array().unwrap();
    let files: Vec<&str> = schemas.iter().map(|it| it["file"].as_str().unwrap()).collect();
    let want = [
        "maskbench/Handwritten---labels.json",
        "maskbench/malformed-schema.json",
        "maskbench/no-schema.json",
        "maskbench/not-json.json",
        "maskbench/nothing.json",
        "maskbench/people.json",
        "suite/optional/numbers.json",
        "suite/strings.json",
        "suite/strings.json",
        "suite/strings.json",
    ];
    assert_eq!(files, want, "in order, whatever the number of threads");

    let people = &schemas[5];
    assert_eq!((people["passes"].as_bool(), people["index"].as_u64()), (Some(true), Some(0)));
    assert!(people["compile_us"].is_f64() && people["mask_us"]["p99"].is_f64());
    assert!(people["error"].is_null() && people["warnings"].is_array());
    let tests = people["tests"].as_array().unwrap();
    let verdicts: Vec<bool> = tests.iter().map(|it| it["accepted"].as_bool().unwrap()).collect();
    assert_eq!(verdicts, [true, true, false, false, false]);
    assert_eq!(tests[2]["reason"], "not allowed");
    assert!(tests[2]["refused_at_token"].as_u64().unwrap() < tests[2]["tokens"].as_u64().unwrap());

    let labels = &schemas[0];
    assert_eq!(labels["tests"][2]["accepted"], true, "digits are kept: {labels}");
    assert_eq!(schemas[1]["error"]["kind"], "invalid schema");
    assert!(schemas[1]["tests"][0]["accepted"].is_null());
    assert_eq!(schemas[3]["error"]["kind"], "unreadable");
}

#[test]
fn compact_json_has_no_spaces_to_refuse() {
    let file = fixture("maskbench/people.json");
    for options in [&["--compact"][..], &["--flexible"], &["--any-order"]] {
        let json = printed(&[options, &["--json", &file]].concat());
        let report: Value = serde_json::from_str(&json).unwrap();
        assert!(report["schemas"][0]["error"].is_null(), "{options:?}: {report}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_with_its_place() {
    let refused = |arguments: &[&str], words: &[&str]| {
        check_refused(&maskbench(arguments), 2, words);
    };
    refused(&["no-such-folder"], &["cannot read no-such-folder"]);
    let empty = tempfile::tempdir().unwrap();
    refused(&[empty.path().to_str().unwrap()], &["no file ends in .json"]);
    refused(&[&fixture("suite"), "--model", "no/such/tokens.gguf"], &["--model", "tokens.gguf"]);
    refused(&[&fixture("suite"), "--remotes", "nowhere"], &["--remotes", "nowhere"]);
    refused(&[&fixture("suite"), "--jobs", "0"], &["--jobs", "at least 1"]);
    refused(&[], &["PATH"]);
}
