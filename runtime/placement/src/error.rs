//! Why there is no plan.

use sluicegate_spec::{
    device::DeviceId,
    units::{Bytes, LayerRange, Unit, UnitRange},
};

use super::policy::TimeLimits;

/// Why a model cannot be placed as the policy asks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(
        "the model's profile has {found} units; wanted {wanted}: embed, {num_layers} layers, norm+head"
    )]
    Profile { num_layers: usize, wanted: usize, found: usize },
    #[error("{unit} is in KV group {group_idx}, but the model's profile has {num_groups}")]
    KvGroup { unit: Unit, group_idx: usize, num_groups: usize },
    #[error("the model has {found} layers; at most {limit} can be planned for")]
    TooManyLayers { found: usize, limit: usize },
    #[error("{field} is 0; wanted at least 1")]
    Zero { field: &'static str },
    #[error("{field}: there is no device {device}; the devices are {known}")]
    UnknownDevice { field: &'static str, device: DeviceId, known: DeviceList },
    #[error("every device is forbidden: {known}")]
    AllForbidden { known: DeviceList },
    #[error("layers {layers} are given to {device}, which is forbidden")]
    Forbidden { device: DeviceId, layers: LayerRange },
    #[error("layers {layers} must stay together, but the model has layers 0..{num_layers}")]
    KeepTogether { layers: LayerRange, num_layers: usize },
    #[error("no layers are given to any device")]
    NoLayers,
    #[error("{device} is given the empty range {layers}")]
    EmptyLayers { device: DeviceId, layers: LayerRange },
    #[error("{device} is given layers {layers}, but the model has layers 0..{num_layers}")]
    LayersOutOfRange { device: DeviceId, layers: LayerRange, num_layers: usize },
    #[error("layers {missing} are given to no device; {device} continues with {layers}")]
    LayersMissing { device: DeviceId, layers: LayerRange, missing: LayerRange },
    #[error("layers {missing} are given to no device")]
    LastLayersMissing { missing: LayerRange },
    #[error(
        "{device} is given layers {layers}, but the next layer to be placed is {next}; wanted ranges in order, each layer once"
    )]
    LayersRepeated { device: DeviceId, layers: LayerRange, next: usize },
    #[error("the stages have units {}..{}; wanted all units, each once and in order, next {wanted}", found.start, found.end)]
    Units { wanted: usize, found: UnitRange },
    #[error("the model can be placed on fewer devices only; wanted {wanted} at least")]
    TooFewDevices { wanted: usize },
    #[error(transparent)]
    Infeasible(Box<Shortfall>),
    #[error(transparent)]
    TooSlow(TooSlow),
    #[error("no placement takes a finite time; wanted realistic speeds of devices and links")]
    NoTime,
    #[error("the plan is for {found} layers, but the model has {wanted}")]
    OtherModel { wanted: usize, found: usize },
    #[error("the plan is inconsistent")]
    Invalid(#[from] InvalidPlan),
}

/// Why a cluster is invalid.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClusterError {
    #[error("the cluster has no devices")]
    NoDevices,
    #[error("the cluster has {found} devices; at most {limit} can be planned for")]
    TooManyDevices { found: usize, limit: usize },
    #[error("`host` is listed as a device; it runs scheduler and constraints, never a stage")]
    HostAsDevice,
    #[error("device {device} is listed twice in the cluster")]
    DuplicateDevice { device: DeviceId },
    #[error("link {link_source} -> {link_target}: the cluster has no device {end}")]
    LinkToNowhere { link_source: DeviceId, link_target: DeviceId, end: DeviceId },
    #[error("link {link_source} -> {link_target} is listed twice in the cluster")]
    DuplicateLink { link_source: DeviceId, link_target: DeviceId },
    #[error("{owner}: wanted {wanted} for {figure}, found {found}")]
    Figure { owner: String, figure: &'static str, wanted: &'static str, found: f64 },
}

impl PlanError {
    pub(super) fn unknown(field: &'static str, device: DeviceId, known: Vec<DeviceId>) -> Self {
        Self::UnknownDevice { field, device, known: DeviceList(known) }
    }
}

impl From<Shortfall> for PlanError {
    fn from(shortfall: Shortfall) -> Self {
        Self::Infeasible(Box::new(shortfall))
    }
}

