//! Devices and links by their common names, with public figures.
//!
//! Peaks are those of datasheets. The effective figures are lower, by factors that are assumptions
//! and are stated here. For exact plans, measure and write the figures down.

mod devices;
mod links;

use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    ClusterDevice, LinkFigures, Rates, Route,
    names::{Key, Nearest},
};

/// Assumed: the fraction of peak memory bandwidth that a decode step reaches.
const OF_MEMORY_PEAK: f64 = 0.8;
/// Assumed: the fraction of the dense peak rate that large products reach.
const OF_RATE_PEAK: f64 = 0.55;
/// Assumed: the fraction of a link's peak bandwidth that copies reach.
const OF_LINK_PEAK: f64 = 0.8;
/// Assumed: the first launch, the wait for the last kernel, and the copy of the tokens.
const GPU_OVERHEAD_S: f64 = 1e-4;
/// Assumed: the CUDA context, kernels and library workspaces.
const GPU_RESERVE: Bytes = Bytes(1 << 30);
/// Memory of the preset `cpu`, which has no host to ask.
const CPU_MEMORY: Bytes = Bytes(16 << 30);

/// A named kind of device.
#[derive(Debug)]
pub(super) struct DevicePreset {
    pub(super) name: &'static str,
    /// Other names and the names that CUDA reports, as [`Key`]s.
    aliases: &'static [&'static str],
    hardware: Hardware,
}

#[derive(Debug)]
enum Hardware {
    Cpu,
    Gpu(Gpu),
}

/// Figures of a datasheet.
#[derive(Debug)]
struct Gpu {
    label: &'static str,
    /// The total that the driver reports.
    memory_mib: u64,
    /// Peak memory bandwidth, 10^9 bytes per second.
    gbytes_per_s: f64,
    /// Dense peak rates, 10^12 operations per second. `bf16` is the rate of `f32` on architectures
    /// without bf16.
    tflops: Rates,
    /// The name of the link preset of its slot.
    pcie: &'static str,
    /// The name of the link preset of its NVLink.
    nvlink: Option<&'static str>,
}

/// A named kind of link.
#[derive(Debug)]
pub(super) struct LinkPreset {
    pub(super) name: &'static str,
    aliases: &'static [&'static str],
    /// Peak bandwidth in one direction, 10^9 bytes per second.
    gbytes_per_s: f64,
    /// How often the bytes are copied, one copy after another.
    num_copies: f64,
    latency_s: f64,
    route: Route,
    overlaps: bool,
}

impl DevicePreset {
    /// Finds the preset with this name, however it is written: `RTX 4090`, `rtx-4090`, `NVIDIA L4`.
    pub(super) fn find(name: &str) -> Result<&'static Self, Nearest> {
        let key = Key::of_device(name);
        let is_named = |it: &&Self| key.is(it.name) || it.aliases.iter().any(|name| key.is(name));
        devices::DEVICES.iter().find(is_named).ok_or_else(|| key.nearest(&names(devices::DEVICES)))
    }

    /// Makes the device `id` of this kind.
    pub(super) fn device(&self, id: DeviceId) -> ClusterDevice {
        let gpu = match &self.hardware {
            Hardware::Cpu => return ClusterDevice { id, ..ClusterDevice::cpu(0, CPU_MEMORY) },
            Hardware::Gpu(gpu) => gpu,
        };
        let rate = |tflops: f64| tflops * 1e12 * OF_RATE_PEAK;
        let Rates { f32, f16, bf16 } = gpu.tflops;
        ClusterDevice {
            id,
            name: gpu.label.to_owned(),
            memory: Bytes(gpu.memory_mib << 20),
            reserve: GPU_RESERVE,
            bytes_per_s: gpu.gbytes_per_s * 1e9 * OF_MEMORY_PEAK,
            flops_per_s: Rates { f32: rate(f32), f16: rate(f16), bf16: rate(bf16) },
            overhead_s: GPU_OVERHEAD_S,
            // One copy over the slot; a transfer to another card would take two.
            host_bytes_per_s: self.pcie().map(LinkPreset::bytes_per_s_of_one_copy),
            alone: 1.0,
            priority: 0,
            is_spare: false,
            price_per_hour: None,
        }
    }

    pub(super) fn is_cpu(&self) -> bool {
        matches!(self.hardware, Hardware::Cpu)
    }

    /// Returns the id of a device of this kind.
    pub(super) fn id(&self, ordinal: u32) -> DeviceId {
        if self.is_cpu() { DeviceId::Cpu(ordinal) } else { DeviceId::Cuda(ordinal) }
    }

    /// Returns the link through the host between two such cards.
    pub(super) fn pcie(&self) -> Option<&'static LinkPreset> {
        match &self.hardware {
            Hardware::Cpu => None,
            Hardware::Gpu(gpu) => LinkPreset::find(gpu.pcie).ok(),
        }
    }

    /// Returns the NVLink between two such cards.
    pub(super) fn nvlink(&self) -> Option<&'static LinkPreset> {
        match &self.hardware {
            Hardware::Cpu => None,
            Hardware::Gpu(gpu) => LinkPreset::find(gpu.nvlink?).ok(),
        }
    }
}

impl LinkPreset {
    /// Finds the preset with this name, however it is written: `NVLink 4`, `100 GbE`.
    pub(super) fn find(name: &str) -> Result<&'static Self, Nearest> {
        let key = Key::of(name);
        let is_named = |it: &&Self| key.is(it.name) || it.aliases.iter().any(|name| key.is(name));
        let known: Vec<_> = links::LINKS.iter().map(|it| it.name).collect();
        links::LINKS.iter().find(is_named).ok_or_else(|| key.nearest(&known))
    }

    pub(super) fn figures(&self) -> LinkFigures {
        LinkFigures {
            latency_s: self.latency_s,
            bytes_per_s: self.bytes_per_s_of_one_copy() / self.num_copies,
            route: self.route,
            overlaps: self.overlaps,
        }
    }

    fn bytes_per_s_of_one_copy(&self) -> f64 {
        self.gbytes_per_s * 1e9 * OF_LINK_PEAK
    }
}

