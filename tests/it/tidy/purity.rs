//! Planner and scheduler are pure, so that the production ones run under a virtual clock; and so is
//! what runs them there.

use super::{check, code::code, hold, is_test, lines_with};

/// Folders of plain data in, plain data out.
const PURE: [&str; 2] = ["runtime/placement/src/", "runtime/core/src/"];

/// Devices, clocks, threads, channels, files, the process, logs. A span of time is plain data.
const IMPURE: [&str; 25] = [
    "candle_core",
    "candle_nn",
    "candle_transformers",
    "crossbeam_channel",
    "tokio",
    "rayon",
    "tracing",
    "rand::",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "thread::",
    "fs::",
    "io::",
    "net::",
    "env::",
    "process::",
    "print!",
    "println!",
    "eprintln!",
    "Mutex",
    "RwLock",
    "Condvar",
    "mpsc",
    "unsafe",
];

fn impure(path: &str, text: &str) -> Vec<String> {
    if !PURE.iter().any(|folder| path.starts_with(folder)) || is_test(path) {
        return Vec::new();
    }
    lines_with(path, &code(text), &IMPURE, "in a folder that promises to be pure")
}

#[test]
fn planner_scheduler_and_simulation_are_pure() {
    hold(impure);
}

#[test]
fn impurity_is_found() {
    let path = "runtime/core/src/scheduler/pages.rs";
    for (text, word) in [
        ("use candle_core::Tensor;", "candle_core"),
        ("use std::time::{Duration, Instant};", "Instant"),
        ("let now = std::time::SystemTime::now();", "SystemTime"),
        ("use std::{fs, thread};\nthread::spawn(f);", "thread::"),
        ("use std::fs::File;", "fs::"),
        ("use crossbeam_channel::Sender;", "crossbeam_channel"),
        ("use std::sync::mpsc;", "mpsc"),
        ("tracing::info!(x);", "tracing"),
        ("tokio::spawn(f);", "tokio"),
    ] {
        let found = impure(path, text);
        assert!(found.iter().any(|it| it.contains(&format!("`{word}`"))), "{text}: {found:?}");
    }
    check(impure, path, "use std::time::Duration;\n// no Instant here\nlet s = \"Instant\";", &[]);
    check(impure, path, "let operand = brand::new();", &[]);
    check(impure, "runtime/src/pipeline/stage.rs", "use std::thread;", &[]);
    let want = "runtime/placement/src/plan.rs:2: `Instant` in a folder that promises to be pure";
    check(impure, "runtime/placement/src/plan.rs", "\nlet t: Instant;", &[want]);
}
