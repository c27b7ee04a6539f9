//! What the rules of other systems would make of the same task, by the planner's own model of cost.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_model::{
    placed::DeviceId,
    profile::ModelProfile,
    units::{Bytes, UnitRange},
};

use super::{
    baselines::{Baseline, BaselineInput},
    cluster::Cluster,
    cost::{self, Sizes},
    planner::{Solution, best_microbatches, fits_given},
    policy::Policy,
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
    let sizes = Sizes::new(profile, policy, &solution.plan.pages_per_group);
    let num_sequences = solution.prediction.sequences;
    let one =
        |baseline: Baseline| (baseline.name(), cost(&setting, &sizes, num_sequences, baseline));
    Baseline::ALL.into_iter().map(one).collect()
}

fn cost(
    setting: &Setting<'_>,
    sizes: &Sizes,
    num_sequences: usize,
    baseline: Baseline,
) -> Baselined {
    match baseline.stages(&input(setting, sizes)) {
        Ok(stages) => Baselined {
            feasible: fits_given(setting, sizes, &stages),
            objective_value: Some(
                best_microbatches(setting, &stages, num_sequences).cycle_s / num_sequences as f64,
            ),
            stages,
            reason: None,
        },
        Err(error) => Baselined {
            feasible: false,
            objective_value: None,
            stages: Vec::new(),
            reason: Some(error.to_string()),
        },
    }
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
