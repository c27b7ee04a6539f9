//! Mistakes that the library puts into what the program asks for: each is found, and the program's
//! own error has the words for it.

use super::{
    PROMPT,
    run::{Ran, Rig, texts},
};

/// Runs of a small model over two GPUs.
struct Runs {
    rig: Rig,
    model: String,
    text: Vec<String>,
}

impl Runs {
    /// None where the program is not named.
    fn new() -> Option<Self> {
        let rig = Rig::new()?;
        let model = rig.model("float32", 2);
        let mut runs = Self { rig, model, text: Vec::new() };
        runs.text = runs.run("seed=1").outputs();
        Some(runs)
    }

    fn run(&self, option: &str) -> Ran {
        let options = ["--layers", "cuda:0=0..1,cuda:1=1..2", "--max-tokens", "3"];
        let options = [&options[..], &["--temperature", "0", PROMPT]].concat();
        self.rig.generate(&format!("2x 256MiB, {option}"), &self.model, &options)
    }

    /// How many chances there are for a mistake. One that is not made changes nothing.
    #[track_caller]
    fn num_chances(&self, mistake: &str) -> u64 {
        let ran = self.run(&format!("mistake={mistake}@999999999"));
        assert_eq!(ran.outputs(), self.text, "{mistake}");
        let words = format!("emulated GPUs: mistake={mistake}@999999999 was not made: it had ");
        let told = ran.stderr.lines().find_map(|line| line.strip_prefix(&words));
        let told = told.unwrap_or_else(|| panic!("{mistake}: {}", ran.stderr));
        told.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Makes a mistake. Returns whether the program has failed, which it has with some of the words.
    #[track_caller]
    fn is_found(&self, mistake: &str, words: &[&str]) -> bool {
        let ran = self.run(&format!("mistake={mistake}"));
        let made = format!("emulated GPUs: mistake={mistake}: ");
        assert!(ran.stderr.contains(&made), "{mistake} was not made: {}", ran.stderr);
        if ran.code == Some(0) {
            return false;
        }
        assert_eq!(ran.code, Some(1), "{mistake}: {}", ran.stderr);
        let mut errors = ran.stderr.lines().filter(|line| line.starts_with("error: "));
        let is_told = errors.any(|error| words.iter().any(|it| error.contains(it)));
        assert!(is_told, "{mistake}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{mistake}: {}", ran.stdout);
        true
    }
}

impl Ran {
    #[track_caller]
    fn outputs(&self) -> Vec<String> {
        texts(&self.report()).into_iter().map(str::to_owned).collect()
    }
}

/// Makes a mistake at chances from the first on, and finds each.
#[track_caller]
fn check(mistake: &str, words: &[&str]) {
    const NUM_RUNS: u64 = 5;
    let Some(runs) = Runs::new() else { return };
    let num_chances = runs.num_chances(mistake);
    assert!(num_chances > NUM_RUNS, "{mistake}: {num_chances} chances");
    // Not the last ones: another order may have a few less.
    let spread = (0..NUM_RUNS).map(|index| 1 + index * num_chances / (NUM_RUNS + 1));
    for at in spread {
        assert!(runs.is_found(&format!("{mistake}@{at}"), words), "{mistake}@{at} was not found");
    }
}

#[test]
fn memory_that_is_freed_under_a_queued_kernel() {
    // The kernel comes before or after, or reads what was never written there.
    check("early-free", &["a race: ", "the memory was freed by cuMemFreeAsync"]);
}

#[test]
fn a_pointer_of_another_device() {
    check("other-device", &["the memory is of cuda:1, and cuda:0 has", "is of cuda:0, and cuda:1"]);
}

#[test]
fn an_index_out_of_range() {
    // The embedding's tokens, the pages of the cache, the rows of logits.
    check("out-of-range", &["it called `__assertfail`: `"]);
}

#[test]
fn a_launch_whose_error_nobody_reads() {
    // Or the program reads what the kernel was to write.
    let words = "a launch failed, and nobody has read its error: kernel `";
    check("unread-launch", &[words, "was never written"]);
}

#[test]
fn a_thread_without_a_context() {
    let Some(runs) = Runs::new() else { return };
    let num_threads = runs.num_chances("no-context");
    let words = ["no context is current in this thread"];
    let found = (1..=num_threads).filter(|at| runs.is_found(&format!("no-context@{at}"), &words));
    // A thread may need none: one that only lets go of what another has made.
    assert!(found.count() > 0, "{num_threads} threads");
}

#[test]
fn a_missing_wait_between_streams() {
    // The copy comes before or after what it should wait for, or reads what is not there yet.
    let words = ["a race: ", "was used before it was there"];
    let Some(runs) = Runs::new() else { return };
    let num_chances = runs.num_chances("missing-wait");
    assert!(num_chances > 0);
    for at in 1..=num_chances {
        assert!(runs.is_found(&format!("missing-wait@{at}"), &words), "at {at}");
    }
}

#[test]
fn pinned_memory_that_is_written_before_a_copy_has_read_it() {
    check("pinned-reuse", &["the pinned source was changed before the copy had read it"]);
}
