//! A checked planning task: model, usable devices, limits.

use std::collections::BTreeMap;

use sluicegate_spec::{
    device::DeviceId,
    profile::{ModelProfile, UnitKv},
    units::{Bytes, LayerRange, UnitRange},
};

use super::{
    cluster::{Cluster, ClusterDevice, LinkFigures},
    cost::{self, AtOnce, Sizes},
    error::{DeviceList, PlanError},
    explicit,
    microbatches::microbatches,
    pace,
    plan::Plan,
    policy::{KvTokens, Objective, Placement, Policy, Sequences},
    work::Speed,
};

/// A device that may be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usable {
    pub(super) id: DeviceId,
    /// Its cap, or its memory if that is less, minus its reserve.
    pub(super) cap: Bytes,
    /// The part of that for weights and a cache of [`KvTokens::AsManyAsFit`], if the model allows
    /// it.
    pub(super) shared_cap: Bytes,
    pub(super) speed: Speed,
    /// Speed-up factor if no other device is used.
    pub(super) alone: f64,
    pub(super) priority: i32,
}

/// Who chooses the stages.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    Auto,
    Given(Vec<(DeviceId, UnitRange)>),
}

/// A checked planning task.
#[derive(Debug, Clone)]
pub(super) struct Setting<'a> {
    pub(super) profile: &'a ModelProfile,
    pub(super) cluster: &'a Cluster,
    pub(super) policy: &'a Policy,
    /// In the order of the cluster.
    pub(super) devices: Vec<Usable>,
    /// The link of each ordered pair of `devices`, row by row.
    links: Vec<LinkFigures>,
    /// Whether a stage may end at each unit boundary, from before the first unit to after the last.
    pub(super) may_cut: Vec<bool>,
    pub(super) layout: Layout,
    /// The relative improvement below which better placements are not searched for.
    pub(super) tolerance: f64,
}

impl<'a> Setting<'a> {
    /// Checks a task.
    ///
    /// # Errors
    /// [`PlanError`] if model, devices or policy are invalid.
    pub(super) fn new(
        profile: &'a ModelProfile,
        cluster: &'a Cluster,
        policy: &'a Policy,
    ) -> Result<Self, PlanError> {
        check_profile(profile)?;
        cluster.check()?;
        check_policy(policy, cluster, profile.num_layers)?;
        let layout = match &policy.placement {
            Placement::Auto => Layout::Auto,
            Placement::Layers(ranges) => {
                Layout::Given(explicit::stages(profile.num_layers, ranges)?)
            }
            Placement::Stages(stages) => Layout::Given(stages.clone()),
        };
        let usable = |device: &ClusterDevice| {
            let cap = policy.memory_caps.get(&device.id).copied();
            let without_reserve = |bytes: Bytes| Bytes(bytes.0.saturating_sub(device.reserve.0));
            let all = without_reserve(cap.unwrap_or(device.memory).min(device.memory));
            let share = policy.memory_share.unwrap_or_default().of(device.id, device.memory);
            // An explicit cap overrides the default share.
            let shared_cap = if cap.is_some() { all } else { without_reserve(share).min(all) };
            Usable {
                id: device.id,
                cap: if policy.memory_share.is_some() { shared_cap } else { all },
                shared_cap,
                speed: Speed::of(device, profile),
                alone: device.alone,
                priority: device.priority,
            }
        };
        let allowed = |device: &&ClusterDevice| !policy.forbidden.contains(&device.id);
        let devices: Vec<Usable> = cluster.devices.iter().filter(allowed).map(usable).collect();
        let links = links(cluster, &devices);
        let may_cut = may_cut(profile.num_layers, &policy.keep_together);
        let tolerance = 0.0;
        Ok(Self { profile, cluster, policy, devices, links, may_cut, layout, tolerance })
    }

    pub(super) fn num_units(&self) -> usize {
        self.profile.units.len()
    }

    /// Returns the link between two of `devices`, by index.
    pub(super) fn link(&self, source: usize, target: usize) -> &LinkFigures {
        &self.links[source * self.devices.len() + target]
    }

