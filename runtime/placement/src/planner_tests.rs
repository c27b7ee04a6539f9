//! Tests of the planner as a whole: properties, comparison with brute force, and what it says.

use std::{fmt::Write, path::Path};

use proptest::prelude::*;
use sluicegate_spec::{
    config::KvGroup,
    device::DeviceId::{self, Cpu, Cuda},
    profile::{ModelProfile, Target, Workspace},
    units::{Bytes, LayerRange},
};

use super::{
    Cluster, ClusterLink, CostModel, KvTokens, LinkFigures, Objective, Placement, Plan, PlanError,
    Policy, Rates, Sequences, Solution, fixtures::model, plan, predict, solve,
};

fn exactly(tokens: usize) -> Policy {
    let kv_tokens = KvTokens::Exactly(tokens);
    Policy { kv_tokens, sequences: Sequences::Exactly(8), ..Policy::default() }
}

fn capped(tokens: usize, caps: &[u64]) -> (Cluster, Policy) {
    let ids = (0..).map(Cpu);
    let memory_caps = ids.zip(caps.iter().map(|cap| Bytes(*cap))).collect();
    let num_devices = u32::try_from(caps.len()).unwrap();
    let cluster = Cluster::logical_cpus(num_devices, Bytes(1 << 40));
    (cluster, Policy { memory_caps, ..exactly(tokens) })
}

fn given(ranges: &[(DeviceId, usize, usize)]) -> Policy {
    let layers = ranges.iter().map(|&(device, start, end)| (device, LayerRange { start, end }));
    Policy { placement: Placement::Layers(layers.collect()), ..exactly(16) }
}

fn stages(plan: &Plan) -> Vec<(DeviceId, usize, usize)> {
    plan.stages.iter().map(|it| (it.device, it.units.start, it.units.end)).collect()
}

