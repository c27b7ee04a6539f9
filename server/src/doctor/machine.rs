//! Describes the machine and its devices.

use std::io::Write;

use sluicegate::device::{
    calibrate::processor,
    discover,
    driver::{self, Driver, Gpu},
};
use sluicegate_spec::{device::DeviceId, units::Bytes};

use super::Report;
use crate::{counted::counted, error::CliError};

pub(super) fn describe<W: Write>(report: &mut Report<W>) -> Result<(), CliError> {
    let kernels = driver::built_for().join(", ");
    let build = match &kernels[..] {
        "" => "built without CUDA".to_owned(),
        kernels => format!("built with CUDA ({kernels})"),
    };
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    report.say("program", &format!("sluicegate {}, {build}", version()))?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = counted(cores, "core");
    report.say("processor", &format!("{}, {cores}, {arch} {os}", processor()))?;
    let (total, free) = discover::host_memory();
    report.say("memory", &format!("{total}, {free} free"))?;
    // If there is no driver, the next line explains it.
    if let Ok(Driver { cuda: (major, minor), libraries }) = driver::driver() {
        let found: Vec<String> = libraries.iter().map(|it| it.display().to_string()).collect();
        report.say("driver", &format!("for CUDA {major}.{minor}; {}", found.join(", ")))?;
    }
    match driver::gpus() {
        Ok(gpus) if gpus.is_empty() => report.say("gpus", "none: the driver shows none"),
        Ok(gpus) => gpus.iter().try_for_each(|gpu| describe_gpu(gpu, report)),
        Err(reason) => report.say("gpus", &format!("none: {reason}")),
    }
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn describe_gpu<W: Write>(gpu: &Gpu, report: &mut Report<W>) -> Result<(), CliError> {
    let Gpu { id, name, memory, capability: (major, minor), refused, .. } = gpu;
    let text = format!("{name}, {memory}, compute capability {major}.{minor}");
    match refused {
        None => report.say(&id.to_string(), &text),
        Some(reason) => report.say(&id.to_string(), &format!("{text}; not usable: {reason}")),
    }
}

/// Describes the link from each device to the next.
pub(super) fn describe_links<W: Write>(
    devices: &[DeviceId],
    report: &mut Report<W>,
) -> Result<(), CliError> {
    for pair in devices.windows(2) {
        let (source, target) = (pair[0], pair[1]);
        let peers = match driver::can_be_peers(source, target) {
            Ok(true) => ", each can reach the other's memory".to_owned(),
            Ok(false) => " through host memory".to_owned(),
            Err(reason) => format!("; whether one reaches the other's memory is unknown: {reason}"),
        };
        report.say("link", &format!("{source} to {target}{peers}"))?;
    }
    Ok(())
}

/// Compares planned and used memory.
pub(super) fn difference(planned: Bytes, held: Bytes) -> String {
    let percent = (held.0 as f64 / planned.0.max(1) as f64 - 1.0) * 100.0;
    format!("planned {planned}, held {held} ({percent:+.1} %)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_in_percent_of_the_plan() {
        let (planned, held) = (Bytes(1000 << 20), Bytes(990 << 20));
        assert_eq!(difference(planned, held), "planned 1000.0 MiB, held 990.0 MiB (-1.0 %)");
        assert_eq!(difference(Bytes(0), Bytes(0)), "planned 0 B, held 0 B (-100.0 %)");
    }
}
