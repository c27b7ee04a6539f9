//! How fast GPUs are linked, from what NVML says of NVLink and of their slots.

use serde::Serialize;
use sluicegate_placement::LinkFigures;

use super::facts::{Ancestor, GpuFacts, MachineFacts, NvlinkRemote, PairFacts, PcieFacts};

/// The best way from one GPU to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GpuLink {
    #[serde(flatten)]
    pub kind: LinkKind,
    /// In one direction, before what protocols take.
    pub peak_bytes_per_s: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LinkKind {
    /// As many links by NVLink, straight or through a switch.
    Nvlink { num_links: usize },
    /// PCIe, from one GPU's memory to the other's.
    PciePeer,
    /// Two copies over PCIe, with host memory between them.
    ThroughHost,
}

impl GpuLink {
    /// Returns what a plan reckons with.
    pub fn figures(self) -> LinkFigures {
        match self.kind {
            LinkKind::Nvlink { .. } | LinkKind::PciePeer => {
                LinkFigures::direct(self.peak_bytes_per_s)
            }
            LinkKind::ThroughHost => LinkFigures::through_host(self.peak_bytes_per_s),
        }
    }
}

/// Returns the best way between two GPUs of the machine, `None` where too little is known.
///
/// GPUs that are divided into instances reach each other through the host only.
pub fn link(machine: &MachineFacts, source: usize, target: usize) -> Option<GpuLink> {
    let (from, to) = (machine.gpus.get(source)?, machine.gpus.get(target)?);
    let is_whole = from.mig.is_none() && to.mig.is_none();
    let pair = machine.pairs.iter().find(|pair| is_of(pair, source, target));
    let is_peer = pair.and_then(|pair| pair.is_peer);
    let num_links = num_nvlinks(from, to);
    if num_links > 0 && is_whole && is_peer != Some(false) {
        let kind = LinkKind::Nvlink { num_links };
        let peak_bytes_per_s =
            num_links as f64 * nvlink_bytes_per_s(from).min(nvlink_bytes_per_s(to));
        return Some(GpuLink { kind, peak_bytes_per_s });
    }
    let near = pair.and_then(|pair| pair.ancestor).is_some_and(|it| it < Ancestor::System);
    let kind = if is_whole && near && is_peer == Some(true) {
        LinkKind::PciePeer
    } else {
        LinkKind::ThroughHost
    };
    Some(GpuLink { kind, peak_bytes_per_s: slots(from, to)? })
}

/// Returns the way through host memory, `None` where a slot is unknown.
pub fn through_host(machine: &MachineFacts, source: usize, target: usize) -> Option<GpuLink> {
    let (from, to) = (machine.gpus.get(source)?, machine.gpus.get(target)?);
    Some(GpuLink { kind: LinkKind::ThroughHost, peak_bytes_per_s: slots(from, to)? })
}

/// Returns what both slots carry.
fn slots(from: &GpuFacts, to: &GpuFacts) -> Option<f64> {
    Some(pcie_bytes_per_s(from.pcie?).min(pcie_bytes_per_s(to.pcie?)))
}

fn is_of(pair: &PairFacts, source: usize, target: usize) -> bool {
    (pair.first, pair.second) == (source.min(target), source.max(target))
}

/// Counts the links by NVLink from one GPU straight to the other, or else those that both have to
/// switches, which pass on all of them.
fn num_nvlinks(from: &GpuFacts, to: &GpuFacts) -> usize {
    let count =
        |gpu: &GpuFacts, remote| gpu.nvlinks.iter().filter(|it| it.remote == remote).count();
    match count(from, NvlinkRemote::Gpu(to.address)) {
        0 => count(from, NvlinkRemote::Switch).min(count(to, NvlinkRemote::Switch)),
        straight => straight,
    }
}

/// Returns what one NVLink carries in one direction. By the generation of the GPU: the version that
/// NVML gives is wrong for some Hoppers, and the same for A100 and RTX 3090, whose links differ.
///
/// Source: NVIDIA's datasheets of P100 (160 GB/s in both directions over 4 links), V100 (300 over
/// 6), A100 (600 over 12), H100 (900 over 18) and HGX B200 (1,800 over 18), and the whitepaper of
/// GA102 (112.5 over 4).
fn nvlink_bytes_per_s(gpu: &GpuFacts) -> f64 {
    match gpu.capability {
        Some((7 | 9, _) | (8, 0)) => 25e9,
        Some((8, _)) => 14.0625e9,
        Some((major, _)) if major >= 10 => 50e9,
        _ => 20e9,
    }
}