impl ClusterDevice {
    /// Makes a device of a known kind, such as `h100` or `RTX 4090`, or by the name that CUDA
    /// reports (`NVIDIA A100-SXM4-80GB`).
    pub fn preset(name: &str, id: DeviceId) -> Option<Self> {
        DevicePreset::find(name).ok().map(|preset| preset.device(id))
    }

    /// Returns the names of all known kinds.
    pub fn presets() -> Vec<&'static str> {
        names(devices::DEVICES)
    }
}

impl LinkFigures {
    /// Makes a link of a known kind: `nvlink4`, `PCIe 4`, `100GbE`.
    pub fn preset(name: &str) -> Option<Self> {
        LinkPreset::find(name).ok().map(LinkPreset::figures)
    }

    /// Returns the names of all known kinds.
    pub fn presets() -> Vec<&'static str> {
        links::LINKS.iter().map(|preset| preset.name).collect()
    }

    /// Makes a link from the memory of one card to that of another, by its peak in one direction.
    pub fn direct(peak_bytes_per_s: f64) -> Self {
        links::peer(peak_bytes_per_s / 1e9).figures()
    }

    /// Makes a link of two copies, from a card to host memory and on to another card, by the peak
    /// of the slower slot in one direction.
    pub fn through_host(peak_bytes_per_s: f64) -> Self {
        links::through_host(peak_bytes_per_s / 1e9).figures()
    }

    /// Returns the bytes per second of one copy over a slot with this peak.
    pub fn of_slot(peak_bytes_per_s: f64) -> f64 {
        links::peer(peak_bytes_per_s / 1e9).bytes_per_s_of_one_copy()
    }
}

fn names(presets: &'static [DevicePreset]) -> Vec<&'static str> {
    presets.iter().map(|preset| preset.name).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_read_however_they_are_written() {
        #[track_caller]
        fn check(name: &str, want: &str) {
            let found = DevicePreset::find(name).map(|preset| preset.name);
            assert_eq!(found.ok(), Some(want), "{name}");
        }
        check("h100", "h100");
        check("H100 SXM", "h100");
        check("NVIDIA H100 80GB HBM3", "h100");
        check("NVIDIA H100 PCIe", "h100-pcie");
        check("NVIDIA H100 NVL", "h100-nvl");
        check("NVIDIA A100-SXM4-40GB", "a100-40");
        check("A100 80GB PCIe", "a100-80");
        check("a100", "a100-80");
        check("NVIDIA GeForce RTX 4090", "rtx4090");
        check("rtx_3090", "rtx3090");
        check("Tesla V100-SXM2-32GB", "v100-32");
        check("Tesla T4", "t4");
        check("NVIDIA RTX A6000", "a6000");
        check("NVIDIA RTX 6000 Ada Generation", "rtx6000ada");
        check("CPU", "cpu");
        assert_eq!(LinkPreset::find("NVLink 4").map(|it| it.name).ok(), Some("nvlink4"));
        assert_eq!(LinkPreset::find("PCIe Gen 4").map(|it| it.name).ok(), Some("pcie4"));
        assert_eq!(LinkPreset::find("IB NDR").map(|it| it.name).ok(), Some("ib-ndr"));
    }

    #[test]
    fn links_by_their_peak_are_those_of_presets() {
        let preset = |name| LinkFigures::preset(name).unwrap();
        assert_eq!(LinkFigures::direct(450e9), preset("nvlink4"));
        assert_eq!(LinkFigures::direct(31.5e9), preset("pcie4-peer"));
        assert_eq!(LinkFigures::through_host(31.5e9), preset("pcie4"));
        let of_card = ClusterDevice::preset("rtx4090", DeviceId::Cuda(0)).unwrap().host_bytes_per_s;
        assert_eq!(Some(LinkFigures::of_slot(31.5e9)), of_card);
    }

    #[test]
    fn every_name_means_one_thing_and_every_preset_makes_a_cluster() {
        let mut seen = BTreeSet::new();
        for preset in devices::DEVICES {
            let names = preset.aliases.iter().chain([&preset.name]);
            for name in names {
                assert!(seen.insert(*name), "{name} is listed twice");
                let found = DevicePreset::find(name).map(|it| it.name);
                assert_eq!(found.ok(), Some(preset.name), "{name}");
            }
            let cluster = super::super::Cluster::of(vec![preset.device(preset.id(0))]);
            assert_eq!(cluster.check(), Ok(()), "{}", preset.name);
            if let Hardware::Gpu(gpu) = &preset.hardware {
                assert!(preset.pcie().is_some(), "{}", preset.name);
                assert_eq!(preset.nvlink().is_some(), gpu.nvlink.is_some(), "{}", preset.name);
                let Rates { f32, f16, bf16 } = gpu.tflops;
                assert!(f16 >= f32 && bf16 >= f32, "{}", preset.name);
            }
        }
        for preset in links::LINKS {
            for name in preset.aliases.iter().chain([&preset.name]) {
                assert!(seen.insert(*name), "{name} is listed twice");
                let found = LinkPreset::find(name).map(|it| it.name);
                assert_eq!(found.ok(), Some(preset.name), "{name}");
            }
        }
    }
}
