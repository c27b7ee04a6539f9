//! The search against brute force: every subset and order of devices, every cut, the head going back
//! or not, every number of microbatches.

use proptest::prelude::*;
use sluicegate_model::{
    config::KvGroup,
    placed::DeviceId::Cpu,
    profile::{Experts, ModelProfile, UnitKv},
    step::PAGE_TOKENS,
    units::{Bytes, LayerRange, UnitRange},
};

use super::{
    Cluster, ClusterDevice, ClusterLink, KvTokens, LinkFigures, Objective, PlanError, Policy,
    Proof, Rates, Route, Solution,
    cost::Sizes,
    fixtures::model,
    planner::sequences,
    search::microbatches,
    setting::Setting,
    solve,
    work::{Hop, Load, Work},
};

/// All placements in memory, and the best of their figures.
struct BruteForce<'a> {
    setting: &'a Setting<'a>,
    sizes: Sizes,
    /// Per number of microbatches: how many, their work.
    works: Vec<(usize, Work)>,
    least: f64,
}

/// Stages so far: device index and units.
type Chain = Vec<(usize, UnitRange)>;

impl<'a> BruteForce<'a> {
    fn new(setting: &'a Setting<'a>, num_pages: usize, num_sequences: usize) -> Self {
        let all = microbatches(num_sequences, setting.devices.len());
        let work = |num_microbatches: usize| {
            let rows = num_sequences.div_ceil(num_microbatches);
            let load = Load::new(setting.profile, setting.policy, rows);
            (num_microbatches, Work::new(setting.profile, load))
        };
        let sizes = setting.sizes(num_pages);
        Self { setting, sizes, works: all.map(work).collect(), least: f64::INFINITY }
    }

    /// The shortest cycle; infinite if nothing fits.
    fn run(mut self) -> f64 {
        self.extend(&mut Vec::new());
        self.least
    }

    fn extend(&mut self, chain: &mut Chain) {
        let num_units = self.setting.num_units();
        let start = chain.last().map_or(0, |(_, units)| units.end);
        if start == num_units {
            self.take(chain);
            return;
        }
        let mut devices: Vec<usize> = (0..self.setting.devices.len()).collect();
        devices.retain(|device| chain.iter().all(|(used, _)| used != device));
        let goes_back = start + 1 == num_units && chain.len() > 1;
        if goes_back {
            devices.push(chain[0].0);
        }
        for device in devices {
            for end in start + 1..=num_units {
                chain.push((device, UnitRange { start, end }));
                if self.setting.may_cut[end] && self.fits(chain, device) {
                    self.extend(chain);
                }
                chain.pop();
            }
        }
    }

    fn fits(&self, chain: &Chain, device: usize) -> bool {
        let held = chain.iter().filter(|(owner, _)| *owner == device);
        let total = |(_, units): &(usize, UnitRange)| {
            // A head that has come back shares the embedding.
            let is_back = chain.len() > 1 && chain[0].0 == device && units.start > 0;
            let copy = if is_back { self.setting.profile.tied_embedding_bytes.0 } else { 0 };
            self.sizes.span(*units).total() - u128::from(copy)
        };
        let held: u128 = held.map(total).sum();
        held <= self.setting.devices[device].cap.0.into()
    }

    fn take(&mut self, chain: &Chain) {
        for (num_microbatches, work) in &self.works {
            let mut busy = vec![0.0; self.setting.devices.len()];
            let (mut round, mut slowest) = (self.setting.cluster.host_s, 0.0_f64);
            for (idx, (device, units)) in chain.iter().enumerate() {
                let usable = self.setting.devices[*device];
                let is_alone = chain.len() == 1;
                let speed = if is_alone { usable.speed.times(usable.alone) } else { usable.speed };
                let seconds = work.seconds(speed, *units);
                busy[*device] += seconds;
                round += seconds;
                if idx > 0 {
                    let hop = Hop::new(self.setting.link(chain[idx - 1].0, *device), work);
                    round += hop.seconds;
                    if hop.overlaps {
                        slowest = slowest.max(hop.seconds);
                    } else {
                        busy[*device] += hop.seconds;
                    }
                }
            }
            slowest = busy.into_iter().fold(slowest, f64::max);
            let cycle = (*num_microbatches as f64 * slowest).max(round);
            self.least = self.least.min(cycle);
        }
    }
}

