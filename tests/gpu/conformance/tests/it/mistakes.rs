//! A program without a fault, on machines that put a mistake into what it asks for.

use super::{folder, run_loud};

/// Runs a case. Returns its report, and what came on the error output.
#[track_caller]
fn report(machine: &str, case: &str) -> [String; 2] {
    let folder = folder();
    let (code, said) = run_loud(folder.path(), machine, &["--case", case]);
    assert_eq!(code, Some(0), "{said:?}");
    said
}

const PASSES: &str = r#""verdict":"ok""#;

/// The case passes, and fails with the mistake, which is found with these words.
#[track_caller]
fn check(mistake: &str, case: &str, words: &str) {
    let [said, _] = report("2x 64MiB", case);
    assert!(said.contains(PASSES), "{said}");
    let [said, errors] = report(&format!("2x 64MiB, mistake={mistake}"), case);
    assert!(!said.contains(PASSES), "{said}");
    let made = format!("emulated GPUs: mistake={mistake}: ");
    assert!(errors.contains(&made), "{errors}");
    assert!(said.contains(words) || errors.contains(words), "{said}{errors}");
}

#[test]
fn mistakes_are_found() {
    check("missing-wait@1", "alloc-async-across-streams", "a race: cuMemAllocAsync on stream ");
    check("no-context@1", "fill-and-copy-back", "found INVALID_CONTEXT");
    check("pinned-reuse@1", "pinned", "the pinned source was changed before the copy had read it");
    let words = "the memory is of cuda:0, and cuda:1 has no access to it";
    check("other-device@1", "peer-copy", words);
    let words = "a launch failed, and nobody has read its error: kernel `k`: the number of threads";
    check("unread-launch@1", "launch-largest-block", words);
    check("early-free@2", "launch-largest-block", "cuMemFreeAsync");
}

#[test]
fn a_mistake_without_a_chance_is_told() {
    let machine = "1x 64MiB, mistake=pinned-reuse@2, mistake=missing-wait@1";
    let [said, errors] = report(machine, "pinned");
    assert!(said.contains(PASSES), "{said}");
    let want = "emulated GPUs: mistake=pinned-reuse@2 was not made: it had 1 chance\n\
                emulated GPUs: mistake=missing-wait@1 was not made: it had 0 chances\n";
    assert_eq!(errors, want);
}
