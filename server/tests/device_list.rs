//! The list of devices, on a machine whose NVML is made for the test: the whole way from the
//! library's functions to what is printed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// Compiles the library into a folder.
fn library() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new("tests/fixtures/nvml.c");
    let compiler = Command::new("cc")
        .args(["-w", "-shared", "-fPIC", "-o"])
        .args([folder.path().join("libnvidia-ml.so.1").as_path(), source])
        .status();
    assert!(compiler.unwrap().success(), "cc could not make the library");
    folder
}

/// Runs with the libraries of a folder and these variables.
fn run(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(arguments).env("SLUICEGATE_CUDA_LIBS", folder);
    for name in ["RUST_LOG", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(output: &Output) -> &str {
    assert!(output.status.success(), "{output:?}");
    std::str::from_utf8(&output.stdout).unwrap()
}

/// The lines about GPUs, without the reason why this build cannot use them. How wide a column is
/// depends on this machine's processor.
fn gpus(output: &Output) -> String {
    let is_of_gpu = |line: &&str| !line.is_empty() && !line.starts_with("cpu:");
    let lines = text(output).lines().filter(is_of_gpu).map(|line| {
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.filter(|cell| !cell.contains("--features cuda")).collect::<Vec<_>>().join(" | ")
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn gpus_are_listed_without_cuda() {
    let folder = library();
    let list = |variables: &[(&str, &str)]| gpus(&run(folder.path(), variables, &["devices"]));
    let both = [("CUDA_VISIBLE_DEVICES", "1,0"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")];
    insta::assert_snapshot!(list(&both), @r#"
    id | name | memory | free | capability | slot | busy | runs here
    cuda:0 | NVIDIA H200 | 140.0 GiB | 40.0 GiB | 9.0 | PCIe 5 x16 | 97 %
    cuda:1 | NVIDIA H200 | 140.0 GiB | 140.0 GiB | 9.0 | PCIe 5 x16 | 0 %
    - | NVIDIA A100-SXM4-40GB | 40.0 GiB | 40.0 GiB | 8.0 | PCIe 4 x16 | ? | no: CUDA does not show GPU-2
    cuda:0 and cuda:1: 17 NVLinks, 425.0 GB/s each way
    cuda:0 is used by python3 (4242) with 99.0 GiB
    driver 580.65.06
    "#);
    insta::assert_snapshot!(list(&[("CUDA_VISIBLE_DEVICES", "MIG-1")]), @r#"
    id | name | memory | free | capability | slot | busy | runs here
    cuda:0 | NVIDIA A100-SXM4-40GB MIG 1g.5gb | 5.0 GiB | 5.0 GiB | 8.0 | PCIe 4 x16 | ?
    - | NVIDIA H200 | 140.0 GiB | 140.0 GiB | 9.0 | PCIe 5 x16 | 0 % | no: CUDA does not show GPU-0
    - | NVIDIA H200 | 140.0 GiB | 40.0 GiB | 9.0 | PCIe 5 x16 | 97 % | no: CUDA does not show GPU-1
    driver 580.65.06
    "#);
    insta::assert_snapshot!(list(&[("CUDA_VISIBLE_DEVICES", "")]), @r#"
    id | name | memory | free | capability | slot | busy | runs here
    - | NVIDIA H200 | 140.0 GiB | 140.0 GiB | 9.0 | PCIe 5 x16 | 0 % | no: CUDA does not show GPU-0
    - | NVIDIA H200 | 140.0 GiB | 40.0 GiB | 9.0 | PCIe 5 x16 | 97 % | no: CUDA does not show GPU-1
    - | NVIDIA A100-SXM4-40GB | 40.0 GiB | 40.0 GiB | 8.0 | PCIe 4 x16 | ? | no: CUDA does not show GPU-2
    driver 580.65.06
    "#);
}

#[test]
fn a_plan_is_made_for_the_description() {
    let folder = library();
    let variables = [("CUDA_VISIBLE_DEVICES", "GPU-0,GPU-1")];
    let description = run(folder.path(), &variables, &["devices", "--toml"]);
    let file = folder.path().join("machine.toml");
    std::fs::write(&file, text(&description)).unwrap();
    let model = folder.path().join("config.json");
    let config = serde_json::json!({
        "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": 32000, "hidden_size": 4096,
        "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "max_position_embeddings": 4096, "rope_theta": 10_000.0,
        "bos_token_id": 1, "eos_token_id": 2
    });
    std::fs::write(&model, config.to_string()).unwrap();
    let [model, file] = [&model, &file].map(|path| path.to_str().unwrap());
    let arguments = ["plan", "--model", model, "--cluster", file, "--json"];
    let plan: Value = serde_json::from_str(text(&run(folder.path(), &[], &arguments))).unwrap();
    assert!(plan.is_object());

    let json = run(folder.path(), &variables, &["devices", "--json"]);
    let report: Value = serde_json::from_str(text(&json)).unwrap();
    assert_eq!(report["gpus"][1]["facts"]["processes"][0]["pid"], 4242);
    assert_eq!(report["gpus"][1]["facts"]["processes"].as_array().unwrap().len(), 1);
    assert_eq!(report["hidden"][0]["mig"][1]["gpu_instance"], 8);
    assert_eq!(report["links"][0]["num_links"], 17);
    assert_eq!(report["cluster"]["links"][0]["route"], "peer");
}

#[test]
fn a_library_that_does_not_work_is_explained() {
    #[track_caller]
    fn check(folder: &Path, code: &str, want: &str) {
        let output = run(folder, &[("NVML_INIT", code)], &["devices"]);
        assert!(text(&output).contains(want), "{}", text(&output));
    }
    let folder = library();
    check(folder.path(), "9", "note: NVIDIA's driver is not loaded");
    check(folder.path(), "4", "note: this user may not ask NVIDIA's driver");
    check(folder.path(), "18", "libnvidia-ml.so.1 and the loaded driver are of different releases");
    check(folder.path(), "999", "libnvidia-ml.so.1 says: an internal driver error occurred");
}
