//! Determines the CUDA release for which cudarc's bindings are made, since the sonames depend on
//! it.

use std::{env, process::Command};

/// The release assumed without a compiler, as in a build without CUDA.
const DEFAULT_MAJOR: u32 = 13;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CUDARC_CUDA_VERSION");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    let major = named_major().or_else(compiler_major).unwrap_or(DEFAULT_MAJOR);
    println!("cargo::rustc-env=SLUICEGATE_CUDA_MAJOR={major}");
}

/// Reads the variable as cudarc does: 13000 is release 13.0.
fn named_major() -> Option<u32> {
    let version: u32 = env::var("CUDARC_CUDA_VERSION").ok()?.parse().ok()?;
    Some(version / 1000)
}

/// Asks the compiler as cudarc does: `… release 13.0, V13.0.88`.
fn compiler_major() -> Option<u32> {
    let output = Command::new("nvcc").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (_, release) = text.split_once("release ")?;
    release.split('.').next()?.parse().ok()
}
