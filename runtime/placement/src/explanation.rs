//! Explains a plan: what limits it, what would help, and why devices were left out.
//!
//! Every figure comes from running the planner again, with a limit lifted or with one more device.

use serde::Serialize;
use sluicegate_spec::{
    device::DeviceId,
    kv::PAGE_TOKENS,
    profile::ModelProfile,
    units::{Bytes, UnitRange},
};

use super::{
    cluster::{Cluster, LinkFigures, Route},
    cost::AtOnce,
    error::PlanError,
    held::{fits_given, held},
    planner::{Solution, solve_on},
    policy::Policy,
    room::most_pages,
    search::Search,
    setting::{Layout, Setting},
};

/// The findings about a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub devices: Vec<DeviceShare>,
    pub left_out: Option<LeftOut>,
    /// The limits whose lifting would gain most, the best first.
    pub relaxations: Vec<Relaxation>,
    pub kv: KvLimit,
    /// The price of the used devices per million tokens, if all have a price.
    pub price_per_million_tokens: Option<f64>,
}

/// How a device is used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DeviceShare {
    pub device: DeviceId,
    pub free_bytes: Bytes,
    /// The fraction of a cycle in which it computes, or waits for a transfer that does not overlap.
    pub busy_share: f64,
}

/// Devices that the plan does not use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    pub devices: Vec<DeviceId>,
    pub num_used: usize,
    pub with_one_more: OneMore,
}

/// The effect of the best placement on one more device.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OneMore {
    /// The relative change in tokens per second; negative if it lowers them.
    Gain(f64),
    /// The search was exhaustive, and no placement satisfies the policy.
    None,
    /// There are too many devices of too many kinds.
    NotSearched,
    /// The stages were given.
    Given,
}

/// The effect of lifting a limit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Relaxation {
    pub limit: Limit,
    /// The relative gain in tokens per second.
    pub gain: f64,
}

/// A limit that may bind a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The memory of a device; lifting it doubles the memory.
    Memory(DeviceId),
    /// The cost of all links between devices.
    Links,
    /// The time of the head.
    Head,
    /// The speed of a device; lifting it makes the device a tenth faster.
    Speed(DeviceId),
}

/// The size of the cache, and the device that limits it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct KvLimit {
    pub tokens: usize,
    /// Tokens that would fit on these stages.
    pub fitting_tokens: usize,
    /// The device that is full first.
    pub device: DeviceId,
}

/// With more devices than this, questions that need a search each are skipped.
const MAX_ASKED: usize = 16;
/// Searches for an explanation need only the precision with which figures are printed.
const TOLERANCE: f64 = 0.0005;
/// Smaller gains are not reported.
const NOTICEABLE: f64 = 0.005;

/// Explains a plan that [`super::solve`] made from the same arguments.
///
/// # Errors
/// As [`super::solve`].
pub fn explain(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
    solution: &Solution,
) -> Result<Explanation, PlanError> {
    let setting = Setting::new(profile, cluster, policy)?;
    let roughly = setting.within(TOLERANCE);
    let asked = setting.devices.len() <= MAX_ASKED;
    let relaxations = if asked { relaxations(&roughly, solution) } else { Vec::new() };
    Ok(Explanation {
        devices: shares(&setting, solution),
        left_out: left_out(&roughly, solution, asked),
        relaxations,
        kv: kv_limit(&setting, solution),
        price_per_million_tokens: price(cluster, solution),
    })
}

fn used(solution: &Solution) -> Vec<DeviceId> {
    let mut devices: Vec<DeviceId> = Vec::new();
    for stage in &solution.plan.stages {
        if !devices.contains(&stage.device) {
            devices.push(stage.device);
        }
    }
    devices
}