/// Weights of embedding, layers and head; bytes of a token's cache; the tied copy; workspaces.
fn any_model() -> impl Strategy<Value = ModelProfile> {
    (prop::collection::vec(1..100_u64, 3..9), 0..4_u64, prop_oneof![Just(0), 1..100_u64])
        .prop_flat_map(|(weights, kv, tied)| {
            let workspaces = prop::collection::vec(0..3_u64, weights.len());
            workspaces.prop_map(move |workspaces| {
                let mut profile = model(&weights, kv, tied);
                for (unit, bytes) in profile.units.iter_mut().zip(workspaces) {
                    let bytes_per_row = Bytes(bytes);
                    unit.workspace = Workspace { bytes_per_row, ..Workspace::default() };
                }
                profile
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Units in order and caps are checked wherever a plan is made; that the answer is repeated is
    /// checked here.
    #[test]
    fn plans_are_valid_and_repeatable(
        profile in any_model(),
        caps in prop::collection::vec(1..600_u64, 1..5),
    ) {
        let (cluster, policy) = capped(16, &caps);
        let first = plan(&profile, &cluster, &policy);
        prop_assert_eq!(&first, &plan(&profile, &cluster, &policy));
        if let Ok(plan) = first {
            prop_assert_eq!(Plan::check(&plan), Ok(()));
            let weights: u64 = plan.stages.iter().map(|it| it.weight_bytes.0).sum();
            let units: u64 = profile.units.iter().map(|it| it.weight_bytes.0).sum();
            // A head on the device of the embedding, though in another stage, shares it.
            let is_apart = plan.stages[0].device != plan.stages[plan.stages.len() - 1].device;
            let copied = if is_apart { profile.tied_embedding_bytes.0 } else { 0 };
            prop_assert_eq!(weights, units + copied);
        }
    }

    #[test]
    fn what_a_shortfall_proposes_fits(
        profile in any_model(),
        caps in prop::collection::vec(1..200_u64, 1..5),
    ) {
        let (cluster, policy) = capped(64, &caps);
        let Err(PlanError::Infeasible(shortfall)) = plan(&profile, &cluster, &policy) else {
            return Ok(());
        };
        let (device, extra) = shortfall.short.unwrap();
        let with = |extra: u64| {
            let mut policy = policy.clone();
            policy.memory_caps.get_mut(&device).unwrap().0 += extra;
            plan(&profile, &cluster, &policy).is_ok()
        };
        prop_assert!(with(extra.0));
        prop_assert!(!with(extra.0 - 1));
        if let Some(tokens) = shortfall.fitting_kv_tokens {
            let fewer = Policy { kv_tokens: KvTokens::Exactly(tokens), ..policy.clone() };
            prop_assert!(plan(&profile, &cluster, &fewer).is_ok());
        }
    }
}

/// Units of these many MiB on devices of these speeds, relative to the usual one.
fn speeds(weights: &[u64], speeds: &[f64]) -> Vec<(DeviceId, usize, usize)> {
    let weights: Vec<u64> = weights.iter().map(|weight| weight << 20).collect();
    let num_devices = u32::try_from(speeds.len()).unwrap();
    let mut cluster = Cluster::logical_cpus(num_devices, Bytes(1 << 40));
    for (device, speed) in cluster.devices.iter_mut().zip(speeds) {
        device.bytes_per_s *= speed;
        device.flops_per_s = Rates::uniform(device.flops_per_s.f32 * speed);
    }
    stages(&plan(&model(&weights, 0, 0), &cluster, &exactly(8 * 1024)).unwrap())
}

#[test]
fn equal_devices_get_equal_work() {
    let found = speeds(&[1, 10, 10, 10, 10, 10, 10, 1], &[1.0, 1.0]);
    assert_eq!(found, [(Cpu(0), 0, 4), (Cpu(1), 4, 8)]);
}

#[test]
fn a_device_of_twice_the_speed_gets_twice_the_work() {
    let found = speeds(&[1, 10, 10, 10, 10, 10, 10, 10, 10, 10, 1], &[1.0, 2.0]);
    let layers = |device| -> usize {
        let of_device = found.iter().filter(|(owner, ..)| *owner == device);
        of_device.map(|(_, start, end)| (*end).min(10) - (*start).max(1)).sum()
    };
    assert_eq!((layers(Cpu(0)), layers(Cpu(1))), (3, 6));
}

#[test]
fn devices_that_would_slow_the_others_down_are_left_out() {
    let found = speeds(&[1, 10, 10, 10, 10, 10, 10, 10, 1], &[1.0, 0.01, 1.0]);
    assert!(found.iter().all(|(device, ..)| *device != Cpu(1)), "{found:?}");
}

#[test]
fn one_sequence_runs_on_one_device_if_it_fits() {
    let profile = model(&[1 << 20; 8], 0, 0);
    let cluster = Cluster::logical_cpus(3, Bytes(1 << 40));
    let policy = Policy { objective: Objective::Latency, ..exactly(1024) };
    assert_eq!(plan(&profile, &cluster, &policy).unwrap().stages.len(), 1);
    let capped = Cluster::logical_cpus(3, Bytes(5 << 20));
    assert_eq!(plan(&profile, &capped, &policy).unwrap().stages.len(), 2);
}

#[test]
fn of_equal_devices_the_first_is_taken_or_the_one_of_higher_priority() {
    let profile = model(&[1 << 20; 8], 0, 0);
    let mut cluster = Cluster::logical_cpus(3, Bytes(5 << 20));
    let policy = Policy { objective: Objective::Latency, ..exactly(1024) };
    let devices = |cluster: &Cluster| -> Vec<DeviceId> {
        stages(&plan(&profile, cluster, &policy).unwrap()).iter().map(|it| it.0).collect()
    };
    assert_eq!(devices(&cluster), [Cpu(0), Cpu(1)]);
    cluster.devices[2].priority = 1;
    assert_eq!(devices(&cluster), [Cpu(2), Cpu(0)]);
    cluster.devices[0].priority = -1;
    assert_eq!(devices(&cluster), [Cpu(2), Cpu(1)]);
}

#[test]
fn devices_without_memory_or_permission_are_left_out() {
    let profile = model(&[10, 10, 10, 10], 0, 0);
    let (cluster, policy) = capped(16, &[20, 9, 20]);
    let found = plan(&profile, &cluster, &policy).unwrap();
    assert_eq!(stages(&found), [(Cpu(0), 0, 2), (Cpu(2), 2, 4)]);

    let (cluster, mut policy) = capped(16, &[20; 3]);
    policy.forbidden.insert(Cpu(0));
    let found = plan(&profile, &cluster, &policy).unwrap();
    assert_eq!(stages(&found), [(Cpu(1), 0, 2), (Cpu(2), 2, 4)]);
}

#[test]
fn spares_are_used_only_where_the_others_do_not_suffice() {
    let profile = model(&[10, 10, 10, 10], 0, 0);
    let mut cluster = Cluster::logical_cpus(3, Bytes(1000));
    cluster.devices[0].is_spare = true;
    let devices = |caps: [u64; 3]| -> Result<Vec<DeviceId>, PlanError> {
        let found = plan(&profile, &cluster, &capped(16, &caps).1)?;
        Ok(found.stages.iter().map(|it| it.device).collect())
    };
    assert_eq!(devices([1000, 20, 20]).unwrap(), [Cpu(1), Cpu(2)]);
    assert!(devices([1000, 20, 9]).unwrap().contains(&Cpu(0)));
    let mut policy = exactly(16);
    policy.forbidden.extend([Cpu(1), Cpu(2)]);
    assert_eq!(plan(&profile, &cluster, &policy).unwrap().stages[0].device, Cpu(0));
    let Err(PlanError::Infeasible(shortfall)) = devices([9, 20, 9]) else {
        panic!("38 bytes do not hold 40");
    };
    let said = shortfall.to_string();
    assert!(said.contains("cpu:0") && said.contains("cpu:1"), "{said}");
}

#[test]
fn a_head_away_from_its_tied_embedding_holds_a_copy() {
    let profile = model(&[100, 10, 10, 1], 0, 100);
    let weights = |policy: &Policy| -> Vec<u64> {
        let found = plan(&profile, &Cluster::logical_cpus(2, Bytes(1000)), policy).unwrap();
        found.stages.iter().map(|it| it.weight_bytes.0).collect()
    };
    assert_eq!(weights(&given(&[(Cpu(0), 0, 2)])), [121]);
    assert_eq!(weights(&given(&[(Cpu(0), 0, 1), (Cpu(1), 1, 2)])), [110, 111]);
}

#[test]
fn a_device_may_hold_two_stages_within_one_cap() {
    let profile = model(&[10; 8], 0, 0);
    let cluster = Cluster::logical_cpus(2, Bytes(60));
    let ranges = [(Cpu(0), 0, 2), (Cpu(1), 2, 4), (Cpu(0), 4, 6)];
    let found = plan(&profile, &cluster, &given(&ranges)).unwrap();
    assert_eq!(stages(&found), [(Cpu(0), 0, 3), (Cpu(1), 3, 5), (Cpu(0), 5, 8)]);

    let tight = Cluster::logical_cpus(2, Bytes(59));
    let Err(PlanError::Infeasible(shortfall)) = plan(&profile, &tight, &given(&ranges)) else {
        panic!("60 bytes do not fit 59");
    };
    assert_eq!(shortfall.short, Some((Cpu(0), Bytes(1))));
}

#[test]
fn windows_need_no_more_pages_than_the_batch_fills() {
    let two = |tokens| {
        let (prompt_tokens, output_tokens) = (30, 20);
        Policy { sequences: Sequences::Exactly(2), prompt_tokens, output_tokens, ..exactly(tokens) }
    };
    let mut profile = model(&[10; 4], 1, 0);
    profile.kv_groups = vec![KvGroup::Full, KvGroup::Window(32)];
    profile.units[2].kv.as_mut().unwrap().group_idx = 1;
    let policy = Policy { chunk_tokens: 16, ..two(1000) };
    let found = plan(&profile, &Cluster::logical_cpus(1, Bytes(1 << 20)), &policy).unwrap();
    // Two rows of a window of two pages, a chunk of one, and one because neither starts on a page.
    assert_eq!(found.pages_per_group, [63, 8]);
    assert_eq!((found.kv_tokens, found.stages[0].kv_bytes), (1008, Bytes((63 + 8) * 16)));

    let policy = Policy { chunk_tokens: 16, ..two(100) };
    let found = plan(&profile, &Cluster::logical_cpus(1, Bytes(1 << 20)), &policy).unwrap();
    assert_eq!(found.pages_per_group, [7, 7]);
}

#[test]
fn reserves_and_caps_are_kept() {
    let profile = model(&[10; 4], 0, 0);
    let mut cluster = Cluster::logical_cpus(1, Bytes(50));
    cluster.devices[0].reserve = Bytes(10);
    assert!(plan(&profile, &cluster, &exactly(1)).is_ok());
    cluster.devices[0].reserve = Bytes(11);
    assert!(plan(&profile, &cluster, &exactly(1)).is_err());
    cluster.devices[0].reserve = Bytes(0);
    let mut policy = exactly(1);
    policy.memory_caps.insert(Cpu(0), Bytes(1000));
    let found = plan(&profile, &cluster, &policy).unwrap();
    assert_eq!(found.stages[0].cap_bytes, Bytes(50), "a cap adds no memory");
}

#[test]
fn plans_print_as_tables() {
    let mib = 1 << 20;
    let mut profile = model(&[17 * mib, 4 * mib, 4 * mib, 4 * mib, 4 * mib, 1000], 2048, 17 * mib);
    profile.units[5].workspace.bytes_per_row = Bytes(400_000);
    let (cluster, policy) = capped(4096, &[300 * mib, 40 * mib, 300 * mib]);
    let Policy { placement, .. } = given(&[(Cpu(0), 0, 2), (Cpu(1), 2, 3), (Cpu(2), 3, 4)]);
    let found = plan(&profile, &cluster, &Policy { placement, ..policy }).unwrap();
    insta::assert_snapshot!(found, @r"
    stage  device  units                    weights        KV  workspace     total  of cap
        0  cpu:0   embed, layers 0..2      25.0 MiB  16.0 MiB        0 B  41.0 MiB  13.7 %
        1  cpu:1   layers 2..3              4.0 MiB   8.0 MiB        0 B  12.0 MiB  30.0 %
        2  cpu:2   layers 3..4, norm+head  21.0 MiB   8.0 MiB  781.2 KiB  29.8 MiB   9.9 %
    KV cache for 4096 tokens; microbatches of up to 2 rows and 256 new tokens, 2 in flight
    ");
}

#[test]
fn errors_say_what_is_wanted_and_found() {
    let profile = model(&[100, 50, 50, 50, 100], 1, 0);
    let two = Cluster::logical_cpus(2, Bytes(1000));
    let small = Cluster::logical_cpus(2, Bytes(150));
    let capped =
        |device, policy: Policy| Policy { memory_caps: [(device, Bytes(9))].into(), ..policy };
    let forbid = |devices: &[DeviceId], policy: Policy| Policy {
        forbidden: devices.iter().copied().collect(),
        ..policy
    };
    let cases: [(&Cluster, Policy); 21] = [
        (&two, exactly(100_000)),
        (&small, exactly(16)),
        (&small, Policy::default()),
        (&small, given(&[(Cpu(0), 0, 2), (Cpu(1), 2, 3)])),
        (&two, exactly(usize::MAX)),
        (&two, exactly(0)),
        (&two, Policy { sequences: Sequences::UpTo(0), ..exactly(1) }),
        (&two, Policy { chunk_tokens: 0, ..exactly(1) }),
        (&two, capped(Cuda(1), exactly(1))),
        (&two, forbid(&[Cpu(5)], exactly(1))),
        (&two, forbid(&[Cpu(0), Cpu(1)], exactly(1))),
        (&two, forbid(&[Cpu(1)], given(&[(Cpu(0), 0, 1), (Cpu(1), 1, 3)]))),
        (&two, given(&[])),
        (&two, given(&[(Cpu(0), 0, 0), (Cpu(1), 0, 3)])),
        (&two, given(&[(Cpu(0), 0, 4)])),
        (&two, given(&[(Cpu(0), 0, 1), (Cpu(1), 2, 3)])),
        (&two, given(&[(Cpu(0), 0, 2), (Cpu(1), 1, 3)])),
        (&two, given(&[(Cpu(0), 2, 3), (Cpu(1), 0, 2)])),
        (&two, given(&[(Cpu(0), 0, 2)])),
        (&two, given(&[(Cpu(9), 0, 3)])),
        (&two, Policy { keep_together: vec![LayerRange { start: 1, end: 4 }], ..exactly(1) }),
    ];
    let mut text = String::new();
    for (cluster, policy) in cases {
        writeln!(text, "{}", plan(&profile, cluster, &policy).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(text, @r"
    the model does not fit: wanted 350 B of weights, 293.0 KiB of KV cache for 100000 tokens and up to 0 B of workspace per stage; found 1000 B on cpu:0, 1000 B on cpu:1; missing at least 292.1 KiB on cpu:0; a KV cache of 448 tokens would fit
    the model does not fit: wanted 350 B of weights, 48 B of KV cache for 16 tokens and up to 0 B of workspace per stage; found 150 B on cpu:0, 150 B on cpu:1; missing at least 116 B on cpu:0
    the model does not fit: wanted 350 B of weights, 48 B of KV cache for 16 tokens and up to 0 B of workspace per stage; found 150 B on cpu:0, 150 B on cpu:1; missing at least 116 B on cpu:0
    the model does not fit: wanted 350 B of weights, 48 B of KV cache for 16 tokens and up to 0 B of workspace per stage; found 150 B on cpu:0, 150 B on cpu:1; missing at least 82 B on cpu:0
    the model does not fit: wanted 350 B of weights, 16777216.0 TiB of KV cache for 18446744073709551615 tokens and up to 0 B of workspace per stage; found 1000 B on cpu:0, 1000 B on cpu:1; a KV cache of 448 tokens would fit
    kv tokens is 0; wanted at least 1
    sequences is 0; wanted at least 1
    chunk tokens is 0; wanted at least 1
    memory caps: there is no device cuda:1; the devices are cpu:0, cpu:1
    forbidden devices: there is no device cpu:5; the devices are cpu:0, cpu:1
    every device is forbidden: cpu:0, cpu:1
    layers 1..3 are given to cpu:1, which is forbidden
    no layers are given to any device
    cpu:0 is given the empty range 0..0
    cpu:0 is given layers 0..4, but the model has layers 0..3
    layers 1..2 are given to no device; cpu:1 continues with 2..3
    cpu:1 is given layers 1..3, but the next layer to be placed is 2; wanted ranges in order, each layer once
    layers 0..2 are given to no device; cpu:0 continues with 2..3
    layers 2..3 are given to no device
    explicit layers: there is no device cpu:9; the devices are cpu:0, cpu:1
    layers 1..4 must stay together, but the model has layers 0..3
    ");
}

#[test]
fn profiles_that_are_none_are_refused() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut ModelProfile), want: &str) {
        let mut profile = model(&[10; 4], 1, 0);
        change(&mut profile);
        let found = plan(&profile, &Cluster::logical_cpus(1, Bytes(1 << 20)), &exactly(1));
        assert_eq!(found.unwrap_err().to_string(), want);
    }
    check(
        |it| it.num_layers = 1_000_000_000,
        "the model has 1000000000 layers; at most 1024 can be planned for",
    );
    check(
        |it| it.units.truncate(3),
        "the model's profile has 3 units; wanted 4: embed, 2 layers, norm+head",
    );
    check(
        |it| it.units[1].kv.as_mut().unwrap().group_idx = 1,
        "layer 0 is in KV group 1, but the model's profile has 1",
    );
    check(|it| it.hidden = 0, "the plan is inconsistent");
}

#[test]
fn a_hundred_devices_with_links_of_all_speeds_are_planned_with_little_work() {
    let profile = model(&vec![1 << 30; 130], 4096, 0);
    let mut cluster = Cluster::logical_cpus(100, Bytes(20 << 30));
    for (device, index) in cluster.devices.iter_mut().zip(0_u32..) {
        device.bytes_per_s *= 1.0 + 0.01 * f64::from(index);
    }
    let pairs = (0..100).flat_map(|source| (0..100).map(move |target| (source, target)));
    for (source, target) in pairs.filter(|(source, target)| source != target) {
        let latency_s = 1e-5 * f64::from(1 + (7 * source + 11 * target) % 13);
        let figures = LinkFigures { latency_s, ..LinkFigures::default() };
        let (source, target) = (Cpu(source), Cpu(target));
        cluster.links.push(ClusterLink { source, target, figures });
    }
    let policy = Policy { sequences: Sequences::Exactly(32), ..exactly(1024) };
    let Solution { plan, prediction } = solve_within(500_000, &profile, &cluster, &policy);
    assert!(plan.stages.len() >= 7);
    assert!(prediction.gap().is_some_and(|gap| gap < 0.5), "{:?}", prediction.gap());
}

/// Plans with fewer than `most` allocations, about twice what it takes: every question that the
/// search is asked takes some.
#[track_caller]
fn solve_within(most: u64, profile: &ModelProfile, cluster: &Cluster, policy: &Policy) -> Solution {
    let mut found = None;
    let run = || found = Some(solve(profile, cluster, policy).unwrap());
    let count = allocation_counter::measure(run).count_total;
    assert!(count < most, "{count} allocations, wanted fewer than {most}");
    found.unwrap()
}

#[test]
fn the_largest_model_and_cluster_are_planned_with_little_work() {
    let profile = model(&vec![1_000_000; Plan::MAX_LAYERS + 2], 4096, 0);
    let cluster = Cluster::logical_cpus(256, Bytes(200_000_000));
    let found = solve_within(24_000, &profile, &cluster, &Policy::default()).plan;
    assert!(found.stages.len() > 20, "{}", found.stages.len());
}

#[test]
fn a_large_model_on_one_machine_is_planned_with_little_work() {
    let config = Path::new("../../tests/fixtures/configs/llama-3-70b.json");
    let profile = ModelProfile::read(config, Target::ACCELERATOR).unwrap();
    let cluster = Cluster::parse_spec("8x h100 nvlink").unwrap();
    solve_within(21_000, &profile, &cluster, &Policy::default());
}

#[test]
fn speeds_beyond_any_time_are_refused() {
    let mut cluster = Cluster::logical_cpus(2, Bytes(1 << 40));
    for device in &mut cluster.devices {
        device.bytes_per_s = 1e-305;
    }
    let profile = model(&[1 << 30; 6], 1, 0);
    let error = plan(&profile, &cluster, &Policy::default()).unwrap_err();
    assert!(matches!(error, PlanError::NoTime), "{error}");
}

#[test]
fn a_plan_for_another_number_of_layers_is_not_predicted() {
    let cluster = Cluster::logical_cpus(2, Bytes(1_000_000));
    let policy = Policy::default();
    let (six, four) = (model(&[250; 6], 1, 0), model(&[250; 4], 1, 0));
    let planned = plan(&six, &cluster, &policy).unwrap();
    let error = predict(&four, &cluster, &policy, &planned).unwrap_err();
    assert_eq!(error.to_string(), "the plan is for 4 layers, but the model has 2");
    let error = CostModel::new(&four, &cluster, &planned).unwrap_err();
    assert!(matches!(error, PlanError::OtherModel { wanted: 2, found: 4 }), "{error}");
}
