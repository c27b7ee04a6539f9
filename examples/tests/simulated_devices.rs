//! Example tests of a service's assumptions, on devices that need not exist: the placement of its
//! model, the speed under its load, and the cost of a lost device.
//!
//! `cargo test -p sluicegate-examples --test simulated_devices`

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::path::Path;

use sluicegate::{
    placement::{self, Cluster, KvTokens, Plan, PlanError, Policy, Sequences},
    scheduler::SchedulerConfig,
    simulate::{
        Alone, Constraint, EndReason, Fault, MaskStart, Planned, Run, Search, Setup,
        SimulatedRequest, Timing, Uniform, alone, simulate,
    },
    spec::{
        config::KvGroup,
        device::DeviceId,
        profile::{ModelProfile, Target},
    },
    timeline::{Usage, Window},
};

/// Llama 3 8B, from its configuration alone.
fn llama() -> ModelProfile {
    let config = Path::new("../tests/fixtures/configs/llama-3-8b.json");
    ModelProfile::read(config, Target::ACCELERATOR).unwrap()
}

/// The promised load: 32 sequences at once, 2,048 tokens each.
fn policy() -> Policy {
    let kv_tokens = KvTokens::Exactly(32 * 2_048);
    Policy { sequences: Sequences::Exactly(32), kv_tokens, ..Policy::default() }
}

fn plan(cluster: &str) -> Plan {
    placement::plan(&llama(), &Cluster::parse_spec(cluster).unwrap(), &policy()).unwrap()
}

/// Half a second apart, every other one constrained.
fn requests() -> Vec<SimulatedRequest> {
    let request = |number: u32| SimulatedRequest {
        arrival_s: 0.5 * f64::from(number),
        constraint: number.is_multiple_of(2).then(Constraint::default),
        ..SimulatedRequest::new((0..256).map(|it| 1_000 * number + it).collect(), 64)
    };
    (0..40).map(request).collect()
}

#[test]
fn the_slower_card_gets_fewer_layers() {
    let plan = plan("1x rtx4090 + 1x rtx3090, pcie4");
    let layers = |card| {
        let of_card = plan.stages.iter().filter(|stage| stage.device == DeviceId::Cuda(card));
        of_card.map(|stage| plan.layers(stage).iter().count()).sum::<usize>()
    };
    assert_eq!(layers(0) + layers(1), 32);
    assert!(layers(0) >= layers(1), "{plan}");
    assert!(plan.stages.iter().all(|stage| stage.total_bytes() <= stage.cap_bytes));
}

#[test]
fn twice_the_load_is_too_much_for_one_card_and_the_error_says_so() {
    let twice = Policy { kv_tokens: KvTokens::Exactly(64 * 2_048), ..policy() };
    let cluster = Cluster::parse_spec("1x rtx3090").unwrap();
    let error = placement::plan(&llama(), &cluster, &twice).unwrap_err();
    let PlanError::Infeasible(shortfall) = error else {
        panic!("weights and cache do not fit into 24 GB")
    };
    assert!(shortfall.to_string().contains("cuda:0"), "{shortfall}");
}

#[test]
fn the_load_is_served_in_time() {
    let (profile, cluster) = (llama(), Cluster::parse_spec("2x rtx4090, pcie4").unwrap());
    let plan = placement::plan(&profile, &cluster, &policy()).unwrap();
    let timing = Planned::new(&profile, &cluster, &plan, 50e-6).unwrap();
    let run = run(&timing, SchedulerConfig::new(&plan, &profile), &requests(), &[]);
    assert!(run.ends.iter().all(|end| end.reason == EndReason::Finished));
    let first = |run: &Run| -> Vec<f64> {
        let ends = run.ends.iter();
        ends.map(|end| end.first_token_s.unwrap() - end.arrival_s).collect()
    };
    let longest = first(&run).into_iter().fold(0.0, f64::max);
    assert!(longest < 0.25, "a first token took {longest:.3} s");
    let slow = run.token_s.iter().filter(|seconds| **seconds > 0.05).count();
    assert!(slow * 100 <= run.token_s.len(), "{slow} of {} tokens were slow", run.token_s.len());
    let usage = Usage::of(&run.timeline, Window::Steady).unwrap();
    assert!(usage.stages.iter().all(|stage| stage.awaiting_masks < 0.01), "{usage:?}");
}

/// Stages of a second each that keep shadow pages, so that a wrong page would change a text.
#[test]
fn a_lost_device_costs_time_and_no_text() {
    let scheduler = SchedulerConfig {
        max_rows: 32,
        rows_per_microbatch: 32,
        reckons_ahead: true,
        kv_groups: vec![KvGroup::Full],
        pages_per_group: vec![24],
        num_stages: 3,
        max_in_flight: 4,
        token_budget: 64,
        least_chunk: 16,
        attention_cost: 0.0,
        shares_prefixes: true,
    };
    let (timing, kv_groups) = (Uniform::new(3), scheduler.kv_groups.clone());
    let beams = |number: u32| SimulatedRequest {
        search: Search::Beams(3),
        ..SimulatedRequest::new((0..20).map(|it| 1_000 * number + it).collect(), 12)
    };
    let requests: Vec<SimulatedRequest> = (0..4).map(beams).collect();
    let lost = [Fault::LostStage { at_s: 17.0, restart_s: 30.0 }];
    let calm = run(&timing, scheduler.clone(), &requests, &[]);
    let hit = run(&timing, scheduler, &requests, &lost);
    assert_eq!((calm.incarnations, hit.incarnations), (1, 2));
    assert!(hit.seconds() > calm.seconds() + 30.0);
    for (request, (calm, hit)) in requests.iter().zip(calm.ends.iter().zip(&hit.ends)) {
        let outputs: Vec<Alone> = calm.outputs.iter().map(Alone::of).collect();
        assert_eq!(outputs, alone(request, 3, &kv_groups));
        assert_eq!(calm.outputs, hit.outputs);
    }
}

fn run(
    timing: &dyn Timing,
    scheduler: SchedulerConfig,
    requests: &[SimulatedRequest],
    faults: &[Fault],
) -> Run {
    let setup = Setup {
        timing,
        scheduler,
        mask_workers: 2,
        mask_start: MaskStart::WithOrder,
        keeps_pages: true,
        faults,
    };
    simulate(&setup, requests).unwrap()
}
