//! The devices that a model may be placed on, and the links between them.
//!
//! Plain figures, measured or declared; a live cluster is the same type, made by discovery.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sluicegate_model::{placed::DeviceId, profile::ComputeType, units::Bytes};

use super::error::ClusterError;

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

    /// Checks that the figures make sense: devices that exist once and can run, links between
    /// devices of the cluster.
    pub fn check(&self) -> Result<(), ClusterError> {
        if self.devices.is_empty() {
            return Err(ClusterError::NoDevices);
        }
        if self.devices.len() > Self::MAX_DEVICES {
            let (found, limit) = (self.devices.len(), Self::MAX_DEVICES);
            return Err(ClusterError::TooManyDevices { found, limit });
        }
        let mut seen = BTreeSet::new();
        for device in &self.devices {
            let ClusterDevice { id, bytes_per_s, flops_per_s, overhead_s, .. } = *device;
            let Rates { f32, f16, bf16 } = flops_per_s;
            if id == DeviceId::Host {
                return Err(ClusterError::HostAsDevice);
            }
            if !seen.insert(id) {
                return Err(ClusterError::DuplicateDevice { device: id });
            }
            let owner = id.to_string();
            positive(&owner, "bytes_per_s", bytes_per_s)?;
            positive(&owner, "flops_per_s.f32", f32)?;
            positive(&owner, "flops_per_s.f16", f16)?;
            positive(&owner, "flops_per_s.bf16", bf16)?;
            not_negative(&owner, "overhead_s", overhead_s)?;
            positive(&owner, "host_bytes_per_s", device.host_bytes_per_s.unwrap_or(1.0))?;
            at_least(1.0, &owner, "alone", device.alone)?;
            not_negative(&owner, "price_per_hour", device.price_per_hour.unwrap_or(0.0))?;
        }
        not_negative("the cluster", "host_s", self.host_s)?;
        self.unlisted.check("an unlisted link")?;
        self.check_links(&seen)
    }

    fn check_links(&self, devices: &BTreeSet<DeviceId>) -> Result<(), ClusterError> {
        let mut seen = BTreeSet::new();
        for link in &self.links {
            let ClusterLink { source, target, figures } = *link;
            for end in [source, target] {
                if !devices.contains(&end) {
                    return Err(ClusterError::LinkToNowhere {
                        link_source: source,
                        link_target: target,
                        end,
                    });
                }
            }
            if !seen.insert((source, target)) {
                return Err(ClusterError::DuplicateLink {
                    link_source: source,
                    link_target: target,
                });
            }
            figures.check(&format!("link {source} -> {target}"))?;
        }
        Ok(())
    }
}

impl LinkFigures {
    fn check(&self, owner: &str) -> Result<(), ClusterError> {
        not_negative(owner, "latency_s", self.latency_s)?;
        positive(owner, "bytes_per_s", self.bytes_per_s)
    }
}

fn one() -> f64 {
    1.0
}

fn positive(owner: &str, figure: &'static str, found: f64) -> Result<(), ClusterError> {
    if found.is_finite() && found > 0.0 {
        return Ok(());
    }
    let wanted = "a number above 0";
    Err(ClusterError::Figure { owner: owner.to_owned(), figure, wanted, found })
}

fn not_negative(owner: &str, figure: &'static str, found: f64) -> Result<(), ClusterError> {
    at_least(0.0, owner, figure, found)
}

fn at_least(least: f64, owner: &str, figure: &'static str, found: f64) -> Result<(), ClusterError> {
    if found.is_finite() && found >= least {
        return Ok(());
    }
    let wanted = if least > 0.0 { "a number of at least 1" } else { "a number of at least 0" };
    Err(ClusterError::Figure { owner: owner.to_owned(), figure, wanted, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Cluster {
        let cluster = Cluster::logical_cpus(2, Bytes(1 << 30));
        let (source, target) = (DeviceId::Cpu(0), DeviceId::Cpu(1));
        let figures = LinkFigures::default();
        Cluster { links: vec![ClusterLink { source, target, figures }], ..cluster }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Cluster), want: &str) {
        let mut cluster = two();
        change(&mut cluster);
        let found = cluster.check().map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        assert_eq!(found, want);
    }

    #[test]
    fn bad_clusters_are_named() {
        check(|_| (), "ok");
        check(|it| it.devices.clear(), "the cluster has no devices");
        check(
            |it| it.devices[1].id = DeviceId::Cpu(0),
            "device cpu:0 is listed twice in the cluster",
        );
        check(
            |it| it.devices[1].id = DeviceId::Host,
            "`host` is listed as a device; it runs scheduler and constraints, never a stage",
        );
        check(
            |it| it.devices[1].bytes_per_s = f64::NAN,
            "cpu:1: wanted a number above 0 for bytes_per_s, found NaN",
        );
        check(
            |it| it.devices[0].flops_per_s.f32 = 0.0,
            "cpu:0: wanted a number above 0 for flops_per_s.f32, found 0",
        );
        check(
            |it| it.devices[0].overhead_s = -1.0,
            "cpu:0: wanted a number of at least 0 for overhead_s, found -1",
        );
        check(
            |it| it.links[0].figures.latency_s = f64::INFINITY,
            "link cpu:0 -> cpu:1: wanted a number of at least 0 for latency_s, found inf",
        );
        check(
            |it| it.links[0].target = DeviceId::Cuda(7),
            "link cpu:0 -> cuda:7: the cluster has no device cuda:7",
        );
        check(
            |it| it.links.push(it.links[0].clone()),
            "link cpu:0 -> cpu:1 is listed twice in the cluster",
        );
        check(
            |it| it.devices = Cluster::logical_cpus(257, Bytes(1)).devices,
            "the cluster has 257 devices; at most 256 can be planned for",
        );
    }

    #[test]
    fn unlisted_links_go_through_the_host() {
        let mut cluster = two();
        cluster.links[0].figures.route = Route::Peer;
        assert_eq!(cluster.link(DeviceId::Cpu(0), DeviceId::Cpu(1)).route, Route::Peer);
        assert_eq!(cluster.link(DeviceId::Cpu(1), DeviceId::Cpu(0)).route, Route::Host);
    }
}