/// The least seconds per token, by trying everything; `None` if nothing fits.
fn brute_force(setting: &Setting<'_>) -> Option<f64> {
    let policy = setting.policy;
    let context = policy.context(setting.profile.max_positions);
    let fits = |num_pages: &usize| BruteForce::new(setting, *num_pages, 1).run().is_finite();
    let (most, candidates) = match policy.kv_tokens {
        KvTokens::Exactly(tokens) => {
            let most = Some(tokens.div_ceil(PAGE_TOKENS)).filter(fits)?;
            (most, vec![sequences(setting, most)])
        }
        KvTokens::AsManyAsFit => {
            let limit = policy.kv_limit(setting.profile.max_positions).div_ceil(PAGE_TOKENS);
            let most = (1..=limit).rev().find(fits)?;
            let mut candidates = vec![sequences(setting, most)];
            while candidates[candidates.len() - 1] > 1 {
                candidates.push(candidates[candidates.len() - 1] / 2);
            }
            (most, candidates)
        }
    };
    let cost = |num_sequences: usize| {
        let num_pages = match policy.kv_tokens {
            KvTokens::Exactly(_) => most,
            KvTokens::AsManyAsFit => (num_sequences * context).div_ceil(PAGE_TOKENS).min(most),
        };
        BruteForce::new(setting, num_pages, num_sequences).run() / num_sequences as f64
    };
    candidates.into_iter().map(cost).reduce(f64::min)
}

#[derive(Debug, Clone)]
struct Instance {
    profile: ModelProfile,
    cluster: Cluster,
    policy: Policy,
}

/// Numbers are small and whole, so that many placements cost the same.
fn any_profile(num_units: std::ops::Range<usize>) -> impl Strategy<Value = ModelProfile> {
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

fn any_cluster() -> impl Strategy<Value = Cluster> {
    let devices = prop_oneof![
        prop::collection::vec(any_device(), 1..5),
        (any_device(), 1..5_usize).prop_map(|(device, len)| vec![device; len]),
    ];
    let links = prop::collection::vec((0..4_u32, 0..4_u32, any_link()), 0..6);
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
    let load = (1..7_usize, 0..40_usize, 1..40_usize, 4..32_usize);
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
    (load, objective, kv, pins).prop_map(move |(load, objective, kv_tokens, pins)| {
        let (batch, prompt_tokens, output_tokens, chunk_tokens) = load;
        let (cap, forbidden, unparted) = pins;
        let unparted =
            unparted.map(|(start, len)| LayerRange { start, end: (start + len).min(num_layers) });
        Policy {
            objective,
            batch,
            prompt_tokens,
            output_tokens,
            chunk_tokens,
            kv_tokens,
            memory_caps: cap
                .map(|(device, bytes)| (Cpu(device), Bytes(bytes)))
                .into_iter()
                .collect(),
            forbidden: forbidden.filter(|it| *it < num_devices).map(Cpu).into_iter().collect(),
            unparted: unparted.into_iter().collect(),
            ..Policy::default()
        }
    })
}

fn any_instance(num_units: std::ops::Range<usize>) -> impl Strategy<Value = Instance> {
    (any_profile(num_units), any_cluster()).prop_flat_map(|(profile, cluster)| {
        let num_devices = u32::try_from(cluster.devices.len()).unwrap();
        let policy = any_policy(num_devices, profile.num_layers);
        (Just(profile), Just(cluster), policy).prop_map(|(profile, cluster, policy)| Instance {
            profile,
            cluster,
            policy,
        })
    })
}

/// Asserts that the plan costs what the best placement costs, or that there is none.
fn check(instance: &Instance) -> Result<(), TestCaseError> {
    let Instance { profile, cluster, policy } = instance;
    let setting = Setting::new(profile, cluster, policy).unwrap();
    let wanted = brute_force(&setting);
    match (solve(profile, cluster, policy), wanted) {
        (Ok(Solution { prediction, .. }), Some(wanted)) => {
            let found = prediction.objective_value;
            prop_assert!((found - wanted).abs() <= wanted * 1e-9, "wanted {wanted}, found {found}");
            let Proof::Search { lower_bound_s, infeasible_s } = prediction.proof else {
                panic!("auto searches");
            };
            prop_assert!(lower_bound_s <= wanted * (1.0 + 1e-9));
            prop_assert!(infeasible_s.is_none_or(|it| it < prediction.bottleneck_s));
            prop_assert_eq!(prediction.gap().map(|gap| gap < 1e-9), Some(true));
        }
        (Err(PlanError::Infeasible(_)), None) => {}
        (found, wanted) => prop_assert!(false, "wanted {wanted:?}, found {found:?}"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, ..ProptestConfig::default() })]

    #[test]
    fn small_instances_equal_brute_force(instance in any_instance(3..9)) {
        check(&instance)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, ..ProptestConfig::default() })]

    #[test]
    fn instances_of_up_to_14_units_equal_brute_force(instance in any_instance(9..15)) {
        check(&instance)?;
    }
}
