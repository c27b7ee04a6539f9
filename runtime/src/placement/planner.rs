//! Makes a plan: settles the cache's size, then who holds what.
//!
//! `auto` balances bytes for now: over all given devices, in their order, each stage's share of its
//! device's cap as small as can be. Speeds and links do not count yet.

use sluicegate_model::{
    placed::DeviceId,
    profile::{ModelProfile, UnitKv},
    step::PAGE_TOKENS,
    units::{Bytes, UnitRange},
};

use super::{
    balance,
    cluster::{Cluster, ClusterDevice},
    cost::{self, Sizes},
    error::{DeviceList, PlanError},
    explicit,
    plan::{Plan, PlanFields, PlannedStage},
    policy::{KvTokens, Placement, Policy},
    shortfall,
};

/// Places a model on devices as a policy asks.
///
/// Deterministic. Takes time in the number of devices times the square of the number of units, a
/// few times over for a cache as large as fits; both numbers are bounded
/// ([`Cluster::MAX_DEVICES`], [`Plan::MAX_LAYERS`]).
///
/// # Errors
/// [`PlanError`] if model, devices or policy make no sense, or memory does not suffice.
pub fn plan(profile: &ModelProfile, cluster: &Cluster, policy: &Policy) -> Result<Plan, PlanError> {
    check_profile(profile)?;
    cluster.check()?;
    check_policy(policy, cluster)?;
    let task =
        Task { profile, policy, caps: caps(cluster, policy), layout: layout(profile, policy)? };
    let (num_pages, stages) = task.settle()?;
    Ok(Plan::try_from(task.fields(num_pages, &stages))?)
}

/// What a device may hold: its cap, or its memory if that is less, without its reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cap {
    pub(super) device: DeviceId,
    pub(super) bytes: Bytes,
}

/// Who chooses the stages.
#[derive(Debug)]
pub(super) enum Layout {
    Balanced,
    Given(Vec<(DeviceId, UnitRange)>),
}

/// A planning task that is known to make sense.
#[derive(Debug)]
pub(super) struct Task<'a> {
    pub(super) profile: &'a ModelProfile,
    pub(super) policy: &'a Policy,
    /// Of the devices that may be used, in order.
    pub(super) caps: Vec<Cap>,
    pub(super) layout: Layout,
}

impl Task<'_> {
    /// Finds the cache's size, in pages, and the stages.
    fn settle(&self) -> Result<(usize, Vec<(DeviceId, UnitRange)>), PlanError> {
        let wanted = match self.policy.kv_tokens {
            KvTokens::Exactly(tokens) => tokens,
            KvTokens::AsManyAsFit => self.policy.kv_limit(self.profile.max_positions),
        }
        .div_ceil(PAGE_TOKENS);
        if let Some(stages) = self.stages(&self.sizes(wanted), &self.caps) {
            return Ok((wanted, stages));
        }
        let fitting = self.most_pages(wanted);
        match (self.policy.kv_tokens, fitting) {
            (KvTokens::AsManyAsFit, Some(fitting)) => Ok(fitting),
            (KvTokens::AsManyAsFit, None) => Err(shortfall::explain(self, 1, None).into()),
            (KvTokens::Exactly(_), fitting) => {
                let fitting = fitting.map(|(num_pages, _)| num_pages);
                Err(shortfall::explain(self, wanted, fitting).into())
            }
        }
    }

    /// The most pages below `wanted` that fit, with their stages: more pages never fit better.
    fn most_pages(&self, wanted: usize) -> Option<(usize, Vec<(DeviceId, UnitRange)>)> {
        let (mut low, mut high) = (0, wanted);
        let mut best = None;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.stages(&self.sizes(middle), &self.caps) {
                Some(stages) => {
                    best = Some((middle, stages));
                    low = middle;
                }
                None => high = middle,
            }
        }
        best
    }

    pub(super) fn sizes(&self, num_pages: usize) -> Sizes {
        let pages = cost::pages_per_group(self.profile, self.policy, num_pages);
        Sizes::new(self.profile, self.policy, &pages)
    }

    /// The stages, if they fit.
    pub(super) fn stages(&self, sizes: &Sizes, caps: &[Cap]) -> Option<Vec<(DeviceId, UnitRange)>> {
        match &self.layout {
            Layout::Balanced => balance::balance(sizes, caps),
            Layout::Given(stages) => caps
                .iter()
                .all(|cap| held(sizes, stages, cap.device) <= cap.bytes.0.into())
                .then(|| stages.clone()),
        }
    }

    fn fields(&self, num_pages: usize, stages: &[(DeviceId, UnitRange)]) -> PlanFields {
        let pages_per_group = cost::pages_per_group(self.profile, self.policy, num_pages);
        let sizes = Sizes::new(self.profile, self.policy, &pages_per_group);
        let planned = |&(device, units): &(DeviceId, UnitRange)| {
            let span = sizes.span(units);
            PlannedStage {
                device,
                units,
                weight_bytes: cost::bytes(span.weights),
                kv_bytes: cost::bytes(span.kv),
                workspace_bytes: cost::bytes(span.workspace),
                cap_bytes: self
                    .caps
                    .iter()
                    .find(|cap| cap.device == device)
                    .map_or(Bytes(0), |cap| cap.bytes),
            }
        };
        PlanFields {
            stages: stages.iter().map(planned).collect(),
            num_layers: self.profile.num_layers,
            kv_tokens: num_pages.saturating_mul(PAGE_TOKENS),
            kv_groups: self.profile.kv_groups.clone(),
            pages_per_group,
            batch: self.policy.batch,
            chunk_tokens: self.policy.chunk_tokens,
            hidden: self.profile.hidden,
            hidden_element_bytes: self.profile.hidden_element_bytes,
            mask_words: self.profile.vocab.div_ceil(32),
        }
    }
}

