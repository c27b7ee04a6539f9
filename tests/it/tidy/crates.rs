//! Arrows between crates, and which crate may know which outside library.

use super::{check, hold};

/// The folders of the crates, and what each may use of ours, by the names behind `sluicegate-`:
/// `server -> runtime -> { model, constraint }` and `runtime -> core -> placement -> model/spec`,
/// never back.
const ARROWS: [(&str, &[&str]); 14] = [
    ("constraint", &[]),
    ("model/spec", &[]),
    ("model/cuda", &[]),
    ("model", &["cuda", "spec"]),
    ("runtime/placement", &["spec"]),
    ("runtime/core", &["placement", "spec"]),
    ("runtime", &["constraint", "core", "model", "placement", "spec"]),
    ("server", ABOVE),
    ("examples", &[""]),
    ("tests", ABOVE),
    ("tests/gpu/conformance", &["emulation"]),
    ("tests/gpu/emulation", &["ptx", "spec"]),
    ("tests/gpu/ptx", &[]),
    ("tests/slow", &[]),
];

/// For tests alone: everyone may have it among the dependencies of tests.
const FOR_TESTS: &str = "sluicegate-slow";

const ABOVE: &[&str] = &["", "constraint", "core", "model", "placement", "spec"];

/// Who alone may use libraries with these beginnings.
const KNOWN_TO: [(&str, &[&str]); 11] = [
    ("candle", &["model", "runtime", "tests"]),
    ("tokio", &["runtime", "server", "examples"]),
    ("crossbeam", &["runtime"]),
    ("axum", &["server", "examples"]),
    ("clap", &["server"]),
    ("libloading", &["model/cuda", "tests/gpu/conformance"]),
    ("nvml-wrapper", &["runtime"]),
    ("anyhow", &["server", "examples"]),
    ("llguidance", &["constraint"]),
    ("tokenizers", &["model", "tests"]),
    ("toktrie", &["constraint"]),
];

fn wrong_dependencies(path: &str, text: &str) -> Vec<String> {
    let Some((_, arrows)) = crate_of(path) else { return Vec::new() };
    let name = path.trim_end_matches("/Cargo.toml");
    let mut complaints = Vec::new();
    for (table, dependency) in dependencies(text) {
        let is_for_tests = table == "dev-dependencies" || name == "tests";
        if is_for_tests && dependency == FOR_TESTS {
            continue;
        }
        if let Some(ours) = dependency.strip_prefix("sluicegate")
            && !arrows.contains(&ours.trim_start_matches('-'))
        {
            complaints.push(format!("{path}: {name} must not know {dependency}"));
        }
        for (beginning, users) in KNOWN_TO {
            if dependency.starts_with(beginning) && !users.contains(&name) {
                complaints.push(format!("{path}: {name} must not know {dependency}"));
            }
        }
    }
    complaints
}

fn without_lints(path: &str, text: &str) -> Vec<String> {
    match crate_of(path) {
        Some(_) if !text.contains("[lints]\nworkspace = true") => {
            vec![format!("{path}: the workspace's lints are not asked for")]
        }
        _ => Vec::new(),
    }
}

fn crate_of(path: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    ARROWS.iter().find(|(name, _)| *name == folder)
}

/// Names under every `dependencies` table, each with its table: of builds, of tests, of one target.
fn dependencies(text: &str) -> Vec<(&str, &str)> {
    let mut names = Vec::new();
    let (mut table, mut listed) = ("", false);
    for line in text.lines().map(str::trim) {
        if let Some(begun) = line.strip_prefix('[') {
            table = begun.trim_end_matches(']');
            listed = table.ends_with("dependencies");
            // `[dependencies.name]`, a table of its own.
            names.extend(table.split_once("dependencies.").map(|(_, name)| (table, name)));
        } else if listed && !line.starts_with('#') {
            let name = line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty());
            names.extend(name.map(|name| (table, name)));
        }
    }
    names
}

#[test]
fn crates_know_only_what_they_may() {
    hold(wrong_dependencies);
}

#[test]
fn every_crate_has_the_lints() {
    hold(without_lints);
}

#[test]
fn wrong_dependencies_are_found() {
    let path = "constraint/Cargo.toml";
    let want = "constraint/Cargo.toml: constraint must not know candle-core";
    for text in [
        "[dependencies]\ncandle-core.workspace = true",
        "[dependencies]\nserde = \"1\"\n\n[dev-dependencies]\ncandle-core = { version = \"1\" }",
        "[dependencies.candle-core]\nversion = \"1\"",
        "[target.'cfg(unix)'.build-dependencies]\ncandle-core=\"1\"",
    ] {
        check(wrong_dependencies, path, text, &[want]);
    }
    let text = "[package]\nname = \"candle\"\n[dependencies]\n# candle\nllguidance = \"1\"\n\
                [features]\ncandle = []";
    check(wrong_dependencies, path, text, &[]);

    let text = "[dependencies]\nsluicegate.workspace = true";
    let want = "model/Cargo.toml: model must not know sluicegate";
    check(wrong_dependencies, "model/Cargo.toml", text, &[want]);
    check(wrong_dependencies, "server/Cargo.toml", text, &[]);
    check(wrong_dependencies, "elsewhere/Cargo.toml", text, &[]);

    let text = "[dev-dependencies]\nsluicegate-slow.workspace = true";
    check(wrong_dependencies, "runtime/core/Cargo.toml", text, &[]);
    let text = "[dependencies]\nsluicegate-slow.workspace = true";
    let want = "runtime/core/Cargo.toml: runtime/core must not know sluicegate-slow";
    check(wrong_dependencies, "runtime/core/Cargo.toml", text, &[want]);

    let text = "[dev-dependencies]\nsluicegate-model.workspace = true\ntokio = \"1\"";
    let want = [
        "runtime/core/Cargo.toml: runtime/core must not know sluicegate-model",
        "runtime/core/Cargo.toml: runtime/core must not know tokio",
    ];
    check(wrong_dependencies, "runtime/core/Cargo.toml", text, &want);
}

#[test]
fn missing_lints_are_found() {
    let want = "model/Cargo.toml: the workspace's lints are not asked for";
    check(without_lints, "model/Cargo.toml", "[package]", &[want]);
    check(without_lints, "model/Cargo.toml", "[lints]\nworkspace = true\n", &[]);
}
