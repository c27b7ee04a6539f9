//! The cases against the emulation: all pass, or are skipped for a reason that is known.

mod mistakes;

use std::{
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_conformance");
const LIBRARY: &str = "libsluicegate_emulation.so";
const NO_PAIR: &str = "needs two devices";
const NO_PEERS: &str = "needs devices that reach each other";
/// What cannot be executed without hardware.
const UNKNOWN: [&str; 5] = [
    "sin.approx.f32",
    "cos.approx.f32",
    "tanh.approx.f32",
    "cvt.rn.f16x2.f32",
    "cvt.rn.bf16x2.f32",
];

/// Where the emulation has the driver's name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    symlink(library(), folder.path().join("libcuda.so.1")).expect("a link can be made");
    folder
}

/// Beside this test's executable, or in the folder above, as cargo puts it.
fn library() -> PathBuf {
    let executable = env::current_exe().expect("a process knows its executable");
    let found = executable.ancestors().skip(1).take(2).map(|folder| folder.join(LIBRARY));
    let found = found.into_iter().find(|path| Path::exists(path));
    found.unwrap_or_else(|| panic!("{LIBRARY} is not beside {}", executable.display()))
}

/// Runs the program. Returns its exit code and what it printed.
fn run(folder: &Path, machine: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let (code, [said, _]) = run_loud(folder, machine, arguments);
    (code, said)
}

/// The same, with what came on the error output.
fn run_loud(folder: &Path, machine: &str, arguments: &[&str]) -> (Option<i32>, [String; 2]) {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .env("SLUICEGATE_EMULATED_GPUS", machine)
        .env("SLUICEGATE_CUDA_LIBS", folder)
        .env_remove("CUDA_VISIBLE_DEVICES")
        .env_remove("CUDA_DEVICE_ORDER")
        .stdin(Stdio::null())
        .output()
        .expect("the program can be run");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), [text(output.stdout), text(output.stderr)])
}

#[track_caller]
fn check(machine: &str, reasons: &[&str]) {
    let folder = folder();
    for seed in 0..8 {
        let machine = format!("{machine}, seed={seed}");
        let (code, said) = run(folder.path(), &machine, &[]);
        assert_eq!(code, Some(0), "{machine}:\n{said}");
        for line in said.lines() {
            let Some((name, reason)) = line.split_once(": skipped: ") else { continue };
            let unknown = format!("the instruction `{name}` is not known)");
            let is_known =
                reasons.contains(&reason) || UNKNOWN.contains(&name) && reason.ends_with(&unknown);
            assert!(is_known, "{machine}: {line}");
        }
    }
}

#[test]
fn one_device_conforms() {
    check("1x 256MiB", &[NO_PAIR]);
}

#[test]
fn two_devices_conform() {
    check("2x 256MiB, peer", &[]);
}

#[test]
fn two_devices_without_peer_access_conform() {
    check("2x 256MiB sm_90", &[NO_PEERS]);
}

#[test]
fn answers_are_recorded() {
    let folder = folder();
    let path = folder.path().join("record.json");
    let arguments = ["--record", path.to_str().unwrap(), "alloc-zero", "fma.rn.f32"];
    let (code, said) = run(folder.path(), "1x 256MiB", &arguments);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said, "alloc-zero: ok\nfma.rn.f32: ok\n2 ok, 0 failed, 0 skipped\n");
    let text = std::fs::read_to_string(path).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(record["machine"]["devices"][0]["capability"], "8.0");
    assert_eq!(record["cases"]["alloc-zero"]["observed"]["cuMemAlloc"], "INVALID_VALUE");
    assert_eq!(record["cases"]["fma.rn.f32"]["observed"]["bits"].as_array().unwrap().len(), 256);
}

#[test]
fn answers_are_compared() {
    let folder = folder();
    let path = folder.path().join("record.json");
    let name = path.to_str().unwrap();
    // Bits, a code that depends on the moment, and one that is the same each time.
    let cases = ["fma.rn.f32", "stream-query", "alloc-zero"];
    let (code, said) = run(folder.path(), "1x 256MiB", &[&["--record", name], &cases[..]].concat());
    assert_eq!(code, Some(0), "{said}");

    let compare = [&["--compare", name], &cases[..]].concat();
    let (code, said) = run(folder.path(), "1x 512MiB sm_90, seed=3", &compare);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.ends_with("3 ok, 0 failed, 0 skipped, 0 differ\n"), "{said}");

    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"INVALID_VALUE\"", "\"SUCCESS\"")).unwrap();
    let (code, said) = run(folder.path(), "1x 256MiB", &compare);
    assert_eq!(code, Some(1), "{said}");
    let want =
        "alloc-zero: differs: cuMemAllocAsync: recorded \"SUCCESS\", found \"INVALID_VALUE\"";
    assert!(said.contains(want), "{said}");

    std::fs::write(&path, "[]").unwrap();
    let (code, said) = run(folder.path(), "1x 256MiB", &compare);
    assert_eq!((code, said), (Some(2), format!("`{name}` is no record of cases\n")));
}

/// A device that fails is no driver that does as it is documented.
#[test]
fn what_is_not_as_documented_is_told() {
    let folder = folder();
    let (code, said) = run(folder.path(), "1x 256MiB, fault=ecc@1", &["fill-and-copy-back"]);
    assert_eq!(code, Some(1), "{said}");
    let want = "fill-and-copy-back: FAILED: wanted cuMemcpyDtoHAsync to succeed, \
                found ECC_UNCORRECTABLE\n\
                0 ok, 1 failed, 0 skipped\n";
    assert_eq!(said, want);
}

#[test]
fn without_a_device_nothing_is_tried() {
    let folder = folder();
    let (code, said) = run(folder.path(), "no machine", &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("the driver has no GPU: "), "{said}");
}

#[test]
fn what_is_not_known_is_named() {
    let folder = folder();
    for argument in ["--unknown", "unknown"] {
        let (code, said) = run(folder.path(), "1x 256MiB", &[argument]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("`{argument}`")), "{said}");
    }
}
