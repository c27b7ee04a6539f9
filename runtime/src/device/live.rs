//! The devices of this machine as a plan sees them.

use sluicegate_placement::{
    Cluster, ClusterDevice, ClusterLink, LinkFigures, Objective, Rates, Route,
};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{
    calibrate::CpuSpeed,
    discover::{Discovery, FoundDevice, logical_cpus},
    gpu::{
        facts::MachineFacts,
        topology::{self, GpuLink},
    },
    inventory::{Inventory, ListedGpu},
    speed,
};

/// Memory speed, rate and launch cost of a present-day accelerator: stand-ins for a GPU of a kind
/// that no preset knows, until they are measured.
const CUDA_BYTES_PER_S: f64 = 1e12;
const CUDA_FLOPS_PER_S: f64 = 5e13;
const CUDA_OVERHEAD_S: f64 = 1e-4;
/// What context, kernels and library workspaces take on a CUDA device, but of a small one no more
/// than a quarter.
const CUDA_RESERVE: Bytes = Bytes(1 << 30);

/// A transfer between logical CPU devices: a copy within one memory and a wake-up of a thread.
const CPU_LINK_LATENCY_S: f64 = 2e-5;

/// How hidden values go from GPU to GPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Routes {
    /// From memory to memory where NVML says that the machine can, else through the host.
    #[default]
    Best,
    /// From memory to memory, whatever NVML says: the driver may go through the host itself.
    Peer,
    /// From memory to memory by NCCL.
    Nccl,
    /// Through the host's memory.
    Host,
}

/// Devices that were found, as fast as they are and as this runtime links them. The processor is
/// measured, unless it was of late; GPUs have the figures of their kind and of their slots.
pub fn cluster(found: &Discovery, objective: Objective, routes: Routes) -> Cluster {
    of(&found.devices, &found.gpus, objective, routes)
}

/// Describes a machine: all GPUs that CUDA shows, whether or not this build can use them, with the
/// best links that there are; the logical CPU devices if there is no GPU.
pub fn described(gpus: &Inventory, num_cpu: u32) -> Cluster {
    let found = |gpu: &ListedGpu| {
        Some(FoundDevice { id: gpu.id, memory: gpu.free.or(gpu.total)?, is_spare: false })
    };
    let mut devices: Vec<FoundDevice> = gpus.gpus.iter().filter_map(found).collect();
    if devices.is_empty() {
        devices.extend(logical_cpus(num_cpu));
    }
    of(&devices, gpus, Objective::Throughput, Routes::Best)
}

fn of(devices: &[FoundDevice], gpus: &Inventory, objective: Objective, routes: Routes) -> Cluster {
    let num_cpus = devices.iter().filter(|it| matches!(it.id, DeviceId::Cpu(_))).count();
    let speed = if num_cpus > 0 { speed::cpu() } else { None };
    let device = |found: &FoundDevice| match (found.id, speed) {
        (DeviceId::Cpu(index), Some(speed)) => {
            cpu(index, found.memory, speed, (num_cpus, objective))
        }
        (DeviceId::Cpu(index), None) => ClusterDevice::cpu(index, found.memory),
        (DeviceId::Host | DeviceId::Cuda(_), _) => gpu(*found, gpus),
    };
    let device = |found: &FoundDevice| ClusterDevice { is_spare: found.is_spare, ..device(found) };
    let cluster = Cluster {
        links: links(devices, gpus, routes),
        ..Cluster::of(devices.iter().map(device).collect())
    };
    if num_cpus < devices.len() {
        return cluster;
    }
    let unlisted = speed.map_or_else(LinkFigures::default, |speed| LinkFigures {
        latency_s: CPU_LINK_LATENCY_S,
        bytes_per_s: speed.bytes_per_s,
        ..LinkFigures::default()
    });
    Cluster { unlisted, ..cluster }
}

