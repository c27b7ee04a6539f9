//! Example tests of placements on devices that need not exist, to copy and change: what a team
//! wants to know before it buys, rents or deploys. They need no GPU and take milliseconds.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::Path;

use sluicegate::{
    placement::{
        Cluster, KvTokens, Objective, PlanError, Policy, Sequences, Solution, baselines, solve,
    },
    spec::{
        device::DeviceId::{self, Cuda},
        profile::{ModelProfile, Target},
        units::{Bytes, LayerRange},
    },
};

/// Reads the model from its `config.json` alone.
fn model(name: &str) -> ModelProfile {
    let configs = Path::new("../tests/fixtures/configs");
    ModelProfile::read(&configs.join(format!("{name}.json")), Target::ACCELERATOR).unwrap()
}

/// The expected load: 16 chats at once.
fn chats() -> Policy {
    Policy {
        sequences: Sequences::Exactly(16),
        prompt_tokens: 1024,
        output_tokens: 512,
        ..Policy::default()
    }
}

#[track_caller]
fn place(name: &str, cluster: &str, policy: &Policy) -> Solution {
    solve(&model(name), &Cluster::parse_spec(cluster).unwrap(), policy).unwrap()
}

fn devices(solution: &Solution) -> Vec<DeviceId> {
    solution.plan.stages.iter().map(|stage| stage.device).collect()
}

#[test]
fn an_8b_model_with_16_chats_fits_on_two_cards_of_24_gib() {
    let policy = Policy { kv_tokens: KvTokens::Exactly(16 * 1536), ..chats() };
    let solution = place("llama-3-8b", "2x rtx4090, pcie4", &policy);
    assert_eq!(devices(&solution), [Cuda(0), Cuda(1)]);
    assert_eq!(solution.prediction.sequences, 16);
}

#[test]
fn a_70b_model_does_not_and_we_are_told_what_is_missing() {
    let cluster = Cluster::parse_spec("2x rtx4090, pcie4").unwrap();
    let Err(PlanError::Infeasible(shortfall)) = solve(&model("llama-3-70b"), &cluster, &chats())
    else {
        panic!("131 GiB fit on no two cards of 24 GiB");
    };
    let (device, missing) = shortfall.short.unwrap();
    assert_eq!(device, Cuda(0));
    assert!(missing > Bytes(80 << 30), "{missing}");
}

#[test]
fn no_device_is_filled_beyond_nine_tenths() {
    let cluster = Cluster::parse_spec("2x rtx4090 + 1x rtx3090, pcie4").unwrap();
    let tenth_off = |memory: Bytes| Bytes(memory.0 / 10 * 9);
    let memory_caps = cluster.devices.iter().map(|it| (it.id, tenth_off(it.memory))).collect();
    let policy = Policy { memory_caps, ..chats() };
    let Solution { plan, .. } = solve(&model("llama-3-8b"), &cluster, &policy).unwrap();
    for stage in &plan.stages {
        let device = cluster.devices.iter().find(|it| it.id == stage.device).unwrap();
        assert!(stage.total_bytes() <= tenth_off(device.memory), "{plan}");
    }
}

#[test]
fn the_card_with_the_screen_is_left_alone() {
    let policy = Policy { forbidden: [Cuda(0)].into(), ..chats() };
    let solution = place("mistral-7b", "3x rtx4090, pcie4", &policy);
    assert!(!devices(&solution).contains(&Cuda(0)));
}

#[test]
fn layers_that_share_something_stay_together() {
    let together = LayerRange { start: 10, end: 20 };
    let policy = Policy { keep_together: vec![together], ..chats() };
    let Solution { plan, .. } = place("llama-3-8b", "4x l4, pcie4", &policy);
    let holds = |stage| {
        let layers = plan.layers(stage);
        layers.start <= together.start && together.end <= layers.end
    };
    assert_eq!(plan.stages.iter().filter(|stage| holds(stage)).count(), 1, "{plan}");
}

#[test]
fn a_single_user_is_served_fastest_by_the_fastest_card() {
    let policy = Policy { objective: Objective::Latency, ..chats() };
    let solution = place("mistral-7b", "1x rtx3090 + 1x rtx4090, pcie4", &policy);
    assert_eq!(devices(&solution), [Cuda(1)]);
}

#[test]
fn one_more_card_never_makes_the_plan_worse() {
    let cluster = Cluster::parse_spec("2x rtx4090, pcie4").unwrap();
    let (profile, policy) = (model("llama-3-8b"), chats());
    let before = solve(&profile, &cluster, &policy).unwrap();
    for more in ["+1 rtx4090", "+1 t4", "+1 h100"] {
        let after = solve(&profile, &cluster.extended(more).unwrap(), &policy).unwrap();
        let gain = after.prediction.tokens_per_s() / before.prediction.tokens_per_s();
        assert!(gain > 1.0 - 1e-9, "{more}: {gain}");
    }
}

#[test]
fn the_plan_is_proven_and_no_simple_rule_beats_it() {
    let cluster = Cluster::parse_spec("2x a100 nvlink + 2x l40s, pcie4").unwrap();
    let (profile, policy) = (model("llama-3-70b"), chats());
    let solution = solve(&profile, &cluster, &policy).unwrap();
    assert!(solution.prediction.gap().unwrap() < 1e-9);
    for (rule, peer) in baselines(&profile, &cluster, &policy, &solution) {
        let ours = solution.prediction.objective_value;
        let is_worse = peer.objective_value.is_some_and(|theirs| theirs >= ours * (1.0 - 1e-9));
        assert!(!peer.feasible || is_worse, "{rule}");
    }
}
