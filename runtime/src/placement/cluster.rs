//! The devices that a model may be placed on, and the links between them.
//!
//! Plain figures, measured or declared; a live cluster is the same type, made by discovery.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sluicegate_model::{placed::DeviceId, units::Bytes};

use super::error::ClusterError;

/// Devices and links, in the order in which the devices are to be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub devices: Vec<ClusterDevice>,
    /// Per ordered pair; a pair that is not listed is linked through the host ([`Cluster::link`]).
    #[serde(default)]
    pub links: Vec<ClusterLink>,
}

/// One device, by what placement must know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterDevice {
    pub id: DeviceId,
    pub memory: Bytes,
    /// Kept free of weights and caches: contexts, libraries, other programs.
    #[serde(default)]
    pub reserve: Bytes,
    /// Effective speed of reading memory.
    pub bytes_per_s: f64,
    /// Effective speed of computing in the model's type.
    pub flops_per_s: f64,
    /// What each microbatch costs besides.
    #[serde(default)]
    pub overhead_s: f64,
}

/// How values get from one device to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterLink {
    pub source: DeviceId,
    pub target: DeviceId,
    pub latency_s: f64,
    pub bytes_per_s: f64,
    pub route: Route,
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
            bytes_per_s: Self::CPU_BYTES_PER_S,
            flops_per_s: Self::CPU_FLOPS_PER_S,
            overhead_s: 0.0,
        }
    }
}

impl ClusterLink {
    /// Latency and speed of a copy through host memory over an older PCIe slot.
    const HOST_LATENCY_S: f64 = 2e-5;
    const HOST_BYTES_PER_S: f64 = 5e9;
}

impl Cluster {
    /// The most devices that a cluster may have: bounds the search, whatever a file says.
    pub const MAX_DEVICES: usize = 256;

    /// `num_devices` logical CPU devices of a host with `memory`.
    pub fn logical_cpus(num_devices: u32, memory: Bytes) -> Self {
        let devices = (0..num_devices).map(|index| ClusterDevice::cpu(index, memory)).collect();
        Self { devices, links: Vec::new() }
    }

    /// The link of an ordered pair: the listed one, else a route through the host.
    pub fn link(&self, source: DeviceId, target: DeviceId) -> ClusterLink {
        let listed = self.links.iter().find(|link| link.source == source && link.target == target);
        listed.cloned().unwrap_or(ClusterLink {
            source,
            target,
            latency_s: ClusterLink::HOST_LATENCY_S,
            bytes_per_s: ClusterLink::HOST_BYTES_PER_S,
            route: Route::Host,
        })
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
            if id == DeviceId::Host {
                return Err(ClusterError::HostAsDevice);
            }
            if !seen.insert(id) {
                return Err(ClusterError::DuplicateDevice { device: id });
            }
            let owner = id.to_string();
            positive(&owner, "bytes_per_s", bytes_per_s)?;
            positive(&owner, "flops_per_s", flops_per_s)?;
            not_negative(&owner, "overhead_s", overhead_s)?;
        }
        self.check_links(&seen)
    }

    fn check_links(&self, devices: &BTreeSet<DeviceId>) -> Result<(), ClusterError> {
        let mut seen = BTreeSet::new();
        for link in &self.links {
            let ClusterLink { source, target, latency_s, bytes_per_s, .. } = *link;
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
            let owner = format!("link {source} -> {target}");
            not_negative(&owner, "latency_s", latency_s)?;
            positive(&owner, "bytes_per_s", bytes_per_s)?;
        }
        Ok(())
    }
}

fn positive(owner: &str, figure: &'static str, found: f64) -> Result<(), ClusterError> {
    if found.is_finite() && found > 0.0 {
        return Ok(());
    }
    let wanted = "a number above 0";
    Err(ClusterError::Figure { owner: owner.to_owned(), figure, wanted, found })
}

fn not_negative(owner: &str, figure: &'static str, found: f64) -> Result<(), ClusterError> {
    if found.is_finite() && found >= 0.0 {
        return Ok(());
    }
    let wanted = "a number of at least 0";
    Err(ClusterError::Figure { owner: owner.to_owned(), figure, wanted, found })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Cluster {
        let cluster = Cluster::logical_cpus(2, Bytes(1 << 30));
        let link = cluster.link(DeviceId::Cpu(0), DeviceId::Cpu(1));
        Cluster { links: vec![link], ..cluster }
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
            |it| it.devices[0].flops_per_s = 0.0,
            "cpu:0: wanted a number above 0 for flops_per_s, found 0",
        );
        check(
            |it| it.devices[0].overhead_s = -1.0,
            "cpu:0: wanted a number of at least 0 for overhead_s, found -1",
        );
        check(
            |it| it.links[0].latency_s = f64::INFINITY,
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
        cluster.links[0].route = Route::Peer;
        assert_eq!(cluster.link(DeviceId::Cpu(0), DeviceId::Cpu(1)).route, Route::Peer);
        assert_eq!(cluster.link(DeviceId::Cpu(1), DeviceId::Cpu(0)).route, Route::Host);
    }
}