/// A lack of memory: how much is missing, and what would help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortfall {
    /// Weights of the whole model.
    pub weight_bytes: Bytes,
    /// Cache of the whole model for `kv_tokens`.
    pub kv_bytes: Bytes,
    pub kv_tokens: usize,
    /// The largest workspace of a unit; each device needs its own.
    pub workspace_bytes: Bytes,
    pub limits: Vec<DeviceLimit>,
    /// The device that needs the least additional memory, and how much.
    pub short: Option<(DeviceId, Bytes)>,
    /// The most KV tokens that would fit, if any.
    pub fitting_kv_tokens: Option<usize>,
    /// The first device of which one more would suffice.
    pub fits_with_another: Option<DeviceId>,
    /// The largest smaller element size of the cache that would suffice, in bytes: 2 or 1.
    pub fitting_kv_element_bytes: Option<usize>,
}

/// The memory of a device that a plan may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimit {
    pub device: DeviceId,
    /// What remains after reserve, cap and share.
    pub usable: Bytes,
    pub memory: Bytes,
    pub reserve: Bytes,
}

impl std::error::Error for Shortfall {}

/// Every placement is slower than the policy's time limits allow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TooSlow {
    pub wanted: TimeLimits,
    /// The fewest sequences that may run at once.
    pub sequences: usize,
    /// The time per token of the fastest placement for them, in seconds.
    pub per_token_s: f64,
    pub first_token_s: Option<f64>,
}

impl std::error::Error for TooSlow {}

/// Why stages do not form a valid plan. Detected when a plan is made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    #[error("the plan has no stages")]
    NoStages,
    #[error("the plan is for {found} layers; at most {limit} can be planned for")]
    TooManyLayers { found: usize, limit: usize },
    #[error("stage {stage} is on `host`, which runs no stage")]
    StageOnHost { stage: usize },
    #[error(
        "stage {stage} covers units {start}..{end}; wanted a span that starts at {wanted} and is not empty"
    )]
    NotNext { stage: usize, start: usize, end: usize, wanted: usize },
    #[error("the stages end at unit {found}; wanted {wanted}")]
    Unfinished { found: usize, wanted: usize },
    #[error("the stages on {device} hold {held}, {over} over their cap of {cap}")]
    OverCap { device: DeviceId, held: Bytes, over: Bytes, cap: Bytes },
    #[error("stage {stage} has a cap of {found} on {device}, another stage there has {wanted}")]
    CapsDiffer { stage: usize, device: DeviceId, found: Bytes, wanted: Bytes },
    #[error("the plan has pages for {found} KV groups; wanted {wanted}")]
    PagesPerGroup { found: usize, wanted: usize },
    #[error("{field} is 0; wanted at least 1")]
    Zero { field: &'static str },
}

/// A list of devices, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceList(pub Vec<DeviceId>);

impl std::fmt::Display for DeviceList {
    /// Prints a run of three or more consecutive numbers as `cuda:2 to cuda:7`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let follow = |pair: &[DeviceId]| match (pair[0], pair[1]) {
            (DeviceId::Cuda(a), DeviceId::Cuda(b)) | (DeviceId::Cpu(a), DeviceId::Cpu(b)) => {
                a.checked_add(1) == Some(b)
            }
            _ => false,
        };
        let mut left = &self.0[..];
        while let [first, ..] = left {
            let run = 1 + left.windows(2).take_while(|pair| follow(pair)).count();
            let run = if run < 3 { 1 } else { run };
            write!(f, "{}{first}", if left.len() == self.0.len() { "" } else { ", " })?;
            if run > 1 {
                write!(f, " to {}", left[run - 1])?;
            }
            left = &left[run..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_in_a_row_are_printed_as_one() {
        #[track_caller]
        fn check(devices: &[u32], want: &str) {
            let devices = devices.iter().copied().map(DeviceId::Cuda).collect();
            assert_eq!(DeviceList(devices).to_string(), want);
        }
        check(&[], "");
        check(&[3], "cuda:3");
        check(&[0, 1, 3], "cuda:0, cuda:1, cuda:3");
        check(&[0, 2, 3, 4, 5, 9, 10], "cuda:0, cuda:2 to cuda:5, cuda:9, cuda:10");
        check(&[2, 1, 0], "cuda:2, cuda:1, cuda:0");
    }
}
