//! The finished placement: which stage runs which units on which device, and how much memory it may
//! use.

use std::{collections::BTreeMap, fmt, ops::Deref};

use serde::{Deserialize, Serialize};
use sluicegate_spec::{
    config::KvGroup,
    device::DeviceId,
    profile::ModelProfile,
    units::{Bytes, LayerRange, UnitRange},
};

use super::{
    cluster::Route,
    error::{InvalidPlan, PlanError},
};

/// The index of a stage in the pipeline, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageId(pub usize);

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {}", self.0)
    }
}

/// A valid placement: every unit is placed once and in order, and no device exceeds its cap.
///
/// Its fields ([`PlanFields`]) can be read but not changed. Prints as a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PlanFields", try_from = "PlanFields")]
pub struct Plan(PlanFields);

/// The contents of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanFields {
    /// The stages in the order in which a token passes them. Neighbours may share a device, and a
    /// device may have several stages.
    pub stages: Vec<PlannedStage>,
    pub num_layers: usize,
    /// Tokens that the KV cache holds for all sequences together, in whole pages.
    pub kv_tokens: usize,
    pub kv_groups: Vec<KvGroup>,
    /// Pages of each KV group. A window group has no more than the batch can fill.
    pub pages_per_group: Vec<usize>,
    /// The number of concurrent sequences for which cache and workspace are sized.
    pub sequences: usize,
    /// The most rows of a microbatch for which the workspace is sized.
    pub batch: usize,
    /// The most new tokens of a microbatch for which the workspace is sized.
    pub chunk_tokens: usize,
    /// Microbatches in flight.
    pub microbatches: usize,
    /// Width of the activations.
    pub hidden: usize,
    /// Bytes of one activation element in a transfer between devices.
    pub hidden_element_bytes: usize,
    /// 32-bit words of one row's mask; one bit per logit.
    pub mask_words: usize,
}

/// One stage: a run of units on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    pub device: DeviceId,
    pub units: UnitRange,
    /// Weights, including the embedding copy of a tied head on another device.
    pub weight_bytes: Bytes,
    pub kv_bytes: Bytes,
    pub workspace_bytes: Bytes,
    /// The most bytes of all stages on the device together, its reserve excluded.
    pub cap_bytes: Bytes,
    /// The route of the link from the stage before: whether hidden values come from another GPU
    /// without the host. Not written where it is through the host.
    #[serde(default, skip_serializing_if = "is_through_host")]
    pub input_route: Route,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_through_host(route: &Route) -> bool {
    *route == Route::Host
}

impl PlannedStage {
    /// Returns weights, cache and workspace together.
    pub fn total_bytes(&self) -> Bytes {
        let sum = self.weight_bytes.0.saturating_add(self.kv_bytes.0);
        Bytes(sum.saturating_add(self.workspace_bytes.0))
    }
}

impl Deref for Plan {
    type Target = PlanFields;

    fn deref(&self) -> &PlanFields {
        &self.0
    }
}

impl From<Plan> for PlanFields {
    fn from(plan: Plan) -> Self {
        plan.0
    }
}

impl TryFrom<PlanFields> for Plan {
    type Error = InvalidPlan;

    fn try_from(fields: PlanFields) -> Result<Self, InvalidPlan> {
        Self::check(&fields)?;
        Ok(Self(fields))
    }
}

impl Plan {
    /// The most layers of a plan; bounds the search whatever a file says.
    pub const MAX_LAYERS: usize = 1024;

    /// Returns the stages with their ids, in order.
    pub fn stages(&self) -> impl ExactSizeIterator<Item = (StageId, &PlannedStage)> {
        self.stages.iter().enumerate().map(|(idx, stage)| (StageId(idx), stage))
    }

    /// Returns the decoder layers of a stage.
    pub fn layers(&self, stage: &PlannedStage) -> LayerRange {
        stage.units.layers(self.num_layers)
    }

    /// Returns the stage with the head, which masks and samples.
    pub fn last_stage(&self) -> StageId {
        StageId(self.stages.len() - 1)
    }

    /// Checks that it is for a model of as many layers.
    pub(super) fn check_model(&self, profile: &ModelProfile) -> Result<(), PlanError> {
        let (wanted, found) = (profile.num_layers, self.num_layers);
        if wanted == found { Ok(()) } else { Err(PlanError::OtherModel { wanted, found }) }
    }

