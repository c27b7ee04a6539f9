//! The devices that a model may be placed on, and the links between them.
//!
//! Plain figures, measured or declared; a live cluster is the same type, made by discovery. Text in,
//! data out: whoever calls reads the file.

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

pub use error::{DescriptionError, DescriptionFault, DescriptionLocation};
pub use figure::Measure;
pub use names::Nearest;

use serde::{Deserialize, Serialize};
use sluicegate_spec::{device::DeviceId, profile::ComputeType, units::Bytes};

/// Devices and links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub devices: Vec<ClusterDevice>,
    /// Per ordered pair; for the others see [`Cluster::unlisted`].
    #[serde(default)]
    pub links: Vec<ClusterLink>,
    /// The link of each pair that is not listed.
    #[serde(default)]
    pub unlisted: LinkFigures,
    /// What the host adds to every step of a sequence, between the last stage's tokens and the
    /// next order.
    #[serde(default)]
    pub host_s: f64,
}

/// One device, by what placement must know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterDevice {
    pub id: DeviceId,
    /// What it is, for people: `H100 SXM`.
    #[serde(default)]
    pub name: String,
    pub memory: Bytes,
    /// Kept free of weights and caches: contexts, libraries, other programs.
    #[serde(default)]
    pub reserve: Bytes,
    /// Effective speed of reading memory.
    pub bytes_per_s: f64,
    /// Effective speed of computing, by the type of the products.
    pub flops_per_s: Rates,
    /// What each microbatch costs besides.
    #[serde(default)]
    pub overhead_s: f64,
    /// Speed of the way to host memory, which the logits take where they are sampled there; `None`
    /// where nothing is copied.
    #[serde(default)]
    pub host_bytes_per_s: Option<f64>,
    /// How many times as fast the device is if no other is used: logical CPU devices share one
    /// processor. At least 1.
    #[serde(default = "one")]
    pub alone: f64,
    /// Of plans that cost the same, the one with the higher priorities is taken.
    #[serde(default)]
    pub priority: i32,
    /// In any currency.
    #[serde(default)]
    pub price_per_hour: Option<f64>,
}

/// Operations per second by the type of the products.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    pub f32: f64,
    pub f16: f64,
    pub bf16: f64,
}

impl Rates {
    /// The same rate whatever the type.
    pub fn uniform(flops_per_s: f64) -> Self {
        Self { f32: flops_per_s, f16: flops_per_s, bf16: flops_per_s }
    }

    /// The rate for one type.
    pub fn of(self, compute: ComputeType) -> f64 {
        match compute {
            ComputeType::F32 => self.f32,
            ComputeType::F16 => self.f16,
            ComputeType::Bf16 => self.bf16,
        }
    }
}

/// How values get from one device to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterLink {
    pub source: DeviceId,
    pub target: DeviceId,
    #[serde(flatten)]
    pub figures: LinkFigures,
}

/// What a transfer over a link costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LinkFigures {
    pub latency_s: f64,
    pub bytes_per_s: f64,
    pub route: Route,
    /// Whether the receiving stage computes while a transfer is under way.
    pub overlaps: bool,
}

impl LinkFigures {
    /// How long `bytes` take.
    pub fn seconds(&self, bytes: f64) -> f64 {
        self.latency_s + bytes / self.bytes_per_s
    }
}

impl Default for LinkFigures {
    /// A copy through host memory over an older PCIe slot, for which the stage's thread waits.
    fn default() -> Self {
        Self { latency_s: 2e-5, bytes_per_s: 5e9, route: Route::Host, overlaps: false }
    }
}

/// The way that a link takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// From device memory to device memory.
    Peer,
    /// Staged through host memory.
    Host,
    /// Between machines.
    Network,
}

impl ClusterDevice {
    /// Memory speed and rate of a few cores of a present-day processor: a stand-in until they are
    /// measured, alike for all logical CPU devices, which is what balancing needs.
    const CPU_BYTES_PER_S: f64 = 2e10;
    const CPU_FLOPS_PER_S: f64 = 1e11;

    /// Logical CPU device `index` with a memory of its own.
    ///
    /// Logical devices share the host's memory; without a cap each may be given all of it, since
    /// it is the policy's KV limit that keeps `auto` from filling it.
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
            price_per_hour: None,
        }
    }
}

impl Cluster {
    /// The most devices that a cluster may have: bounds the search, whatever a file says.
    pub const MAX_DEVICES: usize = 256;

    /// `num_devices` logical CPU devices of a host with `memory`.
    pub fn logical_cpus(num_devices: u32, memory: Bytes) -> Self {
        let devices = (0..num_devices).map(|index| ClusterDevice::cpu(index, memory)).collect();
        Self::of(devices)
    }

    /// These devices, linked through the host.
    pub fn of(devices: Vec<ClusterDevice>) -> Self {
        Self { devices, links: Vec::new(), unlisted: LinkFigures::default(), host_s: 0.0 }
    }

    /// The link of an ordered pair: the listed one, else [`Cluster::unlisted`].
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
