//! Devices that fail in the middle: every request ends once, with its text or with words.

use sluicegate_slow::Slow;

use super::{
    PROMPT,
    run::{Ran, Rig, texts},
};

/// Ends that a run may have, by the exit code and words of the error output.
#[track_caller]
fn check_end(machine: &str, wanted: &[&str], ran: &Ran) -> bool {
    match ran.code {
        Some(0) => {
            assert_eq!(texts(&ran.report()), wanted, "{machine}");
            true
        }
        Some(1) => {
            let last = ran.stderr.lines().last().unwrap_or_default();
            let is_told = last.starts_with("error: ") && last.contains("an injected fault");
            assert!(is_told, "{machine}: {}", ran.stderr);
            assert!(ran.stdout.is_empty(), "{machine}: {}", ran.stdout);
            false
        }
        code => panic!("{machine}: it ended with {code:?}: {}", ran.stderr),
    }
}

#[test]
fn a_device_that_fails_ends_the_request_and_not_the_process() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 2);
    let options = ["--max-tokens", "3", "--temperature", "0", PROMPT];
    let placed = [&["--layers", "cuda:0=0..1,cuda:1=1..2"][..], &options].concat();
    let on_cpu = [&["--device", "cpu"][..], &options].concat();
    let wanted = rig.generate("1MiB", &model, &on_cpu).report();
    let wanted = texts(&wanted);
    // Spread over all that a run asks for, from its first allocation on.
    let many = Slow::Schedules.is_wanted("1,000 runs with a fault instead of 100");
    let count = if many { 1000 } else { 100 };
    let (mut passed, mut failed) = (0, 0);
    for index in 0..count {
        let (kind, most) = [("oom", 140), ("ecc", 220), ("lost", 220)][index % 3];
        let at = 1 + index * 7919 % most;
        let machine = format!("2x 256MiB, seed={index}, fault={kind}@{at}");
        let went_well = check_end(&machine, &wanted, &rig.generate(&machine, &model, &placed));
        (passed, failed) = (passed + usize::from(went_well), failed + usize::from(!went_well));
    }
    println!("of {count} runs with a fault {passed} gave their text, and {failed} said why not");
    assert!(failed > 0 && passed > 0);
}

#[test]
fn an_allocation_that_fails_once_in_a_step_is_made_up_for() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 2);
    let options = ["--device", "cuda:0", "--max-tokens", "3", "--temperature", "0", PROMPT];
    let wanted = rig.generate("256MiB", &model, &options).report();
    let machine = "256MiB, fault=oom@60";
    let found = rig.generate(machine, &model, &options);
    assert!(found.stderr.contains("an injected fault"), "{}", found.stderr);
    assert_eq!(texts(&found.report()), texts(&wanted));
}
