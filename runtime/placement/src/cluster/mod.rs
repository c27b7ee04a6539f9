//! The devices on which a model may be placed, and the links between them.
//!
//! Plain figures, measured or declared. A discovered cluster has the same type. This module parses
//! and writes text; callers read and write the files.

mod check;
mod declared;
mod entries;
mod error;
mod figure;
mod file;
mod join;
mod names;
mod preset;
mod spec;
mod written;

pub use error::{DescriptionError, DescriptionFault, DescriptionLocation};
pub use figure::Measure;
pub use names::Nearest;

use serde::{Deserialize, Serialize};
use sluicegate_spec::{device::DeviceId, profile::ComputeType, units::Bytes};

/// Devices and links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub devices: Vec<ClusterDevice>,
    /// Links per ordered pair; for pairs not listed see [`Cluster::unlisted`].
    #[serde(default)]
    pub links: Vec<ClusterLink>,
    /// The link of all pairs that are not listed.
    #[serde(default)]
    pub unlisted: LinkFigures,
    /// Seconds that the host adds to every step of a sequence, between the last stage's tokens and
    /// the next order.
    #[serde(default)]
    pub host_s: f64,
}

/// A device, as far as placement needs to know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterDevice {
    pub id: DeviceId,
    /// A name for people, such as `H100 SXM`.
    #[serde(default)]
    pub name: String,
    pub memory: Bytes,
    /// Kept free of weights and caches, for contexts, libraries and other programs.
    #[serde(default)]
    pub reserve: Bytes,
    /// Effective memory bandwidth.
    pub bytes_per_s: f64,
    /// Effective compute rates, by the type of the products.
    pub flops_per_s: Rates,
    /// Fixed cost of each microbatch.
    #[serde(default)]
    pub overhead_s: f64,
    /// Bandwidth to host memory, for masks and tokens; `None` where nothing is copied.
    #[serde(default)]
    pub host_bytes_per_s: Option<f64>,
    /// Speed-up factor if no other device is used, since logical CPU devices share one processor.
    /// At least 1.
    #[serde(default = "one")]
    pub alone: f64,
    /// Among plans of equal cost the one with the higher priorities is chosen.
    #[serde(default)]
    pub priority: i32,
    /// Whether it is used only where the model does not fit on the other devices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_spare: bool,
    /// In any currency.
    #[serde(default)]
    pub price_per_hour: Option<f64>,
}

/// Operations per second, by the type of the products.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub f32: f64,
    pub f16: f64,
    pub bf16: f64,
}

impl Rates {
    /// Returns the same rate for every type.
    pub fn uniform(flops_per_s: f64) -> Self {
        Self { f32: flops_per_s, f16: flops_per_s, bf16: flops_per_s }
    }

    /// Returns the rate of one type.
    pub fn of(self, compute: ComputeType) -> f64 {
        match compute {
            ComputeType::F32 => self.f32,
            ComputeType::F16 => self.f16,
            ComputeType::Bf16 => self.bf16,
        }
    }
}

/// The link from one device to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterLink {
    pub source: DeviceId,
    pub target: DeviceId,
    #[serde(flatten)]
    pub figures: LinkFigures,
}

/// The cost of transfers over a link.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkFigures {
    pub latency_s: f64,
    pub bytes_per_s: f64,
    pub route: Route,
    /// Whether the receiving stage can compute during a transfer.
    pub overlaps: bool,
}

impl LinkFigures {
    /// Returns how long a transfer of `bytes` takes.
    pub fn seconds(&self, bytes: f64) -> f64 {
        self.latency_s + bytes / self.bytes_per_s
    }
}

impl Default for LinkFigures {
    /// A copy through host memory over an older PCIe slot; the stage's thread waits for it.
    fn default() -> Self {
        Self { latency_s: 2e-5, bytes_per_s: 5e9, route: Route::Host, overlaps: false }
    }
}

/// The path that a transfer takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// From device memory directly to device memory.
    Peer,
    /// From device memory to device memory by NCCL.
    Nccl,
    /// Staged through host memory.
    #[default]
    Host,
    /// Between machines.
    Network,
}

impl ClusterDevice {
    /// Memory bandwidth and rate of a few cores of a current processor: placeholders until
    /// measured, equal for all logical CPU devices, which is what balancing needs.
    const CPU_BYTES_PER_S: f64 = 2e10;
    const CPU_FLOPS_PER_S: f64 = 1e11;

    /// Makes logical CPU device `index` with its own memory.
    ///
    /// Logical devices share the host's memory. Without a cap each may be given all of it; the
    /// policy's limits keep `auto` from filling it.
    pub fn cpu(index: u32, memory: Bytes) -> Self {
        Self {
            id: DeviceId::Cpu(index),
            memory,
            reserve: Bytes(0),
            name: String::new(),
            bytes_per_s: Self::CPU_BYTES_PER_S,
            flops_per_s: Rates::uniform(Self::CPU_FLOPS_PER_S),
            overhead_s: 0.0,
            host_bytes_per_s: None,
            alone: 1.0,
            priority: 0,
            is_spare: false,
            price_per_hour: None,
        }
    }
}

impl Cluster {
    /// Returns the devices that are no spares, if there are both.
    pub(crate) fn without_spares(&self) -> Option<Self> {
        let (spares, devices): (Vec<_>, Vec<_>) =
            self.devices.iter().cloned().partition(|device| device.is_spare);
        let is_spare = |id| spares.iter().any(|it| it.id == id);
        let leads_to_none = |it: &&ClusterLink| !is_spare(it.source) && !is_spare(it.target);
        let links = self.links.iter().filter(leads_to_none).cloned().collect();
        let are_both = !spares.is_empty() && !devices.is_empty();
        are_both.then(|| Self { devices, links, ..self.clone() })
    }

    /// The most devices of a cluster; bounds the search whatever a file says.
    pub const MAX_DEVICES: usize = 256;

    /// Makes `num_devices` logical CPU devices of a host with `memory`.
    pub fn logical_cpus(num_devices: u32, memory: Bytes) -> Self {
        let devices = (0..num_devices).map(|index| ClusterDevice::cpu(index, memory)).collect();
        Self::of(devices)
    }

    /// Makes a cluster of these devices, linked through the host.
    pub fn of(devices: Vec<ClusterDevice>) -> Self {
        Self { devices, links: Vec::new(), unlisted: LinkFigures::default(), host_s: 0.0 }
    }

    /// Returns the link of an ordered pair: the listed one, else [`Cluster::unlisted`].
    pub fn link(&self, source: DeviceId, target: DeviceId) -> LinkFigures {
        let listed = self.links.iter().find(|link| link.source == source && link.target == target);
        listed.map_or(self.unlisted, |link| link.figures)
    }
}

fn one() -> f64 {
    1.0
}

#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod spec_tests;
