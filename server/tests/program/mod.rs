//! Running the program, and reading what it says.

use std::{
    io::Write,
    process::{Command, ExitStatus, Output, Stdio},
};

pub(crate) fn run(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A run that ends early does not read its input.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs with a stdout that nobody reads; says how it ended, and what stderr got.
#[allow(dead_code, reason = "not every suite closes the pipe")]
pub(crate) fn run_unread(arguments: &[&str]) -> (ExitStatus, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status, text(&output.stderr).to_owned())
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// `words` are parts of the one line on stderr.
#[track_caller]
pub(crate) fn check_refused(output: &Output, code: i32, words: &[&str]) {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    assert!(line.starts_with("error: ") && line.trim_end().lines().count() == 1, "{line}");
    for word in words {
        assert!(line.contains(word), "wanted `{word}` in: {line}");
    }
}
