//! Hidden values that go by NCCL from GPU to GPU.

use super::{
    PROMPT, ledger, routes,
    run::{Rig, texts},
};

const OPTIONS: [&str; 8] =
    ["--samples", "4", "--temperature", "1", "--ignore-eos", "--max-tokens", "12", PROMPT];

#[test]
fn nccl_gives_the_text_of_one_gpu_on_two_and_four() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 4);
    let over = |machine: &str, route, layers: &str| {
        let placed = ["--seed", "3", "--route", route, "--layers", layers];
        rig.generate(machine, &model, &[&placed[..], &OPTIONS].concat()).report()
    };
    let wanted = over("256MiB", "best", "cuda:0=0..4");
    // In the last ones stages share a GPU, whose streams must not wait for each other.
    let placements = [
        ("2x 256MiB", "cuda:0=0..2,cuda:1=2..4"),
        ("4x 256MiB, peer", "cuda:0=0..1,cuda:1=1..2,cuda:2=2..3,cuda:3=3..4"),
        ("2x 256MiB", "cuda:0=0..1,cuda:1=1..2,cuda:0=2..4"),
        ("2x 256MiB", "cuda:1=0..1,cuda:0=1..2,cuda:1=2..3,cuda:0=3..4"),
    ];
    for (machine, layers) in placements {
        let staged = over(machine, "host", layers);
        for seed in 0..3 {
            let machine = format!("{machine}, seed={seed}");
            let found = over(&machine, "nccl", layers);
            assert_eq!(texts(&found), texts(&wanted), "{machine}: {layers}");
            assert!(routes(&found).iter().all(|it| *it == "nccl"), "{:?}", routes(&found));
            let kinds = ["hidden", "order"];
            assert_eq!(ledger(&found, &kinds), ledger(&staged, &kinds), "{machine}: {layers}");
        }
    }
}

#[test]
fn a_communicator_that_fails_ends_the_request_and_not_the_process() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 2);
    let placed = ["--route", "nccl", "--layers", "cuda:0=0..1,cuda:1=1..2"];
    let options = ["--max-tokens", "6", "--temperature", "0", PROMPT];
    let run = |machine: &str| rig.generate(machine, &model, &[&placed[..], &options].concat());
    let wanted = run("2x 256MiB").report();
    let link = "copying hidden from cuda:0 to cuda:1 failed: ncclCommGetAsyncError: remote process \
                exited or there was a network error: a rank has failed: an injected fault";
    // A link is tried with six operations. Each rank may fail; once, it is made up for.
    for at in 7..13 {
        let machine = format!("2x 256MiB, seed={at}, fault=nccl@{at}");
        let ran = run(&machine);
        assert!(ran.stderr.contains("ncclCommGetAsyncError"), "{machine}: {}", ran.stderr);
        assert_eq!(texts(&ran.report()), texts(&wanted), "{machine}");
    }
    // Of every new beginning the first send or receive behind the trial.
    for step in [7, 8] {
        let faults: Vec<String> =
            (1..10).map(|life| format!("fault=nccl@{}", life * step)).collect();
        let ran = run(&format!("2x 256MiB, {}", faults.join(", ")));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        let last = ran.stderr.lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains(link), "{}", ran.stderr);
    }
    for at in 1..7 {
        let ran = run(&format!("2x 256MiB, fault=nccl@{at}"));
        let is_told = ran.stderr.starts_with("error: ") || ran.stderr.contains(link);
        assert!(ran.code == Some(1) && is_told, "{}", ran.stderr);
    }
}

#[test]
fn a_link_by_nccl_that_garbles_is_refused() {
    let Some(rig) = Rig::new() else { return };
    let model = rig.model("float32", 2);
    let placed = ["--route", "nccl", "--layers", "cuda:0=0..1,cuda:1=1..2", PROMPT];
    for (at, length) in [(1, 1), (3, 1025), (6, 1 << 18)] {
        let machine = format!("2x 256MiB, fault=nccl-garbage@{at}");
        let ran = rig.generate(&machine, &model, &placed);
        let words = format!(
            "copying hidden from cuda:0 to cuda:1 failed: 1 of {length} numbers arrived otherwise \
             than NCCL was given them"
        );
        assert!(ran.code == Some(1) && ran.stderr.contains(&words), "{}", ran.stderr);
    }
}

#[test]
fn nccl_is_looked_for_only_where_it_is_asked_for() {
    let Some(rig) = Rig::new() else { return };
    std::fs::remove_file(rig.file("libnccl.so.2")).unwrap();
    let model = rig.model("float32", 2);
    let placed = ["--max-tokens", "2", "--layers", "cuda:0=0..1,cuda:1=1..2", PROMPT];
    rig.generate("2x 256MiB", &model, &placed).report();
    let ran = rig.generate("2x 256MiB", &model, &[&["--route", "nccl"][..], &placed].concat());
    let words = "libnccl.so.2 was not found; `pip install nvidia-nccl-cu13` has it, and \
                 SLUICEGATE_CUDA_LIBS can name its folder";
    assert!(ran.code == Some(1) && ran.stderr.contains(words), "{}", ran.stderr);
}
