//! A plan's stages, as fast as the planner says.

use sluicegate_placement::{Cluster, CostModel, MicrobatchCost, Plan, PlanError, RowLoad};
use sluicegate_spec::profile::ModelProfile;

use super::timing::Timing;

/// The planner's model of time on the stages of a plan.
#[derive(Debug, Clone)]
pub struct Planned {
    costs: CostModel,
    mask_s: f64,
}

impl Planned {
    /// A plan on its devices; masks, of which the planner knows nothing, take `mask_s` a row.
    ///
    /// # Errors
    /// As [`CostModel::new`].
    pub fn new(
        profile: &ModelProfile,
        cluster: &Cluster,
        plan: &Plan,
        mask_s: f64,
    ) -> Result<Self, PlanError> {
        Ok(Self { costs: CostModel::new(profile, cluster, plan)?, mask_s })
    }
}

impl Timing for Planned {
    fn devices(&self) -> Vec<String> {
        self.costs.devices().map(|device| device.to_string()).collect()
    }

    fn microbatch(&self, rows: &[RowLoad]) -> MicrobatchCost {
        self.costs.microbatch(rows)
    }

    fn host_s(&self) -> f64 {
        self.costs.host_s()
    }

    fn mask_s(&self) -> f64 {
        self.mask_s
    }
}
