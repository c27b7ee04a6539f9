//! Compiles the kernels for GPUs to PTX, which every driver compiles for its GPUs, where the
//! feature `cuda` is on.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCES: [&str; 4] = ["attention", "layer", "rows", "sampling"];

/// The oldest generation that CUDA 13 knows, where none is named.
const OLDEST: &str = "75";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/kernels");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for variable in ["NVCC", "CUDA_HOME", "CUDA_COMPUTE_CAP"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder"));
    for source in SOURCES {
        compile(&Path::new("src/kernels").join(source).with_extension("cu"), &out);
    }
}

fn compile(source: &Path, out: &Path) {
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| OLDEST.to_owned());
    let compiler = compiler();
    let outcome = Command::new(&compiler)
        .args(["--ptx", "-O3", "-std=c++17"])
        .arg(format!("--gpu-architecture=compute_{capability}"))
        .arg("--output-directory")
        .arg(out)
        .arg(source)
        .output();
    match outcome {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "{} could not compile {}:\n{}",
            compiler.display(),
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => panic!(
            "{} does not start: {error}; the feature `cuda` needs nvcc, in PATH or named by NVCC",
            compiler.display()
        ),
    }
}

/// As candle's build finds it.
fn compiler() -> PathBuf {
    if let Some(named) = env::var_os("NVCC") {
        return named.into();
    }
    match env::var_os("CUDA_HOME") {
        Some(home) => Path::new(&home).join("bin/nvcc"),
        None => "nvcc".into(),
    }
}