    /// Returns whether swapping two of `devices` changes nothing.
    pub(super) fn may_swap(&self, a: usize, b: usize) -> bool {
        let (one, other) = (self.devices[a], self.devices[b]);
        let mut others = (0..self.devices.len()).filter(|c| *c != a && *c != b);
        Usable { id: other.id, ..one } == other
            && self.link(a, b) == self.link(b, a)
            && others
                .all(|c| self.link(a, c) == self.link(b, c) && self.link(c, a) == self.link(c, b))
    }

    pub(super) fn link_between(&self, source: DeviceId, target: DeviceId) -> &LinkFigures {
        self.link(self.index(source), self.index(target))
    }

    pub(super) fn device(&self, id: DeviceId) -> &Usable {
        &self.devices[self.index(id)]
    }

    pub(super) fn index(&self, id: DeviceId) -> usize {
        let found = self.devices.iter().position(|device| device.id == id);
        found.expect("stages are on devices that may be used")
    }

    /// Returns the speed of a device, which may be higher if no other is used.
    pub(super) fn speed(&self, id: DeviceId, is_alone: bool) -> Speed {
        let Usable { speed, alone, .. } = *self.device(id);
        if is_alone { speed.times(alone) } else { speed }
    }

    /// Returns the longest cycle in seconds that is allowed for any number of sequences between the
    /// two given, in `num_microbatches` microbatches.
    pub(super) fn max_cycle_s(&self, sequences: [usize; 2], num_microbatches: usize) -> f64 {
        let rows = sequences.map(|it| AtOnce::new(it, num_microbatches).rows);
        pace::max_cycle_s(self.profile, self.policy, rows, num_microbatches)
    }

    /// Returns the same task with other devices, linked as in the cluster.
    pub(super) fn with_devices(&self, devices: Vec<Usable>) -> Self {
        let links = links(self.cluster, &devices);
        Self { devices, links, ..self.clone() }
    }

    /// Returns the same task with one device changed.
    pub(super) fn change(&self, id: DeviceId, change: impl FnOnce(&mut Usable)) -> Self {
        let mut changed = self.clone();
        if let Some(usable) = changed.devices.iter_mut().find(|usable| usable.id == id) {
            change(usable);
        }
        changed
    }

    /// Returns the same task with all links equal.
    pub(super) fn with_links(&self, figures: LinkFigures) -> Self {
        Self { links: vec![figures; self.links.len()], ..self.clone() }
    }

    /// Returns the same task under another policy for sequences and times.
    pub(super) fn with_policy<'b>(&self, policy: &'b Policy) -> Setting<'b>
    where
        'a: 'b,
    {
        Setting { policy, ..self.clone() }
    }

    /// Returns the same task with a tolerance: placements may be worse by this share.
    pub(super) fn within(&self, tolerance: f64) -> Self {
        Self { tolerance, ..self.clone() }
    }

    /// Returns the same task with given stages.
    pub(super) fn with_stages(&self, stages: Vec<(DeviceId, UnitRange)>) -> Self {
        Self { layout: Layout::Given(stages), ..self.clone() }
    }

    /// Returns the same task for another model.
    pub(super) fn with_profile(&self, profile: &'a ModelProfile) -> Self {
        Self { profile, ..self.clone() }
    }

    /// Returns the least concurrency: for a fixed number of sequences, spread over the most
    /// microbatches that are ever tried.
    pub(super) fn least_at_once(&self) -> AtOnce {
        match (self.policy.objective, self.policy.sequences) {
            (Objective::Throughput, Sequences::Exactly(sequences)) => {
                let most = *microbatches(sequences, self.devices.len()).end();
                AtOnce::new(sequences, most)
            }
            _ => AtOnce::ONE,
        }
    }

    /// Returns the same task with each device limited to its share, plus a percentage of the
    /// remainder.
    pub(super) fn shared(&self, percent_more: u64) -> Self {
        let mut shared = self.clone();
        for usable in &mut shared.devices {
            let left = u128::from(usable.cap.0 - usable.shared_cap.0);
            let more = cost::bytes(left * u128::from(percent_more) / 100);
            usable.cap = Bytes(usable.shared_cap.0 + more.0);
        }
        shared
    }

    /// Returns the sizes of the units with a cache of `num_pages` pages and this concurrency.
    pub(super) fn sizes(&self, num_pages: usize, at_once: AtOnce) -> Sizes {
        let pages = cost::pages_per_group(self.profile, self.policy, num_pages, at_once);
        Sizes::new(self.profile, self.policy, &pages, at_once)
    }
}

