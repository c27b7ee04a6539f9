//! Errors in descriptions of clusters.

use std::fmt;

use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{figure::Measure, names::Nearest};
use crate::error::ClusterError;

/// What is wrong with a description, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{location}: {fault}")]
pub struct DescriptionError {
    pub location: DescriptionLocation,
    pub fault: DescriptionFault,
}

/// The location of a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DescriptionLocation {
    /// A line of a file, counted from 1.
    Line { file: String, line: usize },
    /// The text itself, shortened for messages.
    Spec(String),
}

impl fmt::Display for DescriptionLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{file}:{line}"),
            Self::Spec(text) => write!(f, "cluster `{text}`"),
        }
    }
}

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DescriptionFault {
    #[error("the description has {found} bytes; at most {limit} are read")]
    TooLong { found: usize, limit: usize },
    /// The parser's message.
    #[error("{0}")]
    Syntax(String),
    #[error("there is no device `{found}`; {nearest}")]
    UnknownDevice { found: String, nearest: Nearest },
    #[error("there is no link `{found}`; {nearest}")]
    UnknownLink { found: String, nearest: Nearest },
    #[error("the device has neither a preset nor {field}")]
    NoDeviceFigure { field: &'static str },
    #[error("the link has neither a preset nor {field}")]
    NoLinkFigure { field: &'static str },
    #[error("{field}: wanted {}, found {found}", .measure.wanted())]
    Figure { field: &'static str, measure: Measure, found: String },
    #[error("reserve: wanted less than the memory of {memory}, found {found}")]
    Reserve { memory: Bytes, found: Bytes },
    #[error("name: wanted at most {limit} characters on one line, found `{found}`")]
    Name { limit: usize, found: String },
    #[error("priority: wanted a whole number of 32 bits, found {found}")]
    Priority { found: i64 },
    #[error("route: wanted peer, nccl, host or network, found `{found}`")]
    Route { found: String },
    #[error("wanted a count of 1 to {limit}, found {found}")]
    Count { limit: usize, found: String },
    #[error("there are more than {limit} devices")]
    TooManyDevices { limit: usize },
    #[error("`{found}` is not a device; wanted cpu:N or cuda:N")]
    NotADevice { found: String },
    #[error("`{found}` is not a device or a span of them; wanted cuda:N or cuda:N..END")]
    NotASpan { found: String },
    #[error("too few device numbers for {count} devices from {device} on")]
    NoOrdinals { device: DeviceId, count: usize },
    #[error("{device} is listed twice, first in line {first}")]
    DeviceTwice { device: DeviceId, first: usize },
    #[error("the cluster has no device {device}")]
    NoSuchDevice { device: DeviceId },
    #[error("a link has either `devices` or both `source` and `target`")]
    LinkEnds,
    #[error("a link from {device} to itself")]
    LinkToItself { device: DeviceId },
    #[error("link {link_source} -> {link_target} is listed twice, first in line {first}")]
    LinkTwice { link_source: DeviceId, link_target: DeviceId, first: usize },
    #[error("a link needs two devices, found {found}")]
    TooFewToLink { found: usize },
    #[error("{device} has no NVLink")]
    NoNvlink { device: &'static str },
    #[error("{device} has no PCIe slot")]
    NoSlot { device: &'static str },
    #[error("`{word}` is ambiguous, since the devices differ; name one of {known}")]
    AmbiguousLink { word: &'static str, known: String },
    #[error("wanted a device such as `2x rtx4090`, found nothing")]
    NothingThere,
    #[error("`@{found}` is not a size; wanted one such as @16GiB")]
    NotASize { found: String },
    #[error("wanted one link after the comma, found another comma")]
    CommaTwice,
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}
