//! Decides where each unit of a model runs: takes a model, devices and a policy, returns a finished
//! plan.
//!
//! Pure functions on plain data, without device, clock, thread, channel, file or log. `auto` is
//! resolved here: only a [`Plan`] leaves, and nothing downstream knows `auto`.

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
mod held;
mod load;
mod microbatches;
mod pace;
mod plan;
mod planner;
mod policy;
mod prediction;
mod room;
mod rules;
mod saved;
mod search;
mod setting;
mod shortfall;
mod stages;
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