/// A GPU with the figures of its kind. An instance has the same part of its GPU's speeds as of its
/// memory.
fn gpu(found: FoundDevice, gpus: &Inventory) -> ClusterDevice {
    let listed = gpus.get(found.id);
    let facts = listed.and_then(|it| gpus.facts(it));
    let name = facts.map(|it| &it.name).or(listed.map(|it| &it.name));
    let of_kind = name.and_then(|name| ClusterDevice::preset(name, found.id));
    let of_kind = of_kind.unwrap_or_else(|| ClusterDevice {
        id: found.id,
        name: name.cloned().unwrap_or_default(),
        reserve: CUDA_RESERVE,
        bytes_per_s: CUDA_BYTES_PER_S,
        flops_per_s: Rates::uniform(CUDA_FLOPS_PER_S),
        overhead_s: CUDA_OVERHEAD_S,
        ..ClusterDevice::cpu(0, found.memory)
    });
    let instance = listed.and_then(|it| gpus.instance(it)).and_then(|it| it.memory);
    let part = match (instance, facts.and_then(|it| it.memory)) {
        (Some(part), Some(whole)) if part.total < whole.total => {
            part.total.0 as f64 / whole.total.0 as f64
        }
        _ => 1.0,
    };
    let Rates { f32, f16, bf16 } = of_kind.flops_per_s;
    let slot = facts.and_then(|it| it.pcie).map(topology::pcie_bytes_per_s);
    ClusterDevice {
        memory: found.memory,
        reserve: of_kind.reserve.min(Bytes(found.memory.0 / 4)),
        bytes_per_s: of_kind.bytes_per_s * part,
        flops_per_s: Rates { f32: f32 * part, f16: f16 * part, bf16: bf16 * part },
        host_bytes_per_s: slot.map(LinkFigures::of_slot).or(of_kind.host_bytes_per_s),
        ..of_kind
    }
}

/// The links between GPUs of which enough is known, from each to all others in turn.
fn links(devices: &[FoundDevice], gpus: &Inventory, routes: Routes) -> Vec<ClusterLink> {
    let index = |id| gpus.get(id)?.facts.map(|it| it.gpu);
    let link = |source: DeviceId, target: DeviceId| {
        let between = |way: fn(&MachineFacts, usize, usize) -> Option<GpuLink>| {
            Some(way(&gpus.machine, index(source)?, index(target)?)?.figures())
        };
        let figures = match routes {
            Routes::Best => between(topology::link)?,
            Routes::Host => between(topology::through_host)?,
            Routes::Peer | Routes::Nccl => {
                let are_gpus = [source, target].iter().all(|id| matches!(id, DeviceId::Cuda(_)));
                let known = between(topology::link).unwrap_or_default();
                let route = if routes == Routes::Nccl { Route::Nccl } else { Route::Peer };
                LinkFigures { route, ..are_gpus.then_some(known)? }
            }
        };
        Some(ClusterLink { source, target, figures })
    };
    let ids = || devices.iter().map(|device| device.id);
    let pairs = ids().flat_map(|source| ids().map(move |target| (source, target)));
    let pairs = pairs.filter(|(source, target)| source != target);
    pairs.filter_map(|(source, target)| link(source, target)).collect()
}

/// A logical CPU device.
///
/// For throughput a device is a core beside those that work for the other devices, and gets its
/// part of what all of them do. A single sequence is on one device at a time: there it has a core,
/// or its part of one where there are fewer cores than devices, and all cores if it stays on one
/// device.
fn cpu(
    index: u32,
    memory: Bytes,
    speed: CpuSpeed,
    (num_devices, objective): (usize, Objective),
) -> ClusterDevice {
    let num_cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (num_cores, num_devices) = (num_cores as f64, num_devices as f64);
    let of_core = (num_cores / num_devices).min(1.0);
    // What all cores gain is measured, and what fewer of them do lies between.
    let beside = |gain: f64| {
        let busy = num_devices.min(num_cores);
        let together = 1.0 + (gain - 1.0) * (busy - 1.0) / (num_cores - 1.0).max(1.0);
        together / num_devices
    };
    let (reading, computing, alone) = match objective {
        Objective::Throughput => (beside(speed.apart.reading), beside(speed.apart.computing), 1.0),
        Objective::Latency => (of_core, of_core, (speed.all_threads / of_core).max(1.0)),
    };
    ClusterDevice {
        bytes_per_s: speed.bytes_per_s * reading,
        flops_per_s: Rates::uniform(speed.flops_per_s * computing),
        alone,
        ..ClusterDevice::cpu(index, memory)
    }
}

#[cfg(test)]
mod tests {
    use sluicegate_placement::Route;

    use super::*;
    use crate::device::{
        calibrate::Apart,
        driver::NoCuda,
        gpu::{
            facts::{Ancestor, MachineFacts, MemoryFacts, MigInstance, NvlinkRemote},
            topology::tests::{gpu, machine, nvlinks},
            visible::Variables,
        },
        inventory::tests::shown,
    };

    fn without_cuda(machine: MachineFacts) -> Inventory {
        Inventory::join(Err(NoCuda::NotBuilt), Ok(machine), &Variables::default())
    }

    /// Eight H200s at switches.
    fn eight() -> MachineFacts {
        let mut gpus: Vec<_> = (1..9).map(|bus| gpu("NVIDIA H200", bus, 141)).collect();
        for gpu in &mut gpus {
            gpu.nvlinks = nvlinks(18, NvlinkRemote::Switch);
        }
        machine(gpus, Ancestor::System, true)
    }

