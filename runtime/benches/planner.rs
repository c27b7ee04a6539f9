//! How long planning takes: Llama 3 405B's 126 layers on clusters of many devices, of many kinds or
//! few.
//!
//! `cargo bench --workspace --bench planner`

use std::{hint::black_box, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate_placement::{
    Cluster, ClusterDevice, ClusterLink, KvTokens, LinkFigures, Objective, Policy, Rates,
    Sequences, solve,
};
use sluicegate_spec::{
    device::DeviceId,
    profile::{ModelProfile, Target},
    units::Bytes,
};

fn profile() -> ModelProfile {
    let path = Path::new("../tests/fixtures/configs/llama-3-405b.json");
    ModelProfile::read(path, Target::ACCELERATOR).expect("the fixture describes a model")
}

/// `num_devices` accelerators of `num_kinds` kinds in turn, each larger and faster than the one
/// before.
fn cluster(num_devices: u32, num_kinds: u32, smallest_gib: u64) -> Cluster {
    let device = |index: u32| {
        let kind = index % num_kinds;
        let memory = Bytes((smallest_gib + 10 * u64::from(kind)) << 30);
        ClusterDevice {
            id: DeviceId::Cuda(index),
            reserve: Bytes(1 << 30),
            bytes_per_s: 1e12 + 2e11 * f64::from(kind),
            flops_per_s: Rates::uniform(1e14 + 3e13 * f64::from(kind)),
            overhead_s: 1e-4,
            host_bytes_per_s: Some(2e10),
            ..ClusterDevice::cpu(0, memory)
        }
    };
    Cluster::of((0..num_devices).map(device).collect())
}

/// The same, with links of five latencies.
fn with_links(cluster: &Cluster) -> Cluster {
    let ids = || cluster.devices.iter().map(|device| device.id);
    let pairs = ids().enumerate().flat_map(|source| ids().enumerate().map(move |it| (source, it)));
    let links = pairs.filter(|((a, _), (b, _))| a != b).map(|((a, source), (b, target))| {
        let latency_s = 1e-5 * (1 + (7 * a + b) % 5) as f64;
        ClusterLink { source, target, figures: LinkFigures { latency_s, ..LinkFigures::default() } }
    });
    Cluster { links: links.collect(), ..cluster.clone() }
}

fn plan(criterion: &mut Criterion) {
    let profile = profile();
    let clusters = [
        ("8 distinct", cluster(8, 8, 80)),
        ("8 distinct, roomy", cluster(8, 8, 140)),
        ("8 distinct, links differ", with_links(&cluster(8, 8, 140))),
        ("16 in 4 classes", cluster(16, 4, 60)),
        ("64 in 4 classes", cluster(64, 4, 60)),
        ("16 distinct", cluster(16, 16, 60)),
    ];
    let kv = [("", KvTokens::Exactly(64 * 1024)), (", largest cache", KvTokens::AsManyAsFit)];
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for (name, cluster) in &clusters {
        for objective in [Objective::Throughput, Objective::Latency] {
            for (cache, kv_tokens) in kv {
                let policy = Policy {
                    sequences: Sequences::Exactly(64),
                    objective,
                    kv_tokens,
                    ..Policy::default()
                };
                let name = format!("{name}, {objective:?}{cache}");
                group.bench_function(name, |bencher| {
                    bencher.iter(|| solve(black_box(&profile), cluster, &policy));
                });
            }
        }
    }
    group.finish();
}

criterion_group!(benches, plan);
criterion_main!(benches);
