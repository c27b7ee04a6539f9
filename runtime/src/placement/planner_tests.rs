//! Tests of the planner as a whole: properties, comparison with brute force, and what it says.

use std::fmt::Write;

use proptest::prelude::*;
use sluicegate_model::{
    config::KvGroup,
    placed::DeviceId::{self, Cpu, Cuda},
    profile::{ModelProfile, Workspace},
    units::{Bytes, LayerRange, UnitRange},
};

use super::{Cluster, KvTokens, Placement, Plan, PlanError, Policy, cost, fixtures::model, plan};

fn exactly(tokens: usize) -> Policy {
    Policy { kv_tokens: KvTokens::Exactly(tokens), ..Policy::default() }
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

/// The best balanced cut by trying all: devices left empty, largest share, sum of squared shares.
fn brute_force(profile: &ModelProfile, policy: &Policy, caps: &[u64]) -> Option<(usize, f64, f64)> {
    fn extend(
        sizes: &cost::Sizes,
        caps: &[u64],
        start: usize,
        so_far: (usize, f64, f64),
        best: &mut Option<(usize, f64, f64)>,
    ) {
        let Some((cap, others)) = caps.split_first() else {
            let done = start == sizes.num_units();
            if done && best.is_none_or(|best| so_far < best) {
                *best = Some(so_far);
            }
            return;
        };
        let (empty, largest, squares) = so_far;
        extend(sizes, others, start, (empty + 1, largest, squares), best);
        for end in start + 1..=sizes.num_units() {
            let held = sizes.span(UnitRange { start, end }).total();
            if held <= u128::from(*cap) {
                let share = held as f64 / *cap as f64;
                let longer = (empty, largest.max(share), squares + share * share);
                extend(sizes, others, end, longer, best);
            }
        }
    }
    let KvTokens::Exactly(tokens) = policy.kv_tokens else { panic!("the test asks for a number") };
    let pages = cost::pages_per_group(profile, policy, tokens.div_ceil(16));
    let mut best = None;
    extend(&cost::Sizes::new(profile, policy, &pages), caps, 0, (0, 0.0, 0.0), &mut best);
    best
}

fn score(plan: &Plan, num_devices: usize) -> (usize, f64, f64) {
    let shares = plan.stages.iter().map(|it| it.total_bytes().0 as f64 / it.cap_bytes.0 as f64);
    let empty = num_devices - plan.stages.len();
    (empty, shares.clone().fold(0.0, f64::max), shares.map(|share| share * share).sum())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn auto_equals_brute_force(
        profile in any_model(),
        caps in prop::collection::vec(1..600_u64, 1..5),
        tokens in 1..40_usize,
    ) {
        let (cluster, policy) = capped(tokens, &caps);
        let found = plan(&profile, &cluster, &policy).ok().map(|plan| score(&plan, caps.len()));
        prop_assert_eq!(found, brute_force(&profile, &policy, &caps));
    }

    #[test]
    fn a_larger_cache_than_the_largest_does_not_fit(
        profile in any_model(),
        caps in prop::collection::vec(1..3000_u64, 1..5),
    ) {
        let (cluster, policy) = capped(1, &caps);
        let most = Policy { kv_tokens: KvTokens::AsManyAsFit, ..policy.clone() };
        let Ok(plan) = plan(&profile, &cluster, &most) else {
            prop_assert_eq!(brute_force(&profile, &policy, &caps), None);
            return Ok(());
        };
        prop_assert!(plan.kv_tokens <= most.kv_limit(profile.max_positions));
        if plan.kv_tokens < most.kv_limit(profile.max_positions) {
            let more = Policy { kv_tokens: KvTokens::Exactly(plan.kv_tokens + 1), ..policy };
            prop_assert_eq!(brute_force(&profile, &more, &caps), None);
        }
    }

    /// Units in order and caps are checked wherever a plan is made; that the given order of devices
    /// is kept and that the answer is repeated is checked here.
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
            prop_assert!(plan.stages.is_sorted_by(|a, b| a.device < b.device));
            let weights: u64 = plan.stages.iter().map(|it| it.weight_bytes.0).sum();
            let units: u64 = profile.units.iter().map(|it| it.weight_bytes.0).sum();
            let copied = if plan.stages.len() > 1 { profile.tied_embedding_bytes.0 } else { 0 };
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

#[test]
fn equal_devices_get_equal_bytes() {
    let (cluster, policy) = capped(16, &[10_000, 10_000]);
    let found = plan(&model(&[20, 10, 10, 10, 10, 10, 10, 20], 0, 0), &cluster, &policy).unwrap();
    assert_eq!(stages(&found), [(Cpu(0), 0, 4), (Cpu(1), 4, 8)]);
}

#[test]
fn a_device_with_half_the_cap_gets_half_as_much() {
    let (cluster, policy) = capped(16, &[20_000, 10_000]);
    let found = plan(&model(&[10; 12], 0, 0), &cluster, &policy).unwrap();
    assert_eq!(stages(&found), [(Cpu(0), 0, 8), (Cpu(1), 8, 12)]);
}

#[test]
fn devices_that_cannot_help_are_left_out() {
    let profile = model(&[10, 10, 10, 10], 0, 0);
    let (cluster, policy) = capped(16, &[1000, 9, 1000]);
    let found = plan(&profile, &cluster, &policy).unwrap();
    assert_eq!(stages(&found), [(Cpu(0), 0, 2), (Cpu(2), 2, 4)]);

    let (cluster, policy) = capped(16, &[1000; 6]);
    let found = plan(&profile, &cluster, &policy).unwrap();
    assert_eq!(found.stages.len(), 4, "one for each unit");

    let (cluster, mut policy) = capped(16, &[1000; 3]);
    policy.forbidden.insert(Cpu(0));
    let found = plan(&profile, &cluster, &policy).unwrap();
    assert_eq!(stages(&found), [(Cpu(1), 0, 2), (Cpu(2), 2, 4)]);
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
    let mut profile = model(&[10; 4], 1, 0);
    profile.kv_groups = vec![KvGroup::Full, KvGroup::Window(32)];
    profile.units[2].kv.as_mut().unwrap().group_idx = 1;
    let policy = Policy { batch: 2, chunk_tokens: 16, ..exactly(1000) };
    let found = plan(&profile, &Cluster::logical_cpus(1, Bytes(1 << 20)), &policy).unwrap();
    // Two rows of a window of two pages, a chunk of one, and one because neither starts on a page.
    assert_eq!(found.pages_per_group, [63, 8]);
    assert_eq!((found.kv_tokens, found.stages[0].kv_bytes), (1008, Bytes((63 + 8) * 16)));

    let policy = Policy { batch: 2, chunk_tokens: 16, ..exactly(100) };
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
    let found = plan(&profile, &cluster, &policy).unwrap();
    insta::assert_snapshot!(found, @r"
    stage  device  units                    weights        KV  workspace     total  of cap
        0  cpu:0   embed, layers 0..2      25.0 MiB  16.0 MiB        0 B  41.0 MiB  13.7 %
        1  cpu:1   layers 2..3              4.0 MiB   8.0 MiB        0 B  12.0 MiB  30.0 %
        2  cpu:2   layers 3..4, norm+head  21.0 MiB   8.0 MiB    3.1 MiB  32.1 MiB  10.7 %
    KV cache for 4096 tokens; microbatches of up to 8 rows and 256 new tokens
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
    let cases: [(&Cluster, Policy); 20] = [
        (&two, exactly(100_000)),
        (&small, exactly(16)),
        (&small, Policy::default()),
        (&small, given(&[(Cpu(0), 0, 2), (Cpu(1), 2, 3)])),
        (&two, exactly(usize::MAX)),
        (&two, exactly(0)),
        (&two, Policy { batch: 0, ..exactly(1) }),
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
    ];
    let mut text = String::new();
    for (cluster, policy) in cases {
        writeln!(text, "{}", plan(&profile, cluster, &policy).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(text, @r"
    the model does not fit: wanted 350 B of weights, 293.0 KiB of KV cache for 100000 tokens and up to 0 B of workspace per stage; found 1000 B on cpu:0, 1000 B on cpu:1; missing at least 292.2 KiB on cpu:0; a KV cache of 400 tokens would fit
    the model does not fit: wanted 350 B of weights, 48 B of KV cache for 16 tokens and up to 0 B of workspace per stage; found 150 B on cpu:0, 150 B on cpu:1; missing at least 148 B on cpu:0
    the model does not fit: wanted 350 B of weights, 48 B of KV cache for 16 tokens and up to 0 B of workspace per stage; found 150 B on cpu:0, 150 B on cpu:1; missing at least 148 B on cpu:0
    the model does not fit: wanted 350 B of weights, 48 B of KV cache for 16 tokens and up to 0 B of workspace per stage; found 150 B on cpu:0, 150 B on cpu:1; missing at least 82 B on cpu:0
    the model does not fit: wanted 350 B of weights, 16777216.0 TiB of KV cache for 18446744073709551615 tokens and up to 0 B of workspace per stage; found 1000 B on cpu:0, 1000 B on cpu:1; a KV cache of 400 tokens would fit
    kv tokens is 0; wanted at least 1
    batch is 0; wanted at least 1
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
    check(|it| it.hidden = 0, "the plan does not hold together");
}

#[test]
fn the_largest_model_and_cluster_are_planned_in_time() {
    let profile = model(&vec![1_000_000; Plan::MAX_LAYERS + 2], 4096, 0);
    let cluster = Cluster::logical_cpus(256, Bytes(200_000_000));
    let found = plan(&profile, &cluster, &Policy::default()).unwrap();
    assert_eq!(found.stages.len(), 256);
}
