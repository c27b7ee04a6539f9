//! `sluicegate schema check` as its users run it.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::process::Output;

use serde_json::Value;

use program::{check_refused, text};

const PERSON: &str = r#"{
    "type": "object",
    "properties": {
        "name": { "type": "string", "format": "made-up" },
        "age": { "type": "integer", "minimum": 0, "maximum": 150 }
    },
    "required": ["name", "age"],
    "additionalProperties": false
}"#;

fn check(arguments: &[&str]) -> Output {
    program::run(&[&["schema", "check"], arguments].concat(), "")
}

#[track_caller]
fn printed(arguments: &[&str], code: i32) -> String {
    let output = check(arguments);
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// The text without the time in its first line.
fn masked(printed: &str) -> String {
    let (first, rest) = printed.split_once('\n').unwrap();
    let words = first.split(' ').map(|word| if word.contains('.') { "_" } else { word });
    format!("{}\n{rest}", words.collect::<Vec<_>>().join(" "))
}

#[test]
fn instances_are_accepted_or_refused_with_the_place_and_what_could_stand_there() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"name\": \"Zoë\",\n \"agee\": 5}").unwrap();
    let path = file.path().to_str().unwrap();
    let instances = [
        "--instance",
        r#"{"name": "a", "age": 7}"#,
        "--instance",
        path,
        "--instance",
        r#"{"name": "a""#,
        "--instance",
        r#"{"name": "a", "age": 7} "#,
    ];
    let table = printed(&[&["--schema", PERSON], &instances[..]].concat(), 1);
    insta::assert_snapshot!(masked(&table).replace(path, "FILE"), @r#"
    schema: compiles in _ ms
    checked: by a grammar
    warning: format "made-up" is not enforced at /properties/name
    allows, for example, in 8 tokens: {"name":"","age":0}

    instance 1, on the command line: accepted, 12 tokens

    instance 2, FILE: refused at line 2, column 6 (byte 22): not allowed
      before   "{\"name\": \"Zoë\",\n \"age"
      found    "e\": 5}"
      allowed  "\":"

    instance 3, on the command line: refused at line 1, column 13 (byte 12): may not end here
      before   "{\"name\": \"a\""
      found    the end of the text
      allowed  2 tokens, such as ",\""

    instance 4, on the command line: refused at line 1, column 24 (byte 23): the value is complete; only whitespace follows
      before   "{\"name\": \"a\", \"age\": 7}"
      found    " "
      allowed  the end
    "#);
}

#[test]
fn a_trace_has_each_token() {
    let arguments = ["--schema", r#"{"enum": [true, 12]}"#, "--instance", "13", "--trace"];
    insta::assert_snapshot!(masked(&printed(&arguments, 1)), @r#"
    schema: compiles in _ ms
    checked: by a grammar
    allows, for example, in 1 token: true

    instance 1, on the command line: refused at line 1, column 2 (byte 1): not allowed
      before   "1"
      found    "3"
      allowed  "2"
       step    token            allowed  mask    text
          0       33  yes             4  sparse  "1"
          1       35  refused         1  only    "3"
    "#);
}

#[test]
fn json_has_the_promised_fields() {
    let good = r#"{"name": "a", "age": 7}"#;
    let arguments = ["--schema", PERSON, "--json", "--trace", "--instance", good];
    let bad = ["--instance", r#"{"name": "a", "age": 700}"#];
    let report: Value =
        serde_json::from_str(&printed(&[&arguments[..], &bad].concat(), 1)).unwrap();
    assert!(report["schema"]["compile_us"].as_f64().unwrap() > 0.0);
    assert!(report["schema"]["warnings"][0].as_str().unwrap().contains("made-up"));
    let instances = &report["instances"];
    assert_eq!(
        (&instances[0]["accepted"], &instances[1]["accepted"]),
        (&true.into(), &false.into())
    );
    assert!(instances[0]["refused"].is_null());
    let trace = instances[0]["trace"].as_array().unwrap();
    assert_eq!(trace.len(), instances[0]["tokens"]);
    let spelled: String = trace.iter().map(|step| step["text"].as_str().unwrap()).collect();
    assert_eq!(spelled, good);
    assert!(trace.iter().all(|step| step["allowed"] == true && step["num_allowed"] != 0));
    // Inside the name nearly every token may come.
    assert!(trace.iter().any(|step| step["mask"] == "denied"), "{trace:?}");
    let place = &instances[1]["refused"];
    assert_eq!((&place["byte"], &place["column"]), (&23.into(), &24.into()), "{place}");
    assert_eq!(place["found"], "0}");

    let report: Value = serde_json::from_str(&printed(&arguments, 0)).unwrap();
    assert_eq!(report["instances"][0]["accepted"], true);
}

#[test]
fn schemas_and_instances_that_cannot_be_used_are_refused_with_their_place() {
    let refused = |arguments: &[&str], words: &[&str]| {
        check_refused(&check(arguments), 2, words);
    };
    refused(&["--schema", "no-such.json"], &["--schema", "no-such.json"]);
    refused(&["--schema", r#"{"type": 5}"#], &["--schema", "type"]);
    refused(&["--schema", "{}", "--instance", "no-such.json"], &["--instance no-such.json"]);
    refused(&["--schema", "{}", "--remotes", "nowhere"], &["--remotes", "nowhere"]);
    refused(&[], &["--schema"]);
}
