//! Rules of the repository that no lint states, as tests.
//!
//! Each rule is a function from a file's path and text to complaints, so that it is tried on
//! made-up text too: a rule that cannot fail is none.

mod circles;
mod code;
mod crates;
mod files;
mod folders;
mod moves;
mod paths;
mod purity;

use code::code;

/// A file of the repository: its path from the root, with `/`, and its text.
struct File {
    path: String,
    text: String,
}

type Rule = fn(&str, &str) -> Vec<String>;

/// Applies a rule to every file.
#[track_caller]
fn hold(rule: Rule) {
    let files = files::all();
    let complaints: Vec<String> =
        files.iter().flat_map(|file| rule(&file.path, &file.text)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Applies a rule to made-up text.
#[track_caller]
fn check(rule: Rule, path: &str, text: &str, want: &[&str]) {
    assert_eq!(rule(path, text), want, "{path}");
}

fn is_rust(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| ending == "rs")
}

/// Whether a file holds nothing but tests and what they share.
fn is_test(path: &str) -> bool {
    let mut folders = path.split('/');
    let name = folders.next_back().unwrap_or_default();
    folders.any(|folder| matches!(folder, "tests" | "benches" | "fuzz"))
        || name == "tests.rs"
        || name.ends_with("_tests.rs")
}

/// Complaints about each line of code that contains one of the `words`.
fn lines_with(path: &str, code: &str, words: &[&str], why: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (line_idx, line) in code.lines().enumerate() {
        for word in words.iter().filter(|word| code::contains_word(line, word)) {
            complaints.push(format!("{path}:{}: `{word}` {why}", line_idx + 1));
        }
    }
    complaints
}

/// Tests that are switched off, tests that pass by failing, and holes.
fn unfinished(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) {
        return Vec::new();
    }
    let words = ["#[ignore", "#[should_panic", "todo!", "unimplemented!"];
    lines_with(path, &code(text), &words, "does not belong here")
}

/// Paths of the checkout that are compiled in. Cargo does not compile anew for another checkout
/// with the same target folder, and runs tests and benchmarks in their package's folder.
fn compiled_in(path: &str, text: &str) -> Vec<String> {
    let word = concat!("\"CARGO_MANIFEST", "_DIR\"");
    let complain = |(line, _)| format!("{path}:{}: {word} is a path of this checkout", line + 1);
    let lines = text.lines().enumerate().filter(|(_, line)| is_rust(path) && line.contains(word));
    lines.map(complain).collect()
}

#[test]
fn no_path_of_the_checkout_is_compiled_in() {
    hold(compiled_in);
}

#[test]
fn compiled_in_paths_are_found() {
    let text = concat!("fn f() {\n env!(\"CARGO_MANIFEST", "_DIR\") }");
    let want = concat!("a.rs:2: \"CARGO_MANIFEST", "_DIR\" is a path of this checkout");
    check(compiled_in, "a.rs", text, &[want]);
    check(compiled_in, "a.md", text, &[]);
    check(compiled_in, "a.rs", "// CARGO_MANIFEST_DIR is a variable", &[]);
}

#[test]
fn nothing_is_switched_off_or_left_open() {
    hold(unfinished);
}

#[test]
fn switched_off_and_open_is_found() {
    let why = "does not belong here";
    let found = |word: &str, line: usize| vec![format!("a/src/b.rs:{line}: `{word}` {why}")];
    for (text, want) in [
        ("#[test]\n#[ignore]\nfn f() {}", found("#[ignore", 2)),
        ("#[ignore = \"slow\"]", found("#[ignore", 1)),
        ("#[should_panic(expected = \"x\")]", found("#[should_panic", 1)),
        ("fn f() { todo!() }", found("todo!", 1)),
        ("fn f() {\n unimplemented!(\"later\") }", found("unimplemented!", 2)),
        ("// todo! is a word\nlet s = \"todo!\";", vec![]),
    ] {
        assert_eq!(unfinished("a/src/b.rs", text), want, "{text}");
    }
    check(unfinished, "a/b.md", "todo!", &[]);
}

/// The most lines of a source file, its tests included.
const MAX_LINES: usize = 500;

/// Pure tables, which may be longer.
const LONG_TABLES: [&str; 0] = [];

fn too_long(path: &str, text: &str) -> Vec<String> {
    let num_lines = text.lines().count();
    if !is_rust(path) || num_lines <= MAX_LINES || LONG_TABLES.contains(&path) {
        return Vec::new();
    }
    vec![format!("{path}: {num_lines} lines; at most {MAX_LINES}: split it along a noun")]
}

#[test]
fn files_are_short() {
    hold(too_long);
}

#[test]
fn long_files_are_found() {
    check(too_long, "a.rs", &"\n".repeat(500), &[]);
    let want = "a.rs: 501 lines; at most 500: split it along a noun";
    check(too_long, "a.rs", &"\n".repeat(501), &[want]);
    check(too_long, "a.json", &"\n".repeat(501), &[]);
}

/// Paths that exist on one machine only.
fn machine_paths(path: &str, text: &str) -> Vec<String> {
    // In pieces, so that this file does not contain what it looks for.
    let roots = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("/wo", "rk/"),
        concat!("/mn", "t/"),
        concat!("C:\\", "Users"),
    ];
    lines_with(path, text, &roots, "is a path of one machine")
}

#[test]
fn no_path_of_one_machine_is_in_the_tree() {
    hold(machine_paths);
}

#[test]
fn paths_of_one_machine_are_found() {
    for root in ["ho|me/me/x", "ro|ot/.cache", "Us|ers/me", "wo|rk/x", "mn|t/disk"] {
        let text = format!("let file = \"/{}\";", root.replace('|', ""));
        assert_eq!(machine_paths("a.rs", &text).len(), 1, "{text}");
        assert_eq!(machine_paths("a.md", &format!("site.org/{root}")), [""; 0], "{root}");
    }
    check(machine_paths, "a.rs", "/proc/cpuinfo /usr/bin/env ~/.cache", &[]);
}

#[test]
fn tests_are_told_by_their_place() {
    for path in ["tests/it/a.rs", "a/benches/b.rs", "a/src/b/tests.rs", "a/src/b_tests.rs"] {
        assert!(is_test(path), "{path}");
    }
    for path in ["a/src/b.rs", "a/src/latests.rs", "server/src/main.rs"] {
        assert!(!is_test(path), "{path}");
    }
}
