//! The cost of a given placement. This defines what the search optimises exactly.
//!
//! With `M` microbatches in flight, a cycle (one token for every sequence) takes `C = max(M * p,
//! sum(t) + sum(c) + host)`: the slowest device or link has to process `M` microbatches, and each
//! microbatch has to go all the way round. `p` is the largest of the devices' busy times and the
//! overlapped transfers. A transfer that does not overlap keeps its receiver busy.

use std::collections::BTreeMap;

use serde::Serialize;
use sluicegate_spec::device::DeviceId;

use super::{
    setting::Setting,
    stages::Stages,
    work::{Hop, Work},
};

/// The costs of a placement for one microbatch size.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Costs {
    /// Seconds of computing, per stage.
    pub(super) stage_s: Vec<f64>,
    /// The transfer of the hidden values into each stage. None for the first stage, and for a stage
    /// on the same device as the one before.
    pub(super) hop_s: Vec<Option<Hop>>,
    /// The busy time of the busiest device or link.
    pub(super) bottleneck_s: f64,
    pub(super) bottleneck: Bottleneck,
    /// The time of one microbatch all the way round.
    pub(super) round_s: f64,
}

/// The device or link that limits throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bottleneck {
    Device(DeviceId),
    Link(DeviceId, DeviceId),
}

impl Setting<'_> {
    /// Costs stages for microbatches of `rows` rows.
    pub(super) fn costs(&self, rows: usize, stages: &Stages) -> Costs {
        Costs::of(self, &Work::expected(self.profile, self.policy, rows), stages)
    }
}

impl Costs {
    /// Costs stages for the microbatches of `work`.
    pub(super) fn of(setting: &Setting<'_>, work: &Work, stages: &Stages) -> Self {
        let is_alone = stages.iter().all(|(device, _)| *device == stages[0].0);
        let stage_s: Vec<f64> = stages
            .iter()
            .map(|&(device, units)| work.seconds(setting.speed(device, is_alone), units))
            .collect();
        let mut hop_s = vec![None];
        hop_s.extend(stages.windows(2).map(|pair| {
            let (source, target) = (pair[0].0, pair[1].0);
            (source != target).then(|| Hop::new(setting.link_between(source, target), work))
        }));
        let mut busy: BTreeMap<DeviceId, f64> = BTreeMap::new();
        for ((device, _), (seconds, hop)) in stages.iter().zip(stage_s.iter().zip(&hop_s)) {
            *busy.entry(*device).or_default() += seconds + hop.map_or(0.0, Hop::blocking_s);
        }
        let devices = busy.into_iter().map(|(device, s)| (s, Bottleneck::Device(device)));
        let links = stages.windows(2).zip(&hop_s[1..]).filter_map(|(pair, hop)| {
            hop.filter(|hop| hop.overlaps)
                .map(|hop| (hop.seconds, Bottleneck::Link(pair[0].0, pair[1].0)))
        });
        let slowest = devices.chain(links).reduce(|a, b| if b.0 > a.0 { b } else { a });
        let (bottleneck_s, bottleneck) = slowest.expect("a placement has a stage");
        let hops = hop_s.iter().flatten().map(|hop| hop.seconds).sum::<f64>();
        let round_s = stage_s.iter().sum::<f64>() + hops + setting.cluster.host_s;
        Self { stage_s, hop_s, bottleneck_s, bottleneck, round_s }
    }

    /// Returns the seconds for one token of every sequence.
    pub(super) fn cycle_s(&self, num_microbatches: usize) -> f64 {
        (num_microbatches as f64 * self.bottleneck_s).max(self.round_s)
    }

    /// Returns the fewest microbatches that keep the bottleneck busy.
    pub(super) fn full_at(&self) -> usize {
        full_at(self.round_s, self.bottleneck_s)
    }
}

/// Returns `M* = ceil((sum(t) + sum(c) + host) / p)`, the number of microbatches that fills the
/// pipeline.
pub(super) fn full_at(round_s: f64, bottleneck_s: f64) -> usize {
    // Rounding must not add a microbatch.
    let ratio = round_s / bottleneck_s * (1.0 - 1e-12);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 1, and a cast saturates"
    )]
    let full_at = ratio.ceil().max(1.0) as usize;
    full_at
}
