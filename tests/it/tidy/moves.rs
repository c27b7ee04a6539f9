//! Bytes change device in one folder, and the methods that could do it elsewhere are lints.

use super::{
    check,
    code::{before_tests, code},
    hold, is_rust, is_test, lines_with,
};

/// The one folder that moves bytes.
const DEVICE: &str = "runtime/src/device/";

/// Methods that move bytes, as `clippy.toml` must disallow them.
const MOVES: [&str; 9] = [
    "to_device",
    "to_vec0",
    "to_vec1",
    "to_vec2",
    "to_vec3",
    "to_scalar",
    "from_vec",
    "from_slice",
    "new",
];

/// How often the lint may be silenced outside of [`DEVICE`] and of tests: where weights, and what
/// is computed from the configuration like a weight, are made on the device that they stay on.
const LOADERS: [(&str, usize); 2] = [("model/src/weights/", 4), ("model/src/rope.rs", 1)];

/// Silenced lints in shipped code.
fn silenced(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || path.starts_with(DEVICE) || is_test(path) {
        return Vec::new();
    }
    let code = code(text);
    let words = ["clippy::disallowed_methods"];
    lines_with(path, before_tests(&code), &words, "is silenced outside of a loader")
}

/// Moves whose name is unmistakable, whatever lints say.
fn moves(path: &str, text: &str) -> Vec<String> {
    if !is_rust(path) || path.starts_with(DEVICE) || is_test(path) {
        return Vec::new();
    }
    let code = code(text);
    lines_with(path, before_tests(&code), &["to_device"], "moves bytes outside of a link")
}

fn not_disallowed(path: &str, text: &str) -> Vec<String> {
    if path != "clippy.toml" {
        return Vec::new();
    }
    let listed = |method: &&str| text.contains(&format!("\"candle_core::Tensor::{method}\""));
    let missing = MOVES.iter().filter(|method| !listed(method));
    missing.map(|method| format!("clippy.toml: `Tensor::{method}` is not disallowed")).collect()
}

/// Complaints that no loader is allowed.
fn unaccounted(complaints: Vec<String>) -> Vec<String> {
    let mut left = complaints;
    for (loader, allowed) in LOADERS {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|complaint| complaint.starts_with(loader));
        left = elsewhere;
        if here.len() > allowed {
            left.push(format!("{loader}: silenced {} times, allowed {allowed}", here.len()));
            left.extend(here);
        }
    }
    left
}

#[test]
fn only_links_and_loaders_may_move_bytes() {
    let files = super::files::all();
    let found = files.iter().flat_map(|file| silenced(&file.path, &file.text)).collect();
    let complaints = unaccounted(found);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn to_device_has_one_home() {
    hold(moves);
}

#[test]
fn moving_methods_are_disallowed() {
    hold(not_disallowed);
}

#[test]
fn silenced_lints_are_found_and_counted() {
    let text = "#[expect(clippy::disallowed_methods, reason = \"r\")]\nfn f() {}\n\
                #[cfg(test)]\nmod tests {\n#[expect(clippy::disallowed_methods)]\nfn g() {}}";
    let want =
        "model/src/linear.rs:1: `clippy::disallowed_methods` is silenced outside of a loader";
    check(silenced, "model/src/linear.rs", text, &[want]);
    check(silenced, "runtime/src/device/link.rs", text, &[]);
    check(silenced, "tests/src/tiny.rs", text, &[]);

    assert_eq!(unaccounted(vec![want.to_owned()]), [want]);
    let rope = silenced("model/src/rope.rs", text);
    assert_eq!(rope.len(), 1);
    assert_eq!(unaccounted(rope.clone()), [""; 0]);
    let twice = unaccounted([rope.clone(), rope].concat());
    assert_eq!(twice[0], "model/src/rope.rs: silenced 2 times, allowed 1");
}

#[test]
fn moves_are_found() {
    let want = "model/src/a.rs:1: `to_device` moves bytes outside of a link";
    check(moves, "model/src/a.rs", "let y = x.to_device(&d)?;", &[want]);
    check(moves, "model/src/a.rs", "// x.to_device(&d)", &[]);
    check(moves, "runtime/src/device/link.rs", "x.to_device(&d)", &[]);
}

#[test]
fn a_gap_in_the_lints_is_found() {
    let all = MOVES.map(|method| format!("{{ path = \"candle_core::Tensor::{method}\" }}"));
    check(not_disallowed, "clippy.toml", &all.join("\n"), &[]);
    let want = "clippy.toml: `Tensor::to_device` is not disallowed";
    check(not_disallowed, "clippy.toml", &all[1..].join("\n"), &[want]);
}
