//! `plan --json`: every figure of a plan in one object.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_placement::{
    Baselined, Bottleneck, ClusterDevice, ClusterLink, Explanation, Policy, Proof, Solution,
    baselines,
};
use sluicegate_spec::{profile::ModelProfile, units::Bytes};

use super::Task;
use crate::report::StageReport;

/// The printed object. Times are in seconds, sizes in bytes.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    model: &'a str,
    profile: &'a ModelProfile,
    cluster: ClusterReport<'a>,
    policy: &'a Policy,
    stages: Vec<CostedStage>,
    bottleneck: Bottleneck,
    bottleneck_seconds: f64,
    round_seconds: f64,
    cycle_seconds: f64,
    /// Of the objective value; null if the stages were given.
    lower_bound_seconds: Option<f64>,
    /// The largest bottleneck that was proven infeasible.
    infeasible_seconds: Option<f64>,
    gap: Option<f64>,
    kv_tokens: usize,
    sequences: usize,
    microbatches: usize,
    /// The number of microbatches that fill the pipeline.
    full_at: usize,
    predicted_tokens_per_s: f64,
    objective_value: f64,
    explanation: &'a Explanation,
    baselines: BTreeMap<&'static str, Baselined>,
}

/// Has a link for every pair of devices, listed in the cluster or not.
#[derive(Debug, Serialize)]
struct ClusterReport<'a> {
    devices: &'a [ClusterDevice],
    links: Vec<ClusterLink>,
    host_s: f64,
}

#[derive(Debug, Serialize)]
struct CostedStage {
    #[serde(flatten)]
    stage: StageReport,
    workspace_bytes: Bytes,
    /// Of the device, without all its stages.
    free_bytes: Bytes,
    /// Computing time of each microbatch.
    seconds: f64,
    /// Transfer time of the incoming hidden values.
    hop_seconds: f64,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        task: &'a Task,
        solution: &'a Solution,
        explanation: &'a Explanation,
    ) -> Self {
        let Solution { plan, prediction } = solution;
        let (lower_bound_seconds, infeasible_seconds) = match prediction.proof {
            Proof::None => (None, None),
            Proof::Search { lower_bound_s, infeasible_s } => (Some(lower_bound_s), infeasible_s),
        };
        Self {
            model: &task.model,
            profile: &task.profile,
            cluster: ClusterReport::new(task),
            policy: &task.policy,
            stages: stages(solution, explanation),
            bottleneck: prediction.bottleneck,
            bottleneck_seconds: prediction.bottleneck_s,
            round_seconds: prediction.round_s,
            cycle_seconds: prediction.cycle_s,
            lower_bound_seconds,
            infeasible_seconds,
            gap: prediction.gap(),
            kv_tokens: plan.kv_tokens,
            sequences: prediction.sequences,
            microbatches: prediction.microbatches,
            full_at: prediction.full_at,
            predicted_tokens_per_s: prediction.tokens_per_s(),
            objective_value: prediction.objective_value,
            explanation,
            baselines: baselines(&task.profile, &task.cluster, &task.policy, solution),
        }
    }
}

impl<'a> ClusterReport<'a> {
    fn new(task: &'a Task) -> Self {
        let cluster = &task.cluster;
        let ids = || cluster.devices.iter().map(|device| device.id);
        let pairs = ids().flat_map(|source| ids().map(move |target| (source, target)));
        let links = pairs.filter(|(source, target)| source != target).map(|(source, target)| {
            ClusterLink { source, target, figures: cluster.link(source, target) }
        });
        Self { devices: &cluster.devices, links: links.collect(), host_s: cluster.host_s }
    }
}

fn stages(solution: &Solution, explanation: &Explanation) -> Vec<CostedStage> {
    let Solution { plan, prediction } = solution;
    let stages = plan.stages.iter().zip(&prediction.stages).map(|(stage, predicted)| {
        let share = explanation.devices.iter().find(|share| share.device == stage.device);
        CostedStage {
            stage: StageReport::new(plan, stage),
            workspace_bytes: stage.workspace_bytes,
            free_bytes: share.map_or(Bytes(0), |share| share.free_bytes),
            seconds: predicted.seconds,
            hop_seconds: predicted.hop_s,
        }
    });
    stages.collect()
}