fn links(cluster: &Cluster, devices: &[Usable]) -> Vec<LinkFigures> {
    let listed: BTreeMap<(DeviceId, DeviceId), LinkFigures> =
        cluster.links.iter().map(|link| ((link.source, link.target), link.figures)).collect();
    let pairs = devices.iter().flat_map(|source| devices.iter().map(move |it| (source.id, it.id)));
    pairs.map(|pair| listed.get(&pair).copied().unwrap_or(cluster.unlisted)).collect()
}

/// Layer `i` is unit `i + 1`. Layers `a..b` that must stay together forbid the boundaries between
/// them.
fn may_cut(num_layers: usize, keep_together: &[LayerRange]) -> Vec<bool> {
    let mut may_cut = vec![true; num_layers + 3];
    for layers in keep_together {
        may_cut[layers.start + 2..=layers.end].fill(false);
    }
    may_cut
}

fn check_profile(profile: &ModelProfile) -> Result<(), PlanError> {
    if profile.num_layers > Plan::MAX_LAYERS {
        let (found, limit) = (profile.num_layers, Plan::MAX_LAYERS);
        return Err(PlanError::TooManyLayers { found, limit });
    }
    let (num_layers, wanted) = (profile.num_layers, profile.num_layers + 2);
    if profile.units.len() != wanted {
        return Err(PlanError::Profile { num_layers, wanted, found: profile.units.len() });
    }
    let num_groups = profile.kv_groups.len();
    for unit in &profile.units {
        match unit.kv {
            Some(UnitKv { group_idx, .. }) if group_idx >= num_groups => {
                return Err(PlanError::KvGroup { unit: unit.unit, group_idx, num_groups });
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_policy(policy: &Policy, cluster: &Cluster, num_layers: usize) -> Result<(), PlanError> {
    let sizes = [
        ("sequences", policy.sequences.most()),
        ("chunk tokens", policy.chunk_tokens),
        ("kv tokens", if let KvTokens::Exactly(tokens) = policy.kv_tokens { tokens } else { 1 }),
    ];
    if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return Err(PlanError::Zero { field });
    }
    let outside = |layers: &&LayerRange| layers.is_empty() || layers.end > num_layers;
    if let Some(&layers) = policy.keep_together.iter().find(outside) {
        return Err(PlanError::KeepTogether { layers, num_layers });
    }
    let known: Vec<DeviceId> = cluster.devices.iter().map(|device| device.id).collect();
    let given: Vec<(DeviceId, LayerRange)> = match &policy.placement {
        Placement::Auto => Vec::new(),
        Placement::Layers(ranges) => ranges.clone(),
        Placement::Stages(stages) => {
            check_units(stages, num_layers)?;
            stages.iter().map(|(device, units)| (*device, units.layers(num_layers))).collect()
        }
    };
    let named = policy
        .memory_caps
        .keys()
        .map(|device| ("memory caps", *device))
        .chain(policy.forbidden.iter().map(|device| ("forbidden devices", *device)))
        .chain(given.iter().map(|(device, _)| ("explicit layers", *device)));
    if let Some((field, device)) = named.into_iter().find(|(_, device)| !known.contains(device)) {
        return Err(PlanError::unknown(field, device, known));
    }
    if known.iter().all(|device| policy.forbidden.contains(device)) {
        return Err(PlanError::AllForbidden { known: DeviceList(known) });
    }
    match given.iter().find(|(device, _)| policy.forbidden.contains(device)) {
        Some(&(device, layers)) => Err(PlanError::Forbidden { device, layers }),
        None => Ok(()),
    }
}

/// Checks that all units are covered once and in order.
fn check_units(stages: &[(DeviceId, UnitRange)], num_layers: usize) -> Result<(), PlanError> {
    let mut covered = 0;
    for (_, units) in stages {
        if units.start != covered || units.end <= units.start {
            return Err(PlanError::Units { wanted: covered, found: *units });
        }
        covered = units.end;
    }
    if covered != num_layers + 2 {
        let found = UnitRange { start: 0, end: covered };
        return Err(PlanError::Units { wanted: num_layers + 2, found });
    }
    Ok(())
}