    #[test]
    fn known_gpus_have_the_figures_of_their_kind_and_links() {
        let cluster = described(&without_cuda(eight()), 1);
        let want = Cluster::parse_spec("8x h200 nvlink").unwrap();
        assert_eq!(cluster.devices[7].flops_per_s, want.devices[7].flops_per_s);
        let figures = |cluster: &Cluster| cluster.link(DeviceId::Cuda(0), DeviceId::Cuda(7));
        assert_eq!((cluster.links.len(), figures(&cluster)), (56, figures(&want)));
        let text = cluster.to_toml(|_| None);
        assert_eq!(Cluster::parse_toml(&text, "eight.toml").as_ref(), Ok(&cluster));
        assert_eq!(text.matches("[[links]]").count(), 1);
    }

    #[test]
    fn routes_between_gpus_are_the_best_or_those_that_are_asked_for() {
        let machine = eight();
        let driver = (0..).zip(&machine.gpus[..2]).map(|(ordinal, it)| shown(ordinal, it));
        let gpus = Inventory::join(Ok(driver.collect()), Ok(machine), &Variables::default());
        let found = |gpu: &ListedGpu| FoundDevice {
            id: gpu.id,
            memory: gpu.free.unwrap(),
            is_spare: false,
        };
        let devices = gpus.gpus.iter().map(found).collect();
        let found = Discovery { devices, left_out: Vec::new(), gpus };
        let wanted = [
            (Routes::Best, Route::Peer),
            (Routes::Peer, Route::Peer),
            (Routes::Nccl, Route::Nccl),
            (Routes::Host, Route::Host),
        ];
        for (routes, wanted) in wanted {
            let cluster = super::cluster(&found, Objective::Throughput, routes);
            let link = cluster.link(DeviceId::Cuda(1), DeviceId::Cuda(0));
            assert_eq!((cluster.links.len(), link.route), (2, wanted));
            assert_eq!(cluster.devices[0].memory, Bytes(141 << 30));
            assert_eq!(cluster.check(), Ok(()));
        }
    }

    #[test]
    fn unknown_gpus_and_instances_have_figures_too() {
        let whole = Bytes(40 << 30);
        let mut gpus = vec![gpu("NVIDIA A100-SXM4-40GB", 1, 40), gpu("NVIDIA X1", 2, 8)];
        gpus[1].pcie = None;
        let cluster = described(&without_cuda(machine(gpus.clone(), Ancestor::Node, false)), 1);
        assert_eq!((cluster.devices[1].name.as_str(), cluster.links.len()), ("NVIDIA X1", 0));
        assert!((cluster.devices[1].bytes_per_s - CUDA_BYTES_PER_S).abs() < 1.0);

        let memory = MemoryFacts { total: Bytes(whole.0 / 4), free: Bytes(whole.0 / 4) };
        gpus[0].mig = Some(vec![MigInstance {
            uuid: "MIG-1".to_owned(),
            name: "NVIDIA A100-SXM4-40GB MIG 2g.10gb".to_owned(),
            gpu_instance: Some(1),
            compute_instance: Some(0),
            memory: Some(memory),
        }]);
        let of_part = described(&without_cuda(machine(gpus, Ancestor::Node, false)), 1);
        let [part, whole] = [&of_part, &cluster].map(|it| it.devices[0].bytes_per_s);
        assert_eq!((of_part.devices.len(), of_part.devices[0].memory), (1, memory.total));
        assert!((part * 4.0 / whole - 1.0).abs() < 1e-9);
    }

    #[test]
    fn logical_devices_share_the_cores() {
        let apart = Apart { reading: 1.0, computing: 1.0 };
        let speed = CpuSpeed { bytes_per_s: 8e9, flops_per_s: 4e10, all_threads: 1.5, apart };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let many = cpu(0, Bytes(1), speed, (4 * cores, Objective::Latency));
        assert!((many.bytes_per_s - 2e9).abs() < 1.0 && (many.alone - 6.0).abs() < 1e-9);
        let one = cpu(0, Bytes(1), speed, (1, Objective::Throughput));
        assert!((one.bytes_per_s - 8e9).abs() < 1.0 && (one.alone - 1.0).abs() < 1e-9);
        // All cores read no more than one does: each of two devices gets half.
        let two = cpu(0, Bytes(1), speed, (2, Objective::Throughput));
        if cores == 2 {
            assert!((two.bytes_per_s - 4e9).abs() < 1.0);
        }
        let scaling = Apart { reading: cores as f64, computing: cores as f64 };
        let two =
            cpu(0, Bytes(1), CpuSpeed { apart: scaling, ..speed }, (2, Objective::Throughput));
        assert!((two.bytes_per_s - 8e9 * (cores as f64 / 2.0).min(1.0)).abs() < 1.0);
    }
}
