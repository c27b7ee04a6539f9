//! Adds devices to a cluster: assigns their numbers and links.

use std::collections::BTreeMap;

use sluicegate_spec::device::DeviceId;

use super::{
    Cluster, ClusterDevice, ClusterLink, LinkFigures,
    error::DescriptionFault,
    spec::{DeviceGroup, Spec},
};

/// Listed links by source and target.
type Links = BTreeMap<(DeviceId, DeviceId), LinkFigures>;

impl Cluster {
    /// Returns this cluster with the devices of a spec added in order, each with the next free
    /// ordinal.
    pub(super) fn join(&self, spec: &Spec) -> Result<Self, DescriptionFault> {
        let num_new = spec.groups.iter().fold(0, |sum: usize, it| sum.saturating_add(it.count));
        if self.devices.len().saturating_add(num_new) > Self::MAX_DEVICES {
            return Err(DescriptionFault::TooManyDevices { limit: Self::MAX_DEVICES });
        }
        let listed = self.links.iter().map(|link| ((link.source, link.target), link.figures));
        let mut joining =
            Joining { devices: self.devices.clone(), links: listed.collect(), of: self };
        for group in &spec.groups {
            joining.add(group, spec.link)?;
        }
        let Joining { devices, links, .. } = joining;
        let link = |((source, target), figures)| ClusterLink { source, target, figures };
        let links = links.into_iter().map(link).collect();
        let cluster = Self { devices, links, unlisted: self.unlisted, host_s: self.host_s };
        cluster.check()?;
        Ok(cluster)
    }
}

struct Joining<'a> {
    devices: Vec<ClusterDevice>,
    links: Links,
    of: &'a Cluster,
}

impl Joining<'_> {
    /// Adds the devices of one group. `to_all` is the link named for all pairs with a new device.
    fn add(
        &mut self,
        group: &DeviceGroup,
        to_all: Option<LinkFigures>,
    ) -> Result<(), DescriptionFault> {
        let first = next_id(&self.devices, group)?;
        let num_before = self.devices.len();
        for offset in 0..group.count {
            let id = nth(first, offset)
                .ok_or(DescriptionFault::NoOrdinals { device: first, count: group.count })?;
            let mut device = group.preset.device(id);
            device.memory = group.memory.unwrap_or(device.memory);
            // A given memory size may be smaller than the preset's reserve.
            device.reserve = device.reserve.min(device.memory);
            // Two groups of one spec are kept apart, even if their devices are of one kind.
            let kin: Vec<_> = self.devices[..self.of.devices.len()]
                .iter()
                .chain(&self.devices[num_before..])
                .filter(|other| is_alike(other, &device))
                .map(|other| other.id)
                .collect();
            let new_links = self.links_of(id, &kin, group.link, to_all);
            self.links.extend(new_links);
            self.devices.push(device);
        }
        Ok(())
    }

    /// Returns the links between a new device and all present ones, in both directions, where they
    /// differ from unlisted pairs. Without a named link, they are those of a device of the same
    /// kind.
    fn links_of(
        &self,
        new: DeviceId,
        kin: &[DeviceId],
        to_kin: Option<LinkFigures>,
        to_all: Option<LinkFigures>,
    ) -> Links {
        let mut links = Links::new();
        for other in self.devices.iter().map(|device| device.id) {
            let named = to_kin.filter(|_| kin.contains(&other)).or(to_all);
            let model = kin.iter().copied().find(|it| *it != other);
            let end = |id: DeviceId| if id == new { model } else { Some(id) };
            for (source, target) in [(new, other), (other, new)] {
                let of_model = || self.links.get(&(end(source)?, end(target)?)).copied();
                let figures = named.or_else(of_model).unwrap_or(self.of.unlisted);
                if figures != self.of.unlisted {
                    links.insert((source, target), figures);
                }
            }
        }
        links
    }
}

/// Returns whether two devices are of one kind. Compares speeds, since names are arbitrary.
fn is_alike(one: &ClusterDevice, other: &ClusterDevice) -> bool {
    let is_cpu = |it: &ClusterDevice| matches!(it.id, DeviceId::Cpu(_));
    is_cpu(one) == is_cpu(other)
        && one.bytes_per_s.total_cmp(&other.bytes_per_s).is_eq()
        && one.flops_per_s == other.flops_per_s
}

/// Returns the id after the last of the group's kind.
fn next_id(devices: &[ClusterDevice], group: &DeviceGroup) -> Result<DeviceId, DescriptionFault> {
    let first = group.preset.id(0);
    match devices.iter().map(|device| device.id).filter(|id| same_kind(*id, first)).max() {
        None => Ok(first),
        Some(last) => {
            nth(last, 1).ok_or(DescriptionFault::NoOrdinals { device: last, count: group.count })
        }
    }
}

pub(super) fn same_kind(one: DeviceId, other: DeviceId) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// Returns the device `offset` after another one.
pub(super) fn nth(first: DeviceId, offset: usize) -> Option<DeviceId> {
    let offset = u32::try_from(offset).ok()?;
    match first {
        DeviceId::Host => None,
        DeviceId::Cpu(index) => index.checked_add(offset).map(DeviceId::Cpu),
        DeviceId::Cuda(ordinal) => ordinal.checked_add(offset).map(DeviceId::Cuda),
    }
}