/// What all stages of a device hold together.
pub(super) fn held(sizes: &Sizes, stages: &[(DeviceId, UnitRange)], device: DeviceId) -> u128 {
    stages
        .iter()
        .filter(|(owner, _)| *owner == device)
        .map(|(_, units)| sizes.span(*units).total())
        .sum()
}

fn caps(cluster: &Cluster, policy: &Policy) -> Vec<Cap> {
    let cap = |device: &ClusterDevice| {
        let cap = policy.memory_caps.get(&device.id).copied().unwrap_or(device.memory);
        let bytes = Bytes(cap.min(device.memory).0.saturating_sub(device.reserve.0));
        Cap { device: device.id, bytes }
    };
    let allowed = |device: &&ClusterDevice| !policy.forbidden.contains(&device.id);
    cluster.devices.iter().filter(allowed).map(cap).collect()
}

fn layout(profile: &ModelProfile, policy: &Policy) -> Result<Layout, PlanError> {
    match &policy.placement {
        Placement::Auto => Ok(Layout::Balanced),
        Placement::Layers(ranges) => {
            Ok(Layout::Given(explicit::stages(profile.num_layers, ranges)?))
        }
    }
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

fn check_policy(policy: &Policy, cluster: &Cluster) -> Result<(), PlanError> {
    let sizes = [
        ("batch", policy.batch),
        ("chunk tokens", policy.chunk_tokens),
        ("kv tokens", if let KvTokens::Exactly(tokens) = policy.kv_tokens { tokens } else { 1 }),
    ];
    if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
        return Err(PlanError::Zero { field });
    }
    let known: Vec<DeviceId> = cluster.devices.iter().map(|device| device.id).collect();
    let given = match &policy.placement {
        Placement::Auto => &[][..],
        Placement::Layers(ranges) => ranges,
    };
    let named = policy
        .memory_caps
        .keys()
        .map(|device| ("memory caps", *device))
        .chain(policy.forbidden.iter().map(|device| ("forbidden devices", *device)))
        .chain(given.iter().map(|(device, _)| ("explicit layers", *device)));
    if let Some((field, device)) = named.into_iter().find(|(_, device)| !known.contains(device)) {
        return Err(PlanError::UnknownDevice { field, device, known: DeviceList(known) });
    }
    if known.iter().all(|device| policy.forbidden.contains(device)) {
        return Err(PlanError::AllForbidden { known: DeviceList(known) });
    }
    match given.iter().find(|(device, _)| policy.forbidden.contains(device)) {
        Some(&(device, layers)) => Err(PlanError::Forbidden { device, layers }),
        None => Ok(()),
    }
}
