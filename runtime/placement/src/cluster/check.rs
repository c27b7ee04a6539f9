//! Checks that a cluster is valid before anything is planned for it.

use std::collections::BTreeSet;

use sluicegate_spec::device::DeviceId;

use super::{Cluster, ClusterDevice, ClusterLink, LinkFigures, Rates};
use crate::error::ClusterError;

impl Cluster {
    /// Checks that the figures are valid: devices are unique and can compute, and links connect
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
    use sluicegate_spec::units::Bytes;

    use super::*;
    use crate::cluster::Route;

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
