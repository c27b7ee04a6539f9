//! How well stages are used, as the timeline's checker says; and that a lost overlap is noticed.

use sluicegate_placement::{
    Cluster, ClusterDevice, Hop, KvTokens, LinkFigures, Policy, Proof, Rates, Sequences, Solution,
    fixtures, solve,
};
use sluicegate_spec::{config::KvGroup, device::DeviceId, profile::ModelProfile, units::Bytes};

use super::{
    tests::{check, config, prompt, setup},
    *,
};
use crate::{
    scheduler::SchedulerConfig,
    timeline::{Usage, Window},
};

/// Requests of one token each in, and so many out.
fn decoding(num_requests: u32, max_tokens: usize) -> Vec<SimulatedRequest> {
    (0..num_requests).map(|it| SimulatedRequest::new(prompt(it, 1), max_tokens)).collect()
}

/// Overlapped transfers and the host take a twentieth of a stage's time each.
fn equal_stages(num_stages: usize) -> Uniform {
    let hop = Some(Hop { seconds: 0.05, overlaps: true });
    Uniform { hop, host_s: 0.05, ..Uniform::new(num_stages) }
}

/// The fewest microbatches that fill these stages, and pages enough.
fn filling(num_stages: usize) -> SchedulerConfig {
    SchedulerConfig {
        max_in_flight: num_stages + 1,
        token_budget: 256,
        ..config(4_096, &[KvGroup::Full])
    }
}

#[track_caller]
fn usage(run: &Run, window: Window) -> Usage {
    Usage::of(&run.timeline, window).expect("every stage has worked")
}

#[test]
fn equal_stages_decode_at_98_percent_of_the_ideal() {
    for (num_stages, num_requests) in [(2, 11), (4, 19), (8, 35)] {
        let timing = equal_stages(num_stages);
        let setup = setup(&timing, filling(num_stages));
        let run = check(&setup, &decoding(num_requests, 200));
        let usage = usage(&run, Window::Steady);
        assert!(usage.fraction_of_ideal >= 0.98, "{num_stages} stages: {usage:?}");
        let window_s = usage.end_s - usage.start_s;
        assert!(window_s >= 0.95 * run.seconds(), "{num_stages} stages: {usage:?}");
        for stage in usage.stages {
            assert!(stage.computing >= 0.98, "{num_stages} stages: {stage:?}");
        }
    }
}

#[test]
fn one_microbatch_less_than_fills_the_stages_is_noticed() {
    let timing = equal_stages(4);
    let starved = SchedulerConfig { max_in_flight: 3, ..filling(4) };
    let run = check(&setup(&timing, starved), &decoding(19, 100));
    let usage = usage(&run, Window::Steady);
    assert!(usage.fraction_of_ideal < 0.8, "{usage:?}");
    assert!(usage.stages[0].awaiting_host > 0.2 && usage.stages[1].awaiting_input > 0.2);
}

fn two_to_one() -> (ModelProfile, Cluster) {
    let weights: Vec<u64> =
        std::iter::once(1_000).chain([1_000_000; 60]).chain([2_000_000]).collect();
    let device = |index, speed: f64| ClusterDevice {
        bytes_per_s: 1e10 * speed,
        flops_per_s: Rates::uniform(1e9 * speed),
        ..ClusterDevice::cpu(index, Bytes(1 << 30))
    };
    let mut cluster = Cluster::of(vec![device(0, 2.0), device(1, 1.0)]);
    cluster.unlisted = LinkFigures { latency_s: 1e-4, overlaps: true, ..LinkFigures::default() };
    (fixtures::model(&weights, 16, 0), cluster)
}

#[test]
fn unequal_devices_reach_95_percent_of_the_bound() {
    let (profile, cluster) = two_to_one();
    let policy = Policy {
        sequences: Sequences::Exactly(16),
        prompt_tokens: 1,
        output_tokens: 200,
        kv_tokens: KvTokens::Exactly(16 * 208),
        ..Policy::default()
    };
    let Solution { plan, prediction } = solve(&profile, &cluster, &policy).unwrap();
    assert_eq!(plan.stages.len(), 2, "{plan:?}");
    let units = |device| plan.stages.iter().find(|it| it.device == device).unwrap().units;
    let share = |device| units(device).end - units(device).start;
    assert!(share(DeviceId::Cpu(0)) > share(DeviceId::Cpu(1)));
    let timing = Planned::new(&profile, &cluster, &plan, 0.0).unwrap();
    let uniform = Uniform::new(2);
    let setup = Setup { timing: &timing, ..setup(&uniform, SchedulerConfig::new(&plan, &profile)) };
    let run = check(&setup, &decoding(16, 200));
    let usage = usage(&run, Window::Steady);
    assert!(usage.fraction_of_ideal >= 0.95, "{usage:?}");
    let Proof::Search { lower_bound_s, .. } = prediction.proof else { panic!("auto has a bound") };
    let rate = run.num_tokens() as f64 / run.seconds();
    assert!(rate * lower_bound_s >= 0.95, "{rate} tokens/s of {}", lower_bound_s.recip());
}

/// What part of all stages' time from beginning to end goes into 64 chunks of one prompt.
fn prefill(scheduler: SchedulerConfig) -> f64 {
    let timing = Uniform { stage_s: vec![0.2; 4], token_s: 0.05, ..equal_stages(4) };
    let scheduler = SchedulerConfig { token_budget: 16, ..scheduler };
    let run = check(&setup(&timing, scheduler), &[SimulatedRequest::new(prompt(1, 64 * 16), 1)]);
    assert_eq!(run.num_batches, 64);
    usage(&run, Window::Whole).mean_computing()
}

#[test]
fn chunks_of_a_prompt_follow_each_other_through_the_stages() {
    // 64 / (64 + 4 - 1) is 95.5 %.
    let overlapping = prefill(filling(4));
    assert!(overlapping >= 0.91, "{overlapping}");
    let alone = prefill(SchedulerConfig { max_in_flight: 1, ..filling(4) });
    assert!(alone < 0.3, "chunks that wait for each other: {alone}");
}

/// Seconds that 32 requests take on 4 stages.
fn seconds(is_constrained: bool, mask_start: MaskStart) -> f64 {
    let timing = Uniform { mask_s: 0.2, ..equal_stages(4) };
    let requests: Vec<SimulatedRequest> = decoding(32, 60)
        .into_iter()
        .map(|request| SimulatedRequest {
            constraint: is_constrained.then(Constraint::default),
            ..request
        })
        .collect();
    let setup = Setup { mask_start, ..setup(&timing, filling(4)) };
    let run = check(&setup, &requests);
    let usage = usage(&run, Window::Steady);
    let awaits_masks = usage.stages[3].awaiting_masks > 0.0;
    assert_eq!(awaits_masks, mask_start == MaskStart::AfterCompute, "{usage:?}");
    run.seconds()
}

#[test]
fn masks_are_computed_while_the_microbatch_travels() {
    let free_s = seconds(false, MaskStart::WithOrder);
    let constrained_s = seconds(true, MaskStart::WithOrder);
    assert!(free_s / constrained_s >= 0.97, "{free_s} s free, {constrained_s} s constrained");
    let exposed_s = seconds(true, MaskStart::AfterCompute);
    assert!(free_s / exposed_s < 0.8, "{free_s} s free, {exposed_s} s without overlap");
}
