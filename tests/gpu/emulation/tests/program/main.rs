//! The program itself, built with CUDA and not changed for it, on emulated GPUs.
//!
//! `scripts/cuda-check` builds the program and names it; without it these tests are skipped.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod faults;
mod mistakes;
mod nccl;
mod run;
mod steps;

use run::{Ran, Rig, texts};
use serde_json::{Value, json};

const PROMPT: &str = "The quick brown fox";

fn schema() -> String {
    json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "boolean"}},
        "required": ["a", "b"],
        "additionalProperties": false
    })
    .to_string()
}

/// Rows of the ledger, each with its kind and its ends: `cuda:0` and `cpu:0` are alike, and the route
/// is left out.
fn ledger(report: &Value, kinds: &[&str]) -> Vec<String> {
    let rows = report["ledger"].as_array().unwrap().iter();
    let rows = rows.filter(|row| kinds.contains(&row["kind"].as_str().unwrap()));
    let line = |row: &Value| {
        let mut row = row.clone();
        row.as_object_mut().unwrap().remove("route");
        row.to_string().replace("cuda:", "cpu:")
    };
    rows.map(line).collect()
}

/// The routes of hidden values.
fn routes(report: &Value) -> Vec<&str> {
    let rows = report["ledger"].as_array().unwrap().iter();
    let hidden = rows.filter(|row| row["kind"] == "hidden");
    hidden.map(|row| row["route"].as_str().unwrap()).collect()
}

#[test]
fn beams_and_a_schema_go_over_two_gpus_as_over_two_cpus() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 7);
    let schema = schema();
    let options = ["--schema", &schema, "--beams", "2", "--max-tokens", "40", PROMPT];
    let wanted = [&["--layers", "cpu:0=0..4,cpu:1=4..7"][..], &options].concat();
    let wanted = rig.generate("1MiB", &model, &wanted).report();
    for seed in 0..3 {
        let machine = format!("2x 256MiB, seed={seed}");
        let found = rig.generate(&machine, &model, &[&["--device", "cuda"][..], &options].concat());
        let found = found.report();
        assert_eq!(texts(&found), texts(&wanted), "{machine}");
        let value: Value = serde_json::from_str(texts(&found)[0]).unwrap();
        assert!(value["a"].is_number() && value["b"].is_boolean(), "{value}");
        // The same values cross as on CPUs, byte for byte. Orders to the last stage are more: how to
        // sample goes up, too.
        let kinds = ["hidden", "ancestors"];
        assert_eq!(ledger(&found, &kinds), ledger(&wanted, &kinds));
        let first = |report: &Value| ledger(report, &["order"]).swap_remove(0);
        assert_eq!(first(&found), first(&wanted));
        // How many messages masks take depends on which are late.
        let of = |report: &Value, kind: &str, figure: &str| {
            let rows = report["ledger"].as_array().unwrap().iter();
            let mut rows = rows.filter(|row| row["kind"] == kind);
            rows.next().unwrap()[figure].clone()
        };
        assert_eq!(of(&found, "mask", "raw_bytes"), of(&wanted, "mask", "raw_bytes"));
        // Those of each microbatch; a group whose mask is late has a message of its own.
        let num = |kind: &str| of(&found, kind, "transfers").as_u64().unwrap();
        assert!(num("tokens") >= num("hidden"));
    }
}

#[test]
fn hidden_values_go_from_gpu_to_gpu_unless_a_link_cannot_be_trusted() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 7);
    let schema = schema();
    let options =
        ["--device", "cuda", "--schema", &schema, "--beams", "2", "--max-tokens", "40", PROMPT];
    let over = |machine: &str, route| {
        rig.generate(machine, &model, &[&["--route", route][..], &options].concat())
    };
    let wanted = over("3x 256MiB", "host").report();
    assert_eq!(routes(&wanted), ["host_staged", "host_staged"]);
    for seed in 0..3 {
        let found = over(&format!("3x 256MiB, seed={seed}"), "peer").report();
        assert_eq!((texts(&found), routes(&found)), (texts(&wanted), vec!["peer", "peer"]));
        let kinds = ["hidden", "order", "ancestors"];
        assert_eq!(ledger(&found, &kinds), ledger(&wanted, &kinds));
    }
    let garbled = over("3x 256MiB, garbage", "peer");
    let warning = "copies from cuda:0 to cuda:1 go through the host's memory, since those from memory \
                   to memory cannot be trusted";
    assert!(garbled.stderr.contains(warning), "{}", garbled.stderr);
    let found = garbled.report();
    assert_eq!((texts(&found), routes(&found)), (texts(&wanted), routes(&wanted)));
}

