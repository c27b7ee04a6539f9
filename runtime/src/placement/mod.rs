//! Where each unit of a model runs: model, devices and policy in, a finished plan out.
//!
//! Pure: plain data in, plain data out. No device, clock, thread, channel, file or log. `auto` comes
//! in here and only a [`Plan`] leaves; nothing downstream knows `auto`.

mod balance;
mod baselines;
mod cluster;
mod cost;
mod error;
mod explain;
mod explicit;
mod plan;
mod planner;
mod policy;
mod shortfall;
mod transfers;

pub use baselines::{Baseline, BaselineInput, Stages, Unplaced};
pub use cluster::{
    Cluster, ClusterDevice, ClusterLink, DescriptionError, DescriptionFault, LinkFigures, Measure,
    Nearest, Place, Rates, Route,
};
pub use error::{ClusterError, InvalidPlan, PlanError, Shortfall};
pub use plan::{Plan, PlanFields, PlannedStage, StageId};
pub use planner::plan;
pub use policy::{KvTokens, Objective, Placement, Policy};
pub use transfers::{Endpoint, Foreseen, Traffic, Transfer, TransferKind};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod planner_tests;
