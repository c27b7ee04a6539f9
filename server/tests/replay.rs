//! `--record` and `sluicegate replay` as their users run them.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod program;

use std::path::Path;

use program::{check_refused, run, text};

/// Records a run of the default model.
fn record(path: &str, more: &[&str]) {
    let arguments =
        ["generate", "--record", path, "--max-tokens", "6", "--choice", "yes, of course"];
    let output = run(&[&arguments, more, &["Is water wet?"]].concat(), "");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_recorded_run_is_replayed_and_a_changed_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let name = path.to_str().unwrap();
    for more in [&[][..], &["--record-without-prompts", "--cpu-devices", "2"]] {
        record(name, more);
        let output = run(&["replay", name], "");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.contains("that were recorded; 1 request finished, 0 failed"), "{said}");
        let json: serde_json::Value =
            serde_json::from_slice(&run(&["replay", name, "--json"], "").stdout).unwrap();
        assert_eq!(json["metrics"]["requests_finished"], 1);
        assert_eq!((&json["is_full"], &json["is_cut"]), (&false.into(), &false.into()));
    }
    let journal = std::fs::read_to_string(&path).unwrap();
    // An interrupted run.
    std::fs::write(&path, &journal[..journal.len() - 9]).unwrap();
    let output = run(&["replay", name], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the last line is incomplete"));
    // Another loop.
    let other = journal.replacen("\"max_tokens\":6", "\"max_tokens\":5", 1);
    assert_ne!(other, journal);
    std::fs::write(&path, other).unwrap();
    let output = run(&["replay", name], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("led to other actions than were recorded"));
}

#[test]
fn what_is_no_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let name = path.to_str().unwrap();
    let check = |held: &str, want: &str| {
        std::fs::write(&path, held).unwrap();
        check_refused(&run(&["replay", name], ""), 2, &[want]);
    };
    check("", "a journal begins with a line of the kind `begin`");
    check("{}\n", "line 1 of");
    check_refused(&run(&["replay", "no-such-file"], ""), 2, &["cannot read no-such-file"]);
    let nowhere = Path::new("no-such-folder/run.jsonl").to_str().unwrap();
    check_refused(&run(&["generate", "--record", nowhere, "Hi"], ""), 2, &["--record"]);
    let against = ["bench", "--record", name, "--against", "threads"];
    check_refused(&run(&against, ""), 2, &["--record", "wanted no --against"]);
}