/// Returns what a slot carries in one direction. The generation is the highest possible, since an
/// idle GPU lowers the present one; the lanes are those in use, which a riser may make fewer.
pub fn pcie_bytes_per_s(slot: PcieFacts) -> f64 {
    let lanes = if slot.width == 0 { slot.max_width } else { slot.width };
    f64::from(lanes) * lane_bytes_per_s(slot.max_generation.max(slot.generation))
}

/// Source: PCI Express base specification: transfers per second and encoding (8b/10b up to 2.0,
/// 128b/130b up to 5.0, flits with 242 of 256 bytes from 6.0 on).
fn lane_bytes_per_s(generation: u32) -> f64 {
    match generation {
        0 | 1 => 2.5e9 / 8.0 * 8.0 / 10.0,
        2 => 5e9 / 8.0 * 8.0 / 10.0,
        3 => 8e9 / 8.0 * 128.0 / 130.0,
        4 => 16e9 / 8.0 * 128.0 / 130.0,
        5 => 32e9 / 8.0 * 128.0 / 130.0,
        _ => 64e9 / 8.0 * 242.0 / 256.0,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use sluicegate_placement::Route;

    use super::*;
    use crate::device::gpu::facts::{MemoryFacts, MigInstance, NvlinkFacts, PciAddress};
    use sluicegate_spec::units::Bytes;

    /// A GPU in a slot of its own, with `memory_gib`.
    pub(crate) fn gpu(name: &str, bus: u32, memory_gib: u64) -> GpuFacts {
        let memory = Bytes(memory_gib << 30);
        GpuFacts {
            uuid: format!("GPU-{bus:08x}-1111-2222-3333-444444444444"),
            name: name.to_owned(),
            address: PciAddress { domain: 0, bus, device: 0 },
            memory: Some(MemoryFacts { total: memory, free: memory }),
            capability: Some((9, 0)),
            pcie: Some(PcieFacts { generation: 1, width: 16, max_generation: 5, max_width: 16 }),
            nvlinks: Vec::new(),
            processes: Vec::new(),
            mig: None,
            busy_percent: Some(0),
        }
    }

    /// A machine with these GPUs, all alike connected.
    pub(crate) fn machine(gpus: Vec<GpuFacts>, ancestor: Ancestor, is_peer: bool) -> MachineFacts {
        let pairs =
            (0..gpus.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
        let pair = |(first, second)| PairFacts {
            first,
            second,
            ancestor: Some(ancestor),
            is_peer: Some(is_peer),
        };
        let pairs = pairs.map(pair).collect();
        MachineFacts { driver: Some("580.65.06".to_owned()), gpus, pairs, unread: Vec::new() }
    }

    pub(crate) fn nvlinks(count: usize, remote: NvlinkRemote) -> Vec<NvlinkFacts> {
        vec![NvlinkFacts { version: Some(6), remote }; count]
    }

    /// `change` changes the second of two H200s.
    #[track_caller]
    fn check(
        (ancestor, is_peer): (Ancestor, bool),
        remote: Option<NvlinkRemote>,
        change: impl FnOnce(&mut GpuFacts),
        (kind, gbytes_per_s): (LinkKind, f64),
    ) {
        let mut gpus = vec![gpu("NVIDIA H200", 1, 141), gpu("NVIDIA H200", 2, 141)];
        for gpu in &mut gpus {
            gpu.nvlinks = remote.map_or_else(Vec::new, |remote| nvlinks(18, remote));
        }
        change(&mut gpus[1]);
        let machine = machine(gpus, ancestor, is_peer);
        for (source, target) in [(0, 1), (1, 0)] {
            let found = link(&machine, source, target).unwrap();
            assert_eq!(found.kind, kind);
            let found = found.peak_bytes_per_s / 1e9;
            assert!((found - gbytes_per_s).abs() < 0.01, "{found} against {gbytes_per_s}");
        }
    }

    const NVLINK: LinkKind = LinkKind::Nvlink { num_links: 18 };
    const NEAR: (Ancestor, bool) = (Ancestor::Switch, true);
    const FAR: (Ancestor, bool) = (Ancestor::System, true);

    #[test]
    fn nvlinks_are_counted_to_the_other_gpu_or_to_switches() {
        let switch = Some(NvlinkRemote::Switch);
        check(FAR, switch, |_| (), (NVLINK, 450.0));
        check(FAR, switch, |it| it.nvlinks.truncate(9), (LinkKind::Nvlink { num_links: 9 }, 225.0));
        check(FAR, switch, |it| it.capability = Some((10, 0)), (NVLINK, 450.0));
        check(FAR, switch, |it| it.capability = Some((8, 6)), (NVLINK, 18.0 * 14.0625));
        check(FAR, switch, |it| it.capability = None, (NVLINK, 360.0));
        check(FAR, switch, |it| it.nvlinks.clear(), (LinkKind::ThroughHost, 63.02));
        check(FAR, Some(NvlinkRemote::Other), |_| (), (LinkKind::ThroughHost, 63.02));
        // The driver refuses what the wires would allow.
        check((Ancestor::System, false), switch, |_| (), (LinkKind::ThroughHost, 63.02));

        let first = gpu("NVIDIA H200", 1, 141).address;
        let mut pair = [gpu("RTX 3090", 1, 24), gpu("RTX 3090", 2, 24)];
        pair[1].nvlinks = nvlinks(4, NvlinkRemote::Gpu(first));
        assert_eq!((num_nvlinks(&pair[1], &pair[0]), num_nvlinks(&pair[0], &pair[1])), (4, 0));
    }

    #[test]
    fn slots_are_as_fast_as_the_slower_one() {
        check(NEAR, None, |_| (), (LinkKind::PciePeer, 63.02));
        check((Ancestor::Node, true), None, |_| (), (LinkKind::PciePeer, 63.02));
        check((Ancestor::Switch, false), None, |_| (), (LinkKind::ThroughHost, 63.02));
        check(FAR, None, |_| (), (LinkKind::ThroughHost, 63.02));
        let slot = |max_generation, width| PcieFacts {
            generation: 1,
            width,
            max_generation,
            max_width: 16,
        };
        let with = |slot| move |gpu: &mut GpuFacts| gpu.pcie = Some(slot);
        check(NEAR, None, with(slot(4, 8)), (LinkKind::PciePeer, 15.75));
        check(NEAR, None, with(slot(3, 4)), (LinkKind::PciePeer, 3.94));
        check(NEAR, None, with(slot(2, 16)), (LinkKind::PciePeer, 8.0));
        check(NEAR, None, with(slot(4, 0)), (LinkKind::PciePeer, 31.51));
        check(NEAR, None, with(slot(6, 8)), (LinkKind::PciePeer, 60.5));
    }

    #[test]
    fn divided_gpus_and_unknown_slots_have_no_short_way() {
        let instance = MigInstance {
            uuid: "MIG-1".to_owned(),
            name: String::new(),
            gpu_instance: None,
            compute_instance: None,
            memory: None,
        };
        let divide = |gpu: &mut GpuFacts| gpu.mig = Some(vec![instance.clone()]);
        check(NEAR, Some(NvlinkRemote::Switch), divide, (LinkKind::ThroughHost, 63.02));

        let mut gpus = vec![gpu("A", 1, 1), gpu("A", 2, 1)];
        gpus[0].pcie = None;
        let machine = machine(gpus, Ancestor::Switch, true);
        assert_eq!(link(&machine, 0, 1), None);
        assert_eq!(link(&machine, 0, 2), None);
    }

    #[test]
    fn figures_follow_the_way() {
        let figures = |kind| GpuLink { kind, peak_bytes_per_s: 1e10 }.figures();
        assert_eq!(figures(NVLINK).route, Route::Peer);
        assert_eq!(figures(LinkKind::PciePeer), figures(NVLINK));
        let host = figures(LinkKind::ThroughHost);
        assert_eq!(host.route, Route::Host);
        assert!(host.bytes_per_s < figures(NVLINK).bytes_per_s);
    }
}