fn shares(setting: &Setting<'_>, solution: &Solution) -> Vec<DeviceShare> {
    let Solution { plan, prediction } = solution;
    let share = |device: DeviceId| {
        let planned = plan.stages.iter().filter(|stage| stage.device == device);
        let held: u64 = planned.map(|stage| stage.total_bytes().0).sum();
        let stages = prediction.stages.iter().filter(|stage| stage.device == device);
        let busy_s: f64 = stages.map(|stage| stage.seconds + stage.blocking_s).sum();
        DeviceShare {
            device,
            free_bytes: Bytes(setting.device(device).cap.0.saturating_sub(held)),
            busy_share: prediction.microbatches as f64 * busy_s / prediction.cycle_s,
        }
    };
    used(solution).into_iter().map(share).collect()
}

fn left_out(setting: &Setting<'_>, solution: &Solution, asked: bool) -> Option<LeftOut> {
    let used = used(solution);
    let all = setting.devices.iter().map(|usable| usable.id);
    let devices: Vec<DeviceId> = all.filter(|device| !used.contains(device)).collect();
    if devices.is_empty() {
        return None;
    }
    let with_one_more = if setting.layout != Layout::Auto {
        OneMore::Given
    } else if !asked && !Search::new(setting).is_exact() {
        OneMore::NotSearched
    } else {
        solve_on(setting, used.len() + 1).map_or(OneMore::None, |more| {
            let now = solution.prediction.tokens_per_s();
            OneMore::Gain(more.prediction.tokens_per_s() / now - 1.0)
        })
    };
    Some(LeftOut { devices, num_used: used.len(), with_one_more })
}

/// Computes the gain from lifting each limit.
fn relaxations(setting: &Setting<'_>, solution: &Solution) -> Vec<Relaxation> {
    let now = solution.prediction.tokens_per_s();
    let gain = |lifted: &Setting<'_>| {
        Some(solve_on(lifted, 1).ok()?.prediction.tokens_per_s() / now - 1.0)
    };
    let used = used(solution);
    let mut found = Vec::new();
    // For each device examined so far, the gains from memory and speed.
    let mut asked: Vec<(DeviceId, [Option<f64>; 2])> = Vec::new();
    for &device in &used {
        let alike = asked.iter().find(|(other, _)| is_like(setting, *other, device));
        let gains = alike.map_or_else(
            || {
                let more = setting.change(device, |usable| {
                    for cap in [&mut usable.cap, &mut usable.shared_cap] {
                        cap.0 = cap.0.saturating_mul(2);
                    }
                });
                let faster =
                    setting.change(device, |usable| usable.speed = usable.speed.times(1.1));
                [gain(&more), gain(&faster)]
            },
            |(_, gains)| *gains,
        );
        asked.push((device, gains));
        found.extend([Limit::Memory(device), Limit::Speed(device)].into_iter().zip(gains));
    }
    if used.len() > 1 {
        let free =
            LinkFigures { latency_s: 0.0, bytes_per_s: 1e18, route: Route::Peer, overlaps: true };
        found.push((Limit::Links, gain(&setting.with_links(free))));
    }
    let mut headless = setting.profile.clone();
    if let Some(head) = headless.units.last_mut() {
        (head.read_bytes, head.flops_per_token) = (Bytes(0), 0);
    }
    found.push((Limit::Head, gain(&setting.with_profile(&headless))));
    let noticed = found.into_iter().filter_map(|(limit, gain)| {
        gain.filter(|gain| *gain >= NOTICEABLE).map(|gain| Relaxation { limit, gain })
    });
    let mut found: Vec<Relaxation> = noticed.collect();
    found.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    found
}

/// Returns whether the gains of one device hold for another. With given stages, no two devices are
/// alike.
fn is_like(setting: &Setting<'_>, one: DeviceId, other: DeviceId) -> bool {
    setting.layout == Layout::Auto && setting.may_swap(setting.index(one), setting.index(other))
}

