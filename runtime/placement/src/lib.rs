//! Where each unit of a model runs: model, devices and policy in, a finished plan out.
//!
//! Pure: plain data in, plain data out. No device, clock, thread, channel, file or log. `auto` comes
//! in here and only a [`Plan`] leaves; nothing downstream knows `auto`.

mod actual;
mod baselines;
mod cluster;
mod compare;
mod cost;
mod demand;
mod error;
mod evaluate;
mod explain;
mod explanation;
mod explicit;
mod load;
mod pace;
mod plan;
mod planner;
mod policy;
mod prediction;
mod room;
mod saved;
mod search;
mod setting;
mod shortfall;
mod transfers;
mod work;

pub use actual::{CostModel, MicrobatchCost};
pub use baselines::{Baseline, BaselineInput, Stages, Unplaced};
pub use cluster::{
    Cluster, ClusterDevice, ClusterLink, DescriptionError, DescriptionFault, DescriptionLocation,
    LinkFigures, Measure, Nearest, Rates, Route,
};
pub use compare::{Baselined, baselines};
pub use demand::{Demand, Purpose};
pub use error::{ClusterError, DeviceLimit, InvalidPlan, PlanError, Shortfall, TooSlow};
pub use evaluate::Bottleneck;
pub use explain::Explained;
pub use explanation::{
    DeviceShare, Explanation, KvLimit, LeftOut, Limit, OneMore, ParetoPoint, Relaxation, explain,
    pareto,
};
pub use load::RowLoad;
pub use plan::{Plan, PlanFields, PlannedStage, StageId};
pub use planner::{Solution, plan, predict, solve};
pub use policy::{KvTokens, MemoryShare, Objective, Placement, Policy, Sequences, TimeLimits};
pub use prediction::{Prediction, Proof, StagePrediction};
pub use saved::{SavedPlan, diff};
pub use transfers::{Endpoint, Foreseen, Traffic, Transfer, TransferKind, TransferRoute};
pub use work::Hop;

#[cfg(test)]
mod compare_tests;
#[cfg(test)]
mod exact_tests;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
#[cfg(test)]
mod instances;
#[cfg(test)]
mod planner_tests;
#[cfg(test)]
mod print_tests;
