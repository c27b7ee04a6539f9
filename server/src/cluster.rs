//! The devices of a plan: those of this machine, or a description of others.

use std::path::Path;

use anyhow::anyhow;
use sluicegate::device::{
    DeviceSelector,
    calibrate::CpuSpeed,
    discover::{self, FoundDevice},
};
use sluicegate_placement::{Cluster, ClusterDevice, LinkFigures, Objective, Rates};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use crate::{
    bounded,
    cli::{ModelArgs, TaskArgs},
    error::CliError,
    layers::StageLayers,
    speed,
};

/// Memory speed, rate and launch cost of a present-day accelerator: stand-ins until they are
/// measured.
const CUDA_BYTES_PER_S: f64 = 1e12;
const CUDA_FLOPS_PER_S: f64 = 5e13;
const CUDA_OVERHEAD_S: f64 = 1e-4;
/// What context, kernels and library workspaces take on a CUDA device.
const CUDA_RESERVE: Bytes = Bytes(1 << 30);

/// A transfer between logical CPU devices: a copy within one memory and a wake-up of a thread.
const CPU_LINK_LATENCY_S: f64 = 2e-5;

/// Which devices of this machine are to be used.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    selector: DeviceSelector,
    /// Logical CPU devices that this machine shows.
    cpu_devices: u32,
    /// The argument that says so.
    place: &'static str,
}

impl Selection {
    /// What `--device`, `--cpu-devices` and `--layers` say together.
    fn new(
        device: Option<&DeviceSelector>,
        cpu_devices: Option<u32>,
        layers: Option<&StageLayers>,
    ) -> Self {
        let implied = layers.map_or(1, |layers| layers.num_cpu_devices().max(1));
        let (place, selector) = match (device, layers) {
            (Some(selector), _) => ("--device", selector.clone()),
            (None, Some(layers)) => ("--layers", DeviceSelector::List(layers.devices())),
            (None, None) => ("--device", DeviceSelector::Auto),
        };
        Self { selector, cpu_devices: cpu_devices.unwrap_or(implied), place }
    }

    /// Those of this machine that a selector names.
    pub(crate) fn of_machine(device: Option<&DeviceSelector>, cpu_devices: u32) -> Self {
        Self::new(device, Some(cpu_devices), None)
    }

    /// The devices of a plan, each once; logical CPU devices exist as far as they are named.
    pub(crate) fn of_plan(stages: &StageLayers, cpu_devices: Option<u32>) -> Self {
        Self { place: "--plan", ..Self::new(None, cpu_devices, Some(stages)) }
    }
}

impl From<&ModelArgs> for Selection {
    fn from(args: &ModelArgs) -> Self {
        Self::new(args.device.as_ref(), args.cpu_devices, args.layers.as_ref())
    }
}

/// The devices of this machine that the arguments select, as fast as they were found to be.
///
/// # Errors
/// If a device is not there.
pub(crate) fn live(selection: &Selection, objective: Objective) -> Result<Cluster, CliError> {
    let devices = select(selection)?;
    let num_cpus = devices.iter().filter(|it| matches!(it.id, DeviceId::Cpu(_))).count();
    let speed = if num_cpus > 0 { speed::cpu() } else { None };
    let device = |found: FoundDevice| match (found.id, speed) {
        (DeviceId::Cpu(index), Some(speed)) => {
            cpu(index, found.memory, speed, (num_cpus, objective))
        }
        (DeviceId::Cpu(index), None) => ClusterDevice::cpu(index, found.memory),
        (DeviceId::Host | DeviceId::Cuda(_), _) => ClusterDevice {
            id: found.id,
            reserve: CUDA_RESERVE,
            bytes_per_s: CUDA_BYTES_PER_S,
            flops_per_s: Rates::uniform(CUDA_FLOPS_PER_S),
            overhead_s: CUDA_OVERHEAD_S,
            ..ClusterDevice::cpu(0, found.memory)
        },
    };
    let links = speed.map_or_else(LinkFigures::default, |speed| LinkFigures {
        latency_s: CPU_LINK_LATENCY_S,
        bytes_per_s: speed.bytes_per_s,
        ..LinkFigures::default()
    });
    let cluster = Cluster::of(devices.into_iter().map(device).collect());
    Ok(if num_cpus > 0 { Cluster { unlisted: links, ..cluster } } else { cluster })
}

/// A logical CPU device.
///
/// For throughput a device is a core beside those that work for the other devices, and gets its part of
/// what all of them do. A single sequence is on one device at a time: there it has a core, or its part
/// of one where there are fewer cores than devices, and all cores if it stays on one device.
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

/// The devices to be used.
///
/// # Errors
/// If a device is not there.
pub(crate) fn select(selection: &Selection) -> Result<Vec<FoundDevice>, CliError> {
    let found = discover::discover(&selection.selector, selection.cpu_devices);
    let found = found.map_err(|error| CliError::usage_at(selection.place, error))?;
    for reason in &found.left_out {
        tracing::warn!("a GPU is not used: {reason}");
    }
    Ok(found.devices)
}

/// The devices that a plan is for.
///
/// # Errors
/// If the description is none, or a device is not there.
pub(crate) fn of_task(
    args: &TaskArgs,
    layers: Option<&StageLayers>,
    objective: Objective,
) -> Result<Cluster, CliError> {
    let Some(described) = &args.cluster else {
        let selection = Selection::new(args.device.as_ref(), args.cpu_devices, layers);
        return live(&selection, objective);
    };
    let named = |error: anyhow::Error| CliError::usage_at("--cluster", error);
    let path = Path::new(described);
    let is_path = path.extension().is_some_and(|it| it == "toml") || path.is_file();
    if !is_path {
        return Cluster::parse_spec(described).map_err(|error| named(error.into()));
    }
    let text = read(path).map_err(|error| named(error.context(described.clone())))?;
    Cluster::parse_toml(&text, described).map_err(|error| named(error.into()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let limit = Cluster::MAX_FILE_BYTES;
    let text = bounded::read_text(path, limit as u64)?;
    text.ok_or_else(|| anyhow!("wanted a file of at most {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use sluicegate::device::calibrate::Apart;

    use super::*;
    use crate::cli::parse_generate;

    #[track_caller]
    fn check_devices(given: &[&str], want: &str) {
        let got = match select(&(&parse_generate(given).model).into()) {
            Ok(devices) => devices.iter().map(|it| it.id.to_string()).collect::<Vec<_>>().join(" "),
            Err(CliError::Usage(error)) => format!("usage: {error:#}"),
            Err(other) => format!("{other:?}"),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn layers_imply_their_devices() {
        check_devices(&["--device", "cpu"], "cpu:0");
        check_devices(&["--device", "cpu", "--cpu-devices", "3"], "cpu:0 cpu:1 cpu:2");
        check_devices(&["--layers", "cpu:2=0..1,cpu:0=1..2"], "cpu:2 cpu:0");
        let hint = "found cpu:0; --cpu-devices N shows more logical CPU devices";
        let given = ["--layers", "cpu:1=0..2", "--cpu-devices", "1"];
        check_devices(&given, &format!("usage: --layers: cpu:1 is not there; {hint}"));
        check_devices(
            &["--device", "cpu:1"],
            &format!("usage: --device: cpu:1 is not there; {hint}"),
        );
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
