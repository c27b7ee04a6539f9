//! The devices of this machine as a plan sees them.

use sluicegate_placement::{Cluster, ClusterDevice, LinkFigures, Objective, Rates};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::{calibrate::CpuSpeed, discover::FoundDevice, speed};

/// Memory speed, rate and launch cost of a present-day accelerator: stand-ins until they are
/// measured.
const CUDA_BYTES_PER_S: f64 = 1e12;
const CUDA_FLOPS_PER_S: f64 = 5e13;
const CUDA_OVERHEAD_S: f64 = 1e-4;
/// What context, kernels and library workspaces take on a CUDA device, but of a small one no more
/// than a quarter.
const CUDA_RESERVE: Bytes = Bytes(1 << 30);

/// A transfer between logical CPU devices: a copy within one memory and a wake-up of a thread.
const CPU_LINK_LATENCY_S: f64 = 2e-5;

/// Devices that were found, as fast as they are: the processor is measured, unless it was of late.
pub fn cluster(devices: &[FoundDevice], objective: Objective) -> Cluster {
    let num_cpus = devices.iter().filter(|it| matches!(it.id, DeviceId::Cpu(_))).count();
    let speed = if num_cpus > 0 { speed::cpu() } else { None };
    let device = |found: &FoundDevice| match (found.id, speed) {
        (DeviceId::Cpu(index), Some(speed)) => {
            cpu(index, found.memory, speed, (num_cpus, objective))
        }
        (DeviceId::Cpu(index), None) => ClusterDevice::cpu(index, found.memory),
        (DeviceId::Host | DeviceId::Cuda(_), _) => ClusterDevice {
            id: found.id,
            reserve: CUDA_RESERVE.min(Bytes(found.memory.0 / 4)),
            bytes_per_s: CUDA_BYTES_PER_S,
            flops_per_s: Rates::uniform(CUDA_FLOPS_PER_S),
            overhead_s: CUDA_OVERHEAD_S,
            ..ClusterDevice::cpu(0, found.memory)
        },
    };
    let cluster = Cluster::of(devices.iter().map(device).collect());
    if num_cpus == 0 {
        return cluster;
    }
    let unlisted = speed.map_or_else(LinkFigures::default, |speed| LinkFigures {
        latency_s: CPU_LINK_LATENCY_S,
        bytes_per_s: speed.bytes_per_s,
        ..LinkFigures::default()
    });
    Cluster { unlisted, ..cluster }
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
    use super::*;
    use crate::device::calibrate::Apart;

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
