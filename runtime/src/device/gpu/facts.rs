//! Facts about GPUs, as plain data.

use std::fmt;

use serde::{Serialize, Serializer};
use sluicegate_spec::units::Bytes;

/// All GPUs that the driver shows to this process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MachineFacts {
    /// The release of the driver, such as `580.65.06`.
    pub driver: Option<String>,
    /// In the order of their addresses.
    pub gpus: Vec<GpuFacts>,
    /// How any two of them are connected.
    pub pairs: Vec<PairFacts>,
    /// GPUs that did not answer, each with the reason in a line.
    pub unread: Vec<String>,
}

/// One GPU. `None` stands for what the driver does not say of this kind of GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuFacts {
    /// `GPU-` and a UUID.
    pub uuid: String,
    pub name: String,
    pub address: PciAddress,
    pub memory: Option<MemoryFacts>,
    /// Major and minor compute capability.
    pub capability: Option<(u32, u32)>,
    pub pcie: Option<PcieFacts>,
    /// Those of its links by NVLink that are up.
    pub nvlinks: Vec<NvlinkFacts>,
    /// Processes that use it, without this one.
    pub processes: Vec<GpuProcess>,
    /// The instances into which it is divided; none if it is not (MIG).
    pub mig: Option<Vec<MigInstance>>,
    /// The share of the last second in which a kernel ran.
    pub busy_percent: Option<u32>,
}

/// Where a GPU or a switch is: ordered as the system orders its buses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}:{:02x}:{:02x}.0", self.domain, self.bus, self.device)
    }
}

impl Serialize for PciAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The memory of a GPU or of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryFacts {
    pub total: Bytes,
    pub free: Bytes,
}

impl MemoryFacts {
    /// Returns what is not free, whoever has it.
    pub fn used(self) -> Bytes {
        Bytes(self.total.0.saturating_sub(self.free.0))
    }
}

/// The slot of a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PcieFacts {
    /// Now: an idle GPU lowers it.
    pub generation: u32,
    /// Lanes.
    pub width: u32,
    /// The highest that card and slot have in common.
    pub max_generation: u32,
    pub max_width: u32,
}

/// An NVLink that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NvlinkFacts {
    /// As NVML numbers versions: 2 is NVLink 2.0, and 6 is 4.0. An H100 may give that of 5.0.
    pub version: Option<u32>,
    pub remote: NvlinkRemote,
}

/// What is at the other end of an NVLink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NvlinkRemote {
    /// Another GPU.
    Gpu(PciAddress),
    /// A switch, which leads to all GPUs that are linked to one.
    Switch,
    /// A processor, or something that the driver does not name.
    Other,
}

/// A process that uses a GPU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GpuProcess {
    pub pid: u32,
    /// The file of the program, where this user may know it.
    pub name: Option<String>,
    pub memory: Option<Bytes>,
}

/// A part of a GPU that CUDA shows as a device of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigInstance {
    /// `MIG-` and a UUID.
    pub uuid: String,
    pub name: String,
    pub gpu_instance: Option<u32>,
    pub compute_instance: Option<u32>,
    pub memory: Option<MemoryFacts>,
}

/// How two GPUs are connected, by their indices in [`MachineFacts::gpus`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PairFacts {
    pub first: usize,
    pub second: usize,
    /// Where their ways to the processor meet.
    pub ancestor: Option<Ancestor>,
    /// Whether the driver says that one can read the other's memory.
    pub is_peer: Option<bool>,
}

/// Where the ways of two GPUs to the processor meet, from near to far.
///
/// Source: `nvmlGpuTopologyLevel_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ancestor {
    /// On one board.
    Board,
    /// At one PCIe switch.
    Switch,
    /// At one of several PCIe switches, before the processor.
    Switches,
    /// At the processor's bridge to PCIe.
    HostBridge,
    /// Between bridges of one NUMA node.
    Node,
    /// Between NUMA nodes.
    System,
}
