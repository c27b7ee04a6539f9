//! What the list says, before it is written.

use serde::Serialize;
use sluicegate::device::{
    Inventory,
    calibrate::processor,
    discover,
    gpu::{
        facts::{GpuFacts, MigInstance},
        topology::{self, GpuLink},
    },
    inventory::ListedGpu,
};
use sluicegate_placement::Cluster;
use sluicegate_spec::{device::DeviceId, units::Bytes};

/// The devices of a machine.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The release of NVIDIA's driver.
    pub(super) driver: Option<String>,
    pub(super) gpus: Vec<GpuReport>,
    /// GPUs that CUDA does not show.
    pub(super) hidden: Vec<GpuFacts>,
    pub(super) host: HostReport,
    pub(super) links: Vec<LinkReport>,
    pub(super) notes: Vec<String>,
}

/// A GPU, or an instance of one that is divided.
#[derive(Debug, Serialize)]
pub(super) struct GpuReport {
    pub(super) id: DeviceId,
    pub(super) name: String,
    pub(super) memory: Option<Bytes>,
    pub(super) free: Option<Bytes>,
    /// Major and minor compute capability.
    pub(super) capability: Option<(u32, u32)>,
    /// Why this build cannot run on it; none if it can.
    pub(super) refused: Option<String>,
    pub(super) instance: Option<MigInstance>,
    /// Of the whole GPU.
    pub(super) facts: Option<GpuFacts>,
}

/// The processor and its memory.
#[derive(Debug, Serialize)]
pub(super) struct HostReport {
    pub(super) processor: String,
    pub(super) cores: usize,
    pub(super) memory: Bytes,
    pub(super) free: Bytes,
    /// The number of logical CPU devices that share it.
    pub(super) cpu_devices: u32,
}

/// The best way between two GPUs, the same in both directions.
#[derive(Debug, Serialize)]
pub(super) struct LinkReport {
    pub(super) devices: (DeviceId, DeviceId),
    #[serde(flatten)]
    pub(super) link: GpuLink,
}

/// The report with the description that `plan --cluster` reads as TOML.
#[derive(Debug, Serialize)]
pub(super) struct Described<'a> {
    #[serde(flatten)]
    report: &'a Report,
    cluster: &'a Cluster,
}

impl Report {
    /// Collects what is known of this machine.
    pub(super) fn new(inventory: &Inventory, cpu_devices: u32) -> Self {
        let (memory, free) = discover::host_memory();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let host = HostReport { processor: processor(), cores, memory, free, cpu_devices };
        Self::of(inventory, host)
    }

    /// Collects what is known of the GPUs.
    pub(super) fn of(inventory: &Inventory, host: HostReport) -> Self {
        let links = links(inventory);
        Self {
            driver: inventory.machine.driver.clone(),
            gpus: inventory.gpus.iter().map(|gpu| gpu_report(inventory, gpu)).collect(),
            hidden: inventory.hidden().into_iter().cloned().collect(),
            host,
            links,
            notes: inventory.notes.clone(),
        }
    }

    pub(super) fn with_cluster<'a>(&'a self, cluster: &'a Cluster) -> Described<'a> {
        Described { report: self, cluster }
    }
}

fn gpu_report(inventory: &Inventory, gpu: &ListedGpu) -> GpuReport {
    GpuReport {
        id: gpu.id,
        name: gpu.name.clone(),
        memory: gpu.total,
        free: gpu.free,
        capability: gpu.capability,
        refused: gpu.refused.clone(),
        instance: inventory.instance(gpu).cloned(),
        facts: inventory.facts(gpu).cloned(),
    }
}

/// Lists the links of all pairs of which enough is known.
fn links(inventory: &Inventory) -> Vec<LinkReport> {
    let gpus = &inventory.gpus;
    let pairs = gpus
        .iter()
        .enumerate()
        .flat_map(|(index, first)| gpus[index + 1..].iter().map(move |second| (first, second)));
    let link = |(first, second): (&ListedGpu, &ListedGpu)| {
        let (from, to) = (first.facts?.gpu, second.facts?.gpu);
        let link = topology::link(&inventory.machine, from, to)?;
        Some(LinkReport { devices: (first.id, second.id), link })
    };
    pairs.filter_map(link).collect()
}
