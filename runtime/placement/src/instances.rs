//! Random planning tasks, for properties.

use std::{ops::Range, time::Duration};

use proptest::prelude::*;
use sluicegate_spec::{
    config::KvGroup,
    device::DeviceId::Cpu,
    profile::{Experts, ModelProfile, UnitKv},
    units::{Bytes, LayerRange},
};

use super::{
    Cluster, ClusterDevice, ClusterLink, KvTokens, LinkFigures, Objective, Policy, Rates, Route,
    Sequences, TimeLimits, fixtures::model,
};

/// A planning task.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) profile: ModelProfile,
    pub(super) cluster: Cluster,
    pub(super) policy: Policy,
}

/// Numbers are small and whole, so that many placements cost the same.
fn any_profile(num_units: Range<usize>) -> impl Strategy<Value = ModelProfile> {
    let weights = prop_oneof![
        prop::collection::vec(1..60_u64, num_units.clone()),
        (num_units, 1..60_u64).prop_map(|(len, weight)| vec![weight; len]),
    ];
    (weights, 0..3_u64, any::<bool>(), 0..40_u64, any::<bool>(), any::<bool>()).prop_map(
        |(weights, kv, is_tied, workspace, has_window, has_experts)| {
            let mut profile = model(&weights, kv, if is_tied { weights[0] } else { 0 });
            profile.max_positions = 96;
            if has_window {
                profile.kv_groups.push(KvGroup::Window(24));
            }
            let num_layers = profile.num_layers;
            for (unit_idx, unit) in profile.units.iter_mut().enumerate() {
                unit.flops_per_token = 3 * weights[unit_idx];
                unit.flops_per_position = u64::from(unit.kv.is_some());
                unit.workspace.bytes_per_row = Bytes(workspace * (unit_idx % 3) as u64);
                if let (true, 0, Some(UnitKv { group_idx, .. })) =
                    (has_window, unit_idx % 2, unit.kv.as_mut())
                {
                    *group_idx = 1;
                }
                if has_experts && unit_idx == num_layers {
                    let bytes_each = Bytes(weights[unit_idx] / 4);
                    unit.experts = Some(Experts { num_experts: 4, num_active: 2, bytes_each });
                    unit.read_bytes.0 -= 4 * bytes_each.0;
                }
            }
            profile
        },
    )
}

fn any_device() -> impl Strategy<Value = ClusterDevice> {
    let speeds = (prop_oneof![Just(10.0), Just(20.0), 1.0..50.0], 1.0..200.0);
    let rest = (0..3_u8, 0..3_u8, 0..4_u8);
    (1..900_u64, speeds, rest).prop_map(|(memory, (read, compute), (overhead, host, alone))| {
        ClusterDevice {
            bytes_per_s: read,
            flops_per_s: Rates::uniform(compute),
            overhead_s: f64::from(overhead) * 0.5,
            host_bytes_per_s: (host > 0).then_some(f64::from(host) * 1000.0),
            alone: 1.0 + f64::from(alone / 3) * 0.6,
            ..ClusterDevice::cpu(0, Bytes(memory))
        }
    })
}

fn any_link() -> impl Strategy<Value = LinkFigures> {
    let latency = prop_oneof![Just(0.0), Just(1.0), 0.0..8.0];
    (latency, 5.0..500.0, any::<bool>()).prop_map(|(latency_s, bytes_per_s, overlaps)| {
        LinkFigures { latency_s, bytes_per_s, route: Route::Host, overlaps }
    })
}

fn any_cluster(num_devices: Range<usize>) -> impl Strategy<Value = Cluster> {
    let devices = prop_oneof![
        prop::collection::vec(any_device(), num_devices.clone()),
        (any_device(), num_devices.clone()).prop_map(|(device, len)| vec![device; len]),
    ];
    let (ends, num_links) = (0..u32::try_from(num_devices.end).unwrap() - 1, 0..=num_devices.end);
    let links = prop::collection::vec((ends.clone(), ends, any_link()), num_links);
    (devices, links, any_link(), 0..3_u8).prop_map(|(mut devices, links, unlisted, host)| {
        let num_devices = u32::try_from(devices.len()).unwrap();
        for (device, index) in devices.iter_mut().zip(0..) {
            device.id = Cpu(index);
        }
        let mut listed: Vec<ClusterLink> = Vec::new();
        for (source, target, figures) in links {
            let (source, target) = (source % num_devices, target % num_devices);
            let is_new =
                listed.iter().all(|it| (it.source, it.target) != (Cpu(source), Cpu(target)));
            if source != target && is_new {
                listed.push(ClusterLink { source: Cpu(source), target: Cpu(target), figures });
            }
        }
        Cluster { devices, links: listed, unlisted, host_s: f64::from(host) }
    })
}

fn any_policy(num_devices: u32, num_layers: usize) -> impl Strategy<Value = Policy> {
    let sequences = prop_oneof![
        1 => (1..7_usize).prop_map(Sequences::Exactly),
        2 => (1..20_usize).prop_map(Sequences::UpTo)
    ];
    let load = (sequences, 0..40_usize, 1..40_usize, 4..32_usize);
    let objective = prop_oneof![4 => Just(Objective::Throughput), 1 => Just(Objective::Latency)];
    let kv = prop_oneof![
        3 => (1..200_usize).prop_map(KvTokens::Exactly),
        1 => Just(KvTokens::AsManyAsFit)
    ];
    let pins = (
        prop::option::weighted(0.3, (0..num_devices, 1..400_u64)),
        prop::option::weighted(0.2, 1..num_devices.max(2)),
        prop::option::weighted(0.2, (0..num_layers, 1..num_layers + 1)),
    );
    let limit = || prop::option::weighted(0.2, (5..500_u64).prop_map(Duration::from_secs));
    let time_limits = (limit(), limit())
        .prop_map(|(per_token, to_first_token)| TimeLimits { per_token, to_first_token });
    (load, objective, kv, pins, time_limits).prop_map(move |all| {
        let (load, objective, kv_tokens, pins, time_limits) = all;
        let (sequences, prompt_tokens, output_tokens, chunk_tokens) = load;
        let (cap, forbidden, keep_together) = pins;
        let keep_together = keep_together
            .map(|(start, len)| LayerRange { start, end: (start + len).min(num_layers) });
        Policy {
            objective,
            sequences,
            time_limits,
            prompt_tokens,
            output_tokens,
            chunk_tokens,
            kv_tokens,
            memory_caps: cap
                .map(|(device, bytes)| (Cpu(device), Bytes(bytes)))
                .into_iter()
                .collect(),
            forbidden: forbidden.filter(|it| *it < num_devices).map(Cpu).into_iter().collect(),
            keep_together: keep_together.into_iter().collect(),
            ..Policy::default()
        }
    })
}

/// Generates tasks with numbers of units and devices in these ranges.
pub(super) fn any_instance(
    num_units: Range<usize>,
    num_devices: Range<usize>,
) -> impl Strategy<Value = Instance> {
    (any_profile(num_units), any_cluster(num_devices)).prop_flat_map(|(profile, cluster)| {
        let num_devices = u32::try_from(cluster.devices.len()).unwrap();
        let policy = any_policy(num_devices, profile.num_layers);
        (Just(profile), Just(cluster), policy).prop_map(|(profile, cluster, policy)| Instance {
            profile,
            cluster,
            policy,
        })
    })
}