#[test]
fn any_number_of_gpus_gives_the_same_text() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 4);
    let options = ["--max-tokens", "12", "--temperature", "0", PROMPT];
    let on_cpu = [&["--device", "cpu"][..], &options].concat();
    let wanted = rig.generate("1MiB", &model, &on_cpu).report();
    let placements = [
        ("256MiB", "cuda:0=0..4"),
        ("2x 256MiB", "cuda:0=0..1,cuda:1=1..4"),
        ("256MiB sm_80 + 256MiB sm_86 + 256MiB sm_90", "cuda:2=0..1,cuda:0=1..2,cuda:1=2..4"),
        ("4x 256MiB, peer", "cuda:0=0..1,cuda:1=1..2,cuda:2=2..3,cuda:3=3..4"),
        ("256MiB", "cuda:0=0..2,cpu:0=2..4"),
        ("256MiB", "cpu:0=0..2,cuda:0=2..4"),
    ];
    for (seed, (machine, layers)) in placements.into_iter().enumerate() {
        let machine = format!("{machine}, seed={seed}");
        let found = rig.generate(&machine, &model, &[&["--layers", layers][..], &options].concat());
        assert_eq!(texts(&found.report()), texts(&wanted), "{machine}: {layers}");
    }
}

/// The device of each stage.
fn stages(report: &Value) -> Vec<&str> {
    let stages = report["plan"]["stages"].as_array().unwrap();
    stages.iter().map(|stage| stage["device"].as_str().unwrap()).collect()
}

#[test]
fn auto_takes_gpus_alone_unless_the_model_does_not_fit_on_them() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model_of("float32", 8, 1024);
    let options = ["--device", "auto", "--max-tokens", "4", "--temperature", "0", PROMPT];
    let large = rig.generate("256MiB", &model, &options).report();
    assert_eq!(stages(&large), ["cuda:0"]);
    let small = rig.generate("96MiB", &model, &options).report();
    let found = stages(&small);
    assert!(found.contains(&"cuda:0") && found.contains(&"cpu:0"), "{found:?}");
    assert_eq!(texts(&small), texts(&large));
}

#[test]
fn devices_are_listed_with_what_is_free_of_them() {
    let Some(rig) = Rig::new() else { return };
    let ran = rig.on("256MiB sm_80 + 1GiB sm_90", &["devices"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for (id, memory, capability) in [("cuda:0", "256.0 MiB", "8.0"), ("cuda:1", "1.0 GiB", "9.0")] {
        let line = ran.stdout.lines().find(|line| line.starts_with(id));
        let line = line.unwrap_or_else(|| panic!("no {id}: {}", ran.stdout));
        assert!(line.contains(memory) && line.contains(capability), "{line}");
    }
}

/// A list of devices, by their memory.
#[track_caller]
fn check_listed(ran: &Ran, want: &[&str]) {
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let is_shown = |line: &&str| line.starts_with("cuda:") && line.contains("Emulated GPU");
    let lines: Vec<&str> = ran.stdout.lines().filter(is_shown).collect();
    assert_eq!(lines.len(), want.len(), "{}", ran.stdout);
    for (line, memory) in lines.iter().zip(want) {
        assert!(line.contains(memory), "{line}");
    }
}

#[test]
fn the_driver_shows_what_it_is_told_to() {
    let Some(rig) = Rig::new() else { return };
    let machine = "256MiB sm_80 + 1GiB sm_90 + 512MiB sm_86";
    let devices = |visible| rig.seeing(visible, machine, &["devices"]);
    check_listed(&devices("1,0"), &["1.0 GiB", "256.0 MiB"]);
    check_listed(&devices("2,7,0"), &["512.0 MiB"]);
    check_listed(&devices("GPU-00000002,0"), &["1.0 GiB", "256.0 MiB"]);
    // The program runs on what it sees, and on nothing else.
    let model = rig.model("float32", 2);
    let options = ["--dummy-weights", "--json", "--max-tokens", "3", "--temperature", "0", PROMPT];
    let run = |visible, layers| {
        let arguments = ["generate", "--model", &model, "--layers", layers];
        rig.seeing(visible, machine, &[&arguments[..], &options].concat())
    };
    let [all, some] = [("0,1,2", "cuda:2=0..2"), ("2", "cuda:0=0..2")].map(|(it, at)| run(it, at));
    assert_eq!(texts(&all.report()), texts(&some.report()));
    assert_ne!(run("2", "cuda:1=0..2").code, Some(0));
    let none = run("", "cuda:0=0..2");
    assert!(none.code != Some(0) && none.stderr.contains("CUDA_VISIBLE_DEVICES shows none"));
}

#[test]
fn memory_is_held_as_planned() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 7);
    let arguments = ["doctor", "--model", &model, "--dummy-weights", "--device", "cuda"];
    let ran = rig.on("2x 256MiB", &arguments);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains("planned")).collect();
    assert_eq!(lines.len(), 2, "{}", ran.stdout);
    for line in lines {
        let percent = line.split_once("(+").or_else(|| line.split_once("(-")).unwrap().1;
        let percent: f64 = percent.split_once(" %").unwrap().0.parse().unwrap();
        assert!(percent <= 5.0, "{line}");
    }
}

#[test]
fn a_gpu_of_an_older_generation_is_refused_in_words() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 2);
    let ran = rig.generate("256MiB sm_75", &model, &["--device", "cuda:0", PROMPT]);
    assert_ne!(ran.code, Some(0));
    let words = "compute capability 7.5, but the kernels of this build are PTX for 8.0 and later";
    assert!(ran.stderr.contains(words), "{}", ran.stderr);
}
