//! What a placement is expected to do, by the planner's model of time.

use serde::Serialize;
use sluicegate_spec::{device::DeviceId, units::UnitRange};

use super::{
    evaluate::Bottleneck, pace, policy::Objective, search::Found, setting::Setting, work::Hop,
};

/// Figures of a placement under a policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    pub objective: Objective,
    /// Seconds per token, all sequences together; less is better.
    pub objective_value: f64,
    /// Sequences that run at once: as many as the policy expects and the cache holds.
    pub sequences: usize,
    /// Microbatches in flight, `M`.
    pub microbatches: usize,
    /// Rows of the largest microbatch.
    pub rows: usize,
    /// One token of every sequence, in seconds: `max(M * bottleneck, round)`.
    pub cycle_s: f64,
    /// From the moment that a request is admitted to its first token, in seconds, while all others run;
    /// none for [`Objective::Latency`].
    pub first_token_s: Option<f64>,
    /// One microbatch, all the way round.
    pub round_s: f64,
    /// The busiest device or link, for each microbatch.
    pub bottleneck_s: f64,
    pub bottleneck: Bottleneck,
    /// The fewest microbatches that would keep the bottleneck busy, `M*`.
    pub full_at: usize,
    pub stages: Vec<StagePrediction>,
    pub proof: Proof,
}

/// One stage and one microbatch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StagePrediction {
    pub device: DeviceId,
    pub units: UnitRange,
    /// Computing.
    pub seconds: f64,
    /// The hidden values on their way in.
    pub hop_s: f64,
    /// As far as the device cannot compute meanwhile.
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
        /// With as many microbatches, no placement keeps every device and link busy for so short a
        /// time; none where it is the round that counts.
        infeasible_s: Option<f64>,
    },
}

impl Prediction {
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

    /// Tokens per second of all sequences together.
    pub fn tokens_per_s(&self) -> f64 {
        self.objective_value.recip()
    }

    /// How far a better placement could be below this one, as a share of the bound; none where
    /// nothing was proven.
    pub fn gap(&self) -> Option<f64> {
        match self.proof {
            Proof::None => None,
            Proof::Search { lower_bound_s, .. } => {
                Some((self.objective_value / lower_bound_s - 1.0).max(0.0))
            }
        }
    }
}
