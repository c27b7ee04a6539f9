//! The predicted performance of a placement, by the planner's model of time.

use serde::Serialize;
use sluicegate_spec::{device::DeviceId, units::UnitRange};

use super::{
    error::TooSlow,
    evaluate::Bottleneck,
    pace,
    policy::{Objective, TimeLimits},
    search::Found,
    setting::Setting,
    work::Hop,
};

/// Predicted figures of a placement under a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    pub objective: Objective,
    /// Seconds per token over all sequences; less is better.
    pub objective_value: f64,
    /// Concurrent sequences: as many as the policy expects and the cache holds.
    pub sequences: usize,
    /// Microbatches in flight, `M`.
    pub microbatches: usize,
    /// Rows of the largest microbatch.
    pub rows: usize,
    /// Seconds for one token of every sequence: `max(M * bottleneck, round)`.
    pub cycle_s: f64,
    /// Seconds from a request's admission to its first token while all others run; none for
    /// [`Objective::Latency`].
    pub first_token_s: Option<f64>,
    /// Seconds for one microbatch to go all the way round.
    pub round_s: f64,
    /// Busy time per microbatch of the busiest device or link.
    pub bottleneck_s: f64,
    pub bottleneck: Bottleneck,
    /// The fewest microbatches that keep the bottleneck busy, `M*`.
    pub full_at: usize,
    pub stages: Vec<StagePrediction>,
    pub proof: Proof,
}

/// One stage with one microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StagePrediction {
    pub device: DeviceId,
    pub units: UnitRange,
    /// Seconds of computing.
    pub seconds: f64,
    /// Seconds of the transfer of the hidden values into the stage.
    pub hop_s: f64,
    /// The part of the transfer during which the device cannot compute.
    pub blocking_s: f64,
}

/// What is proven about all other placements.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// Nothing: the placement was given.
    None,
    Search {
        /// No placement has a lower objective value, in seconds per token.
        lower_bound_s: f64,
        /// With the same number of microbatches, no placement keeps every device's and link's busy
        /// time within this; none if the round is the limit.
        infeasible_s: Option<f64>,
    },
}

impl Prediction {
    /// Says that not even this placement keeps the time limits.
    pub(super) fn too_slow_for(&self, wanted: TimeLimits) -> TooSlow {
        let Self { sequences, cycle_s, first_token_s, .. } = *self;
        TooSlow { wanted, sequences, per_token_s: cycle_s, first_token_s }
    }

    pub(super) fn new(setting: &Setting<'_>, found: &Found, proof: Proof) -> Self {
        let (num_sequences, rows) = (found.num_sequences, found.at_once().rows);
        let costs = setting.costs(rows, &found.stages);
        let stages = found.stages.iter().zip(costs.stage_s.iter().zip(&costs.hop_s));
        let stages = stages.map(|(&(device, units), (&seconds, hop))| {
            let hop_s = hop.map_or(0.0, |hop| hop.seconds);
            let blocking_s = hop.map_or(0.0, Hop::blocking_s);
            StagePrediction { device, units, seconds, hop_s, blocking_s }
        });
        let cycle_s = costs.cycle_s(found.num_microbatches);
        Self {
            objective: setting.policy.objective,
            objective_value: cycle_s / num_sequences as f64,
            sequences: num_sequences,
            microbatches: found.num_microbatches,
            rows,
            cycle_s,
            first_token_s: pace::first_token_s(
                setting.profile,
                setting.policy,
                rows,
                found.num_microbatches,
                cycle_s,
            ),
            round_s: costs.round_s,
            bottleneck_s: costs.bottleneck_s,
            bottleneck: costs.bottleneck,
            full_at: costs.full_at(),
            stages: stages.collect(),
            proof,
        }
    }

    /// Returns the tokens per second of all sequences.
    pub fn tokens_per_s(&self) -> f64 {
        self.objective_value.recip()
    }

    /// Returns by how much a better placement could undercut this one, relative to the bound; none
    /// if nothing was proven.
    pub fn gap(&self) -> Option<f64> {
        match self.proof {
            Proof::None => None,
            Proof::Search { lower_bound_s, .. } => {
                Some((self.objective_value / lower_bound_s - 1.0).max(0.0))
            }
        }
    }
}