/// Computes how many tokens the stages could hold, and which device limits it.
fn kv_limit(setting: &Setting<'_>, solution: &Solution) -> KvLimit {
    let stages: Vec<(DeviceId, UnitRange)> =
        solution.plan.stages.iter().map(|stage| (stage.device, stage.units)).collect();
    let pages = solution.plan.kv_tokens / PAGE_TOKENS;
    let at_once = AtOnce { sequences: solution.plan.sequences, rows: solution.plan.batch };
    let fits = |num_pages| fits_given(setting, &setting.sizes(num_pages, at_once), &stages);
    // The bound is beyond any memory and far from overflow.
    let fitting = most_pages(pages, 1 << 40, fits);
    let sizes = setting.sizes(fitting + 1, at_once);
    let full = |device: &&DeviceId| {
        held(&sizes, &stages, **device) > setting.device(**device).cap.0.into()
    };
    let used = used(solution);
    let device = *used.iter().find(full).unwrap_or(&used[0]);
    let fitting_tokens = fitting.saturating_mul(PAGE_TOKENS);
    KvLimit { tokens: solution.plan.kv_tokens, fitting_tokens, device }
}

fn price(cluster: &Cluster, solution: &Solution) -> Option<f64> {
    let of = |device: DeviceId| cluster.devices.iter().find(|it| it.id == device)?.price_per_hour;
    let per_hour: f64 = used(solution).into_iter().map(of).sum::<Option<f64>>()?;
    Some(per_hour / 3600.0 / solution.prediction.tokens_per_s() * 1e6)
}

/// A trade-off between throughput, cache size and single-sequence latency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParetoPoint {
    pub kv_tokens: usize,
    /// Sequences that the cache holds at once.
    pub sequences: usize,
    pub tokens_per_s: f64,
    /// Seconds per token of a sequence that runs alone on these stages.
    pub single_token_s: f64,
    #[serde(skip)]
    pub solution: Solution,
}

/// Plans for cache sizes that double, and for both objectives; omits plans that another plan beats
/// in every respect.
///
/// # Errors
/// As [`super::solve`], if nothing fits at all.
pub fn pareto(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
) -> Result<Vec<ParetoPoint>, PlanError> {
    let mut points = Vec::new();
    let context = policy.context(profile.max_positions);
    let first = super::solve(profile, cluster, policy);
    let largest = {
        let setting = Setting::new(profile, cluster, policy)?;
        let search = Search::new(&setting);
        let fits = |num_pages| search.fits(|| setting.sizes(num_pages, setting.least_at_once()));
        most_pages(0, 1 << 32, fits) * PAGE_TOKENS
    };
    if largest == 0 {
        first?;
    }
    let doubling = std::iter::successors(Some(context.min(largest)), |tokens| {
        (*tokens < largest).then(|| (tokens * 2).min(largest))
    });
    for kv_tokens in doubling.filter(|tokens| *tokens > 0) {
        for objective in [super::Objective::Throughput, super::Objective::Latency] {
            let kv = super::KvTokens::Exactly(kv_tokens);
            let policy = Policy { objective, kv_tokens: kv, ..policy.clone() };
            let Ok(solution) = super::solve(profile, cluster, &policy) else { continue };
            points.push(point(profile, cluster, &policy, solution)?);
        }
    }
    let mut kept: Vec<ParetoPoint> = Vec::new();
    for point in points {
        if !kept.iter().any(|other| other.beats(&point)) {
            kept.retain(|other| !point.beats(other));
            kept.push(point);
        }
    }
    Ok(kept)
}

impl ParetoPoint {
    /// Returns whether `other` is dispensable: nowhere better by more than a thousandth.
    fn beats(&self, other: &Self) -> bool {
        self.kv_tokens >= other.kv_tokens
            && self.tokens_per_s >= other.tokens_per_s * 0.999
            && self.single_token_s <= other.single_token_s * 1.001
    }
}

fn point(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
    solution: Solution,
) -> Result<ParetoPoint, PlanError> {
    let objective = |objective| Policy { objective, ..policy.clone() };
    let throughput =
        super::predict(profile, cluster, &objective(super::Objective::Throughput), &solution.plan)?;
    let alone =
        super::predict(profile, cluster, &objective(super::Objective::Latency), &solution.plan)?;
    Ok(ParetoPoint {
        kv_tokens: solution.plan.kv_tokens,
        sequences: throughput.sequences,
        tokens_per_s: throughput.tokens_per_s(),
        single_token_s: alone.objective_value,
        solution,
    })
}