    /// Checks the guarantees of [`Plan`].
    ///
    /// # Errors
    /// The first [`InvalidPlan`] found.
    pub fn check(fields: &PlanFields) -> Result<(), InvalidPlan> {
        let sizes = [
            ("num_layers", fields.num_layers),
            ("kv_tokens", fields.kv_tokens),
            ("sequences", fields.sequences),
            ("batch", fields.batch),
            ("chunk_tokens", fields.chunk_tokens),
            ("microbatches", fields.microbatches),
            ("hidden", fields.hidden),
            ("hidden_element_bytes", fields.hidden_element_bytes),
            ("mask_words", fields.mask_words),
        ];
        if let Some((field, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(InvalidPlan::Zero { field });
        }
        if fields.num_layers > Self::MAX_LAYERS {
            let (found, limit) = (fields.num_layers, Self::MAX_LAYERS);
            return Err(InvalidPlan::TooManyLayers { found, limit });
        }
        let (found, wanted) = (fields.pages_per_group.len(), fields.kv_groups.len());
        if found != wanted {
            return Err(InvalidPlan::PagesPerGroup { found, wanted });
        }
        if fields.pages_per_group.contains(&0) {
            return Err(InvalidPlan::Zero { field: "pages_per_group" });
        }
        check_units(fields)?;
        check_caps(&fields.stages)
    }
}

/// Checks that every unit is placed once and in order.
fn check_units(fields: &PlanFields) -> Result<(), InvalidPlan> {
    if fields.stages.is_empty() {
        return Err(InvalidPlan::NoStages);
    }
    let mut wanted = 0;
    for (stage, PlannedStage { device, units, .. }) in fields.stages.iter().enumerate() {
        if *device == DeviceId::Host {
            return Err(InvalidPlan::StageOnHost { stage });
        }
        let UnitRange { start, end } = *units;
        if start != wanted || end <= start {
            return Err(InvalidPlan::NotNext { stage, start, end, wanted });
        }
        wanted = end;
    }
    let (found, wanted) = (wanted, fields.num_layers + 2);
    if found != wanted {
        return Err(InvalidPlan::Unfinished { found, wanted });
    }
    Ok(())
}

/// Checks that no device exceeds its cap with all its stages.
fn check_caps(stages: &[PlannedStage]) -> Result<(), InvalidPlan> {
    let mut devices: BTreeMap<DeviceId, (Bytes, Bytes)> = BTreeMap::new();
    for (stage, planned) in stages.iter().enumerate() {
        let (device, found) = (planned.device, planned.cap_bytes);
        let (held, wanted) = devices.entry(device).or_insert((Bytes(0), found));
        if *wanted != found {
            return Err(InvalidPlan::CapsDiffer { stage, device, found, wanted: *wanted });
        }
        held.0 = held.0.saturating_add(planned.total_bytes().0);
    }
    match devices.into_iter().find(|(_, (held, cap))| held > cap) {
        Some((device, (held, cap))) => {
            let over = Bytes(held.0 - cap.0);
            Err(InvalidPlan::OverCap { device, held, over, cap })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[track_caller]
    fn check(change: impl FnOnce(&mut PlanFields), want: &str) {
        let mut fields = PlanFields::from(fixtures::plan_of(&[(0, 0..4), (1, 4..8), (0, 8..10)]));
        change(&mut fields);
        let text = serde_json::to_string(&fields).unwrap();
        let read: Result<Plan, _> = serde_json::from_str(&text);
        let found = read.map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(found, want);
    }

    #[test]
    fn only_plans_that_hold_together_are_read() {
        check(|_| (), "ok");
        check(|it| it.stages.clear(), "the plan has no stages");
        check(
            |it| it.stages[0].device = DeviceId::Host,
            "stage 0 is on `host`, which runs no stage",
        );
        check(
            |it| it.stages[1].units.start = 3,
            "stage 1 covers units 3..8; wanted a span that starts at 4 and is not empty",
        );
        check(
            |it| it.stages[1].units.start = 5,
            "stage 1 covers units 5..8; wanted a span that starts at 4 and is not empty",
        );
        check(
            |it| it.stages[1].units.end = 4,
            "stage 1 covers units 4..4; wanted a span that starts at 4 and is not empty",
        );
        check(
            |it| it.stages.swap(0, 1),
            "stage 0 covers units 4..8; wanted a span that starts at 0 and is not empty",
        );
        check(|it| it.stages.truncate(2), "the stages end at unit 8; wanted 10");
        check(|it| it.num_layers = 9, "the stages end at unit 10; wanted 11");
        check(
            |it| it.num_layers = usize::MAX,
            "the plan is for 18446744073709551615 layers; at most 1024 can be planned for",
        );
        check(
            |it| it.stages[2].kv_bytes = Bytes(1 << 20),
            "the stages on cpu:0 hold 1.0 MiB, 600 B over their cap of 1.0 MiB",
        );
        check(
            |it| it.stages[2].cap_bytes = Bytes(7),
            "stage 2 has a cap of 7 B on cpu:0, another stage there has 1.0 MiB",
        );
        check(|it| it.pages_per_group.push(3), "the plan has pages for 2 KV groups; wanted 1");
        check(|it| it.pages_per_group[0] = 0, "pages_per_group is 0; wanted at least 1");
        check(|it| it.mask_words = 0, "mask_words is 0; wanted at least 1");
    }

    #[test]
    fn plans_survive_a_file() {
        let plan = fixtures::plan_of(&[(0, 0..4), (1, 4..10)]);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
