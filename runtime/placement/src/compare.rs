//! Costs the placements that other systems' rules would choose, with the planner's own cost model.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_spec::{device::DeviceId, kv::PAGE_TOKENS, profile::ModelProfile, units::UnitRange};

use super::{
    baselines::Baseline,
    cluster::Cluster,
    cost::{AtOnce, Sizes},
    held::fits_given,
    planner::{Solution, best_microbatches, best_sequences, solve_on},
    policy::{KvTokens, Policy},
    room::{least_pages, widened},
    rules::input,
    search::{Cache, Found, Wanted},
    setting::Setting,
    stages::Stages,
};

/// The value of a rule's placement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Baselined {
    /// Whether there is a placement that fits into memory.
    pub feasible: bool,
    /// Seconds per token, as [`super::Prediction::objective_value`]; none without stages.
    pub objective_value: Option<f64>,
    pub stages: Vec<(DeviceId, UnitRange)>,
    /// Why there is no feasible placement.
    pub reason: Option<String>,
}

/// Costs the placements of all rules, each with its best number of microbatches. If the policy
/// leaves sequences and cache open, each rule gets its own best number of sequences and uses all
/// remaining memory as cache. Otherwise it gets as many sequences and as much cache as the
/// solution.
pub fn baselines(
    profile: &ModelProfile,
    cluster: &Cluster,
    policy: &Policy,
    solution: &Solution,
) -> BTreeMap<&'static str, Baselined> {
    let Ok(setting) = Setting::new(profile, cluster, policy) else { return BTreeMap::new() };
    let num_sequences = solution.prediction.sequences;
    let at_once = AtOnce { sequences: num_sequences, rows: solution.prediction.rows };
    let sizes = Sizes::new(profile, policy, &solution.plan.pages_per_group, at_once);
    let num_pages = solution.plan.kv_tokens / PAGE_TOKENS;
    let within = within_shares(&setting, &sizes, solution);
    let of_task = (num_pages, num_sequences);
    let one = |baseline: Baseline| {
        let baselined = if policy.is_open() {
            cost_open(&within, &sizes, num_pages, baseline)
        } else {
            cost(&within, &sizes, of_task, baseline)
        };
        (baseline.name(), baselined)
    };
    Baseline::ALL.into_iter().map(one).collect()
}

/// Returns the better of a rule's placements: for a cache as large as the solution's, and for
/// weights alone, as some systems place them; each with its best number of sequences.
fn cost_open(
    setting: &Setting<'_>,
    sizes: &Sizes,
    our_pages: usize,
    baseline: Baseline,
) -> Baselined {
    let weights = setting.sizes(0, AtOnce::ONE);
    let least_tokens = least_pages(setting).min(our_pages) * PAGE_TOKENS;
    let [with_cache, for_weights] =
        [sizes, &weights].map(|sizes| match baseline.stages(&input(setting, sizes)) {
            Ok(stages) => filled(setting, stages, least_tokens),
            Err(error) => Baselined::none(error.to_string()),
        });
    let seconds = |it: &Baselined| it.objective_value.unwrap_or(f64::INFINITY);
    if seconds(&with_cache) < seconds(&for_weights) { with_cache } else { for_weights }
}

/// Costs given stages with their best number of sequences and all remaining memory as cache.
fn filled(
    setting: &Setting<'_>,
    stages: Vec<(DeviceId, UnitRange)>,
    least_tokens: usize,
) -> Baselined {
    let reason = match solve_on(&setting.with_stages(stages.clone()), 1) {
        Ok(Solution { plan, prediction }) if plan.kv_tokens >= least_tokens => {
            let objective_value = Some(prediction.objective_value);
            return Baselined { feasible: true, objective_value, stages, reason: None };
        }
        Ok(Solution { plan, .. }) => {
            format!("leaves room for {} tokens of cache; wanted {least_tokens}", plan.kv_tokens)
        }
        Err(error) => error.to_string(),
    };
    Baselined { stages, ..Baselined::none(reason) }
}

impl Baselined {
    fn none(reason: String) -> Self {
        Self { feasible: false, objective_value: None, stages: Vec::new(), reason: Some(reason) }
    }
}

fn cost(
    setting: &Setting<'_>,
    sizes: &Sizes,
    (num_pages, num_sequences): (usize, usize),
    baseline: Baseline,
) -> Baselined {
    match baseline.stages(&input(setting, sizes)) {
        Ok(stages) => {
            let best = best_fitting(setting, num_pages, num_sequences, &stages);
            let any = || best_microbatches(setting, &stages, num_sequences);
            Baselined {
                feasible: best.is_some(),
                objective_value: Some(best.unwrap_or_else(any).per_token_s()),
                stages,
                reason: None,
            }
        }
        Err(error) => Baselined::none(error.to_string()),
    }
}

/// Limits memory to what the solution uses.
fn within_shares<'a>(setting: &Setting<'a>, sizes: &Sizes, solution: &Solution) -> Setting<'a> {
    if let KvTokens::Exactly(_) = setting.policy.kv_tokens {
        return setting.clone();
    }
    let shared = setting.shared(0);
    let stages: Vec<_> = solution.plan.stages.iter().map(|it| (it.device, it.units)).collect();
    if fits_given(&shared, sizes, &stages) { shared } else { widened(setting) }
}

/// Finds the best number of microbatches with which `num_sequences` fit.
fn best_fitting(
    setting: &Setting<'_>,
    num_pages: usize,
    num_sequences: usize,
    stages: &Stages,
) -> Option<Found> {
    let wanted = Wanted {
        least: num_sequences,
        most: num_sequences,
        cache: Cache::Pages(num_pages),
        min_devices: 1,
        limit_s: f64::INFINITY,
    };
    best_sequences(setting, stages, &wanted, |found| {
        fits_given(setting, &setting.sizes(num_pages, found.at_once()), stages)
    })
}
