//! Checks that this CPU can run the compiled code.
//!
//! Builds from source use every instruction of the local CPU, and cargo does not notice if a target
//! folder moves to another machine: the program would die of an illegal instruction. This check,
//! made first, reports the cause instead.

use std::fs;

/// The CPU lacks instructions that the program was compiled to use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "compiled for a CPU with {wanted}, which this one lacks; \
     build on this machine again, after `cargo clean`", wanted = missing.join(", ")
)]
pub struct CpuError {
    /// The compiler's names of the missing features.
    pub missing: Vec<&'static str>,
}

/// A feature by its compiler name and its kernel name, and whether it was compiled in.
struct Feature {
    name: &'static str,
    flag: &'static str,
    compiled: bool,
}

macro_rules! features {
    ($($name:tt $flag:literal,)*) => {
        [$(Feature { name: $name, flag: $flag, compiled: cfg!(target_feature = $name) }),*]
    };
}

/// Features that kernels may use and other CPUs may lack.
const FEATURES: [Feature; 20] = features![
    "ssse3" "ssse3",
    "sse4.1" "sse4_1",
    "sse4.2" "sse4_2",
    "popcnt" "popcnt",
    "lzcnt" "abm",
    "bmi1" "bmi1",
    "bmi2" "bmi2",
    "f16c" "f16c",
    "fma" "fma",
    "avx" "avx",
    "avx2" "avx2",
    "avx512f" "avx512f",
    "avx512bw" "avx512bw",
    "avx512dq" "avx512dq",
    "avx512vl" "avx512vl",
    "avx512vnni" "avx512_vnni",
    "avx512bf16" "avx512_bf16",
    "dotprod" "asimddp",
    "i8mm" "i8mm",
    "sve" "sve",
];

/// Checks that this CPU has all features that the program was compiled to use.
///
/// The standard library's detection takes compiled-in features for granted, so this asks the
/// operating system's kernel. Where that is silent (all but Linux), the check passes.
///
/// # Errors
/// [`CpuError`] with the missing features.
pub fn check_cpu() -> Result<(), CpuError> {
    match fs::read_to_string("/proc/cpuinfo") {
        Ok(cpuinfo) => check(&FEATURES, &cpuinfo),
        Err(_) => Ok(()),
    }
}

fn check(features: &[Feature], cpuinfo: &str) -> Result<(), CpuError> {
    let flags = cpuinfo.lines().find_map(|line| {
        let (key, flags) = line.split_once(':')?;
        matches!(key.trim(), "flags" | "Features").then_some(flags)
    });
    let Some(flags) = flags else { return Ok(()) };
    let found = |flag: &str| flags.split_whitespace().any(|other| other == flag);
    let missing: Vec<&str> = features
        .iter()
        .filter(|feature| feature.compiled && !found(feature.flag))
        .map(|feature| feature.name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(CpuError { missing }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPILED: [Feature; 3] = [
        Feature { name: "sse4.1", flag: "sse4_1", compiled: true },
        Feature { name: "avx2", flag: "avx2", compiled: true },
        Feature { name: "avx512f", flag: "avx512f", compiled: false },
    ];

    #[test]
    fn this_cpu_runs_what_was_compiled_for_it() {
        assert_eq!(check_cpu(), Ok(()));
    }

    #[test]
    fn missing_features_are_named_with_the_remedy() {
        let error = check(&COMPILED, "model name\t: X\nflags\t\t: fpu avx avx2x sse4_1\n");
        assert_eq!(
            error.unwrap_err().to_string(),
            "compiled for a CPU with avx2, which this one lacks; \
             build on this machine again, after `cargo clean`"
        );
        assert_eq!(check(&COMPILED, "flags\t: sse4_1 avx2\n"), Ok(()));
        assert_eq!(check(&COMPILED, "processor: 0\n"), Ok(()));
    }

    #[test]
    fn the_list_knows_what_is_compiled_here() {
        let compiled = |name| FEATURES.iter().any(|it| it.name == name && it.compiled);
        assert_eq!(compiled("avx2"), cfg!(target_feature = "avx2"));
        assert_eq!(compiled("i8mm"), cfg!(target_feature = "i8mm"));
    }
}
