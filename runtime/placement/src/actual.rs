//! Costs real microbatches on a finished plan, with the planner's own model of time.

use sluicegate_spec::{device::DeviceId, profile::ModelProfile, units::UnitRange};

use super::{
    cluster::{Cluster, LinkFigures},
    error::PlanError,
    load::RowLoad,
    plan::Plan,
    work::{Hop, Speed, Work},
};

/// The planner's model of time, applied to real microbatches.
#[derive(Debug, Clone)]
pub struct CostModel {
    profile: ModelProfile,
    stages: Vec<CostedStage>,
    host_s: f64,
}

#[derive(Debug, Clone)]
struct CostedStage {
    device: DeviceId,
    units: UnitRange,
    speed: Speed,
    /// The link into the stage; none if the stage before is on the same device.
    link: Option<LinkFigures>,
}

/// The cost of a microbatch, stage by stage.
#[derive(Debug, Clone, PartialEq)]
pub struct MicrobatchCost {
    /// Seconds of computing, per stage.
    pub stage_s: Vec<f64>,
    /// The transfer of the hidden values into each stage.
    pub hops: Vec<Option<Hop>>,
}

impl CostModel {
    /// Prepares the model for the stages of a plan.
    ///
    /// # Errors
    /// [`PlanError`] if the cluster is invalid, or the plan is for another number of layers or uses
    /// a device that is not in the cluster.
    pub fn new(profile: &ModelProfile, cluster: &Cluster, plan: &Plan) -> Result<Self, PlanError> {
        cluster.check()?;
        plan.check_model(profile)?;
        let is_alone = plan.stages.iter().all(|stage| stage.device == plan.stages[0].device);
        let mut stages: Vec<CostedStage> = Vec::with_capacity(plan.stages.len());
        for stage in &plan.stages {
            let found = cluster.devices.iter().find(|device| device.id == stage.device);
            let Some(device) = found else {
                let known = cluster.devices.iter().map(|device| device.id).collect();
                return Err(PlanError::unknown("the plan", stage.device, known));
            };
            let speed = Speed::of(device, profile);
            let speed = if is_alone { speed.times(device.alone) } else { speed };
            let source = stages.last().map(|before| before.device);
            let link = source
                .filter(|source| *source != stage.device)
                .map(|source| cluster.link(source, stage.device));
            stages.push(CostedStage { device: stage.device, units: stage.units, speed, link });
        }
        Ok(Self { profile: profile.clone(), stages, host_s: cluster.host_s })
    }

    /// Computes the cost of one microbatch.
    pub fn microbatch(&self, rows: &[RowLoad]) -> MicrobatchCost {
        let work = Work::of_rows(&self.profile, rows);
        let hop = |stage: &CostedStage| stage.link.as_ref().map(|link| Hop::new(link, &work));
        MicrobatchCost {
            stage_s: self.stages.iter().map(|it| work.seconds(it.speed, it.units)).collect(),
            hops: self.stages.iter().map(hop).collect(),
        }
    }

    /// Returns the device of each stage.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> {
        self.stages.iter().map(|stage| stage.device)
    }

    /// Returns the seconds that the host adds to every step.
    pub fn host_s(&self) -> f64 {
        self.host_s
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_spec::units::Bytes;

    use super::*;
    use crate::{Policy, Sequences, fixtures, solve};

    #[test]
    fn a_microbatch_as_expected_costs_what_was_predicted() {
        let profile = fixtures::model(&[400, 900, 900, 900, 900, 700], 64, 0);
        let cluster = Cluster::logical_cpus(2, Bytes(1 << 20));
        let policy = Policy {
            prompt_tokens: 0,
            output_tokens: 2 * 99,
            sequences: Sequences::Exactly(12),
            ..Policy::default()
        };
        let solution = solve(&profile, &cluster, &policy).unwrap();
        let prediction = solution.prediction;
        let model = CostModel::new(&profile, &cluster, &solution.plan).unwrap();
        // Decoding rows in the middle of their outputs.
        let row = RowLoad { position: 98, tokens: 1, wants_logits: true };
        let cost = model.microbatch(&vec![row; prediction.rows]);
        for (stage, predicted) in prediction.stages.iter().enumerate() {
            let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} and {b}");
            close(cost.stage_s[stage], predicted.seconds);
            assert_eq!(cost.hops[stage].is_some(), predicted.hop_s > 0.0);
            cost.hops[stage].iter().for_each(|hop| close(hop.seconds, predicted.hop_s));
        }
    }

    #[test]
    fn prompts_cost_by_the_token_and_logits_by_the_row() {
        let profile = fixtures::model(&[400, 900, 900, 700], 64, 0);
        let chunk = |position, tokens| RowLoad { position, tokens, wants_logits: false };
        let totals = |rows: &[RowLoad]| Work::of_rows(&profile, rows).totals();
        let (bytes, flops) = totals(&[chunk(0, 32)]);
        let (bytes_later, flops_later) = totals(&[chunk(64, 32)]);
        // 64 positions more of 64 bytes, in two layers, are read once for the whole chunk.
        assert!((bytes_later - bytes - 2.0 * 64.0 * 64.0).abs() < 1e-6);
        assert!((flops - flops_later).abs() < 1e-6);
        let (_, sampled) = totals(&[RowLoad { wants_logits: true, ..chunk(0, 32) }]);
        assert!((sampled - flops - 1_400.0).abs() < 1e-6, "the head computes on one row");
    }
}
