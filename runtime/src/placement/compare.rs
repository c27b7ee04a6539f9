//! What the rules of other systems would make of the same task, by the planner's own model of cost.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_model::{
    placed::DeviceId,
    profile::ModelProfile,
    step::PAGE_TOKENS,
    units::{Bytes, UnitRange},
};

use super::{
    baselines::{Baseline, BaselineInput},
    cluster::Cluster,
    cost::{self, AtOnce, Sizes},
    evaluate::Stages,
    planner::{Solution, best_microbatches, best_sequences},
    policy::{KvTokens, Policy},
    room::{fits_given, widened},
    search::{Cache, Found, Wanted},
    setting::Setting,
};

/// What a rule's placement is worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Baselined {
    /// Whether there is one, and it fits into memory.
    pub feasible: bool,
    /// Seconds per token, as [`super::Prediction::objective_value`]; none without stages.
    pub objective_value: Option<f64>,
    pub stages: Vec<(DeviceId, UnitRange)>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// Costs the rules' placements for as many sequences and as large a cache as a solution has, and
/// with the best number of microbatches for each.
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
    let one = |baseline: Baseline| (baseline.name(), cost(&within, &sizes, of_task, baseline));
    Baseline::ALL.into_iter().map(one).collect()
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
        Err(error) => Baselined {
            feasible: false,
            objective_value: None,
            stages: Vec::new(),
            reason: Some(error.to_string()),
        },
    }
}

/// With no more memory than the solution keeps to.
fn within_shares<'a>(setting: &Setting<'a>, sizes: &Sizes, solution: &Solution) -> Setting<'a> {
    if let KvTokens::Exactly(_) = setting.policy.kv_tokens {
        return setting.clone();
    }
    let shared = setting.shared(0);
    let stages: Vec<_> = solution.plan.stages.iter().map(|it| (it.device, it.units)).collect();
    if fits_given(&shared, sizes, &stages) { shared } else { widened(setting) }
}

/// The best number of microbatches with which so many sequences fit.
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

/// The placements of all rules that fit.
pub(super) fn placements(setting: &Setting<'_>, sizes: &Sizes) -> Vec<Vec<(DeviceId, UnitRange)>> {
    let input = input(setting, sizes);
    let stages = Baseline::ALL.into_iter().filter_map(|baseline| baseline.stages(&input).ok());
    stages.filter(|stages| fits_given(setting, sizes, stages)).collect()
}

fn input(setting: &Setting<'_>, sizes: &Sizes) -> BaselineInput {
    let span = |unit_idx| sizes.span(UnitRange { start: unit_idx, end: unit_idx + 1 });
    BaselineInput {
        weight_bytes: setting.profile.units.iter().map(|unit| unit.weight_bytes).collect(),
        kv_bytes: (0..setting.num_units()).map(|it| cost::bytes(span(it).kv)).collect(),
        devices: setting.devices.iter().map(|usable| (usable.id, usable.cap)).collect(),
        tied: setting.profile.tied_embedding_bytes > Bytes(0),
    }
}
