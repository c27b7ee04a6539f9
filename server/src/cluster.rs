//! The devices of a plan: those of this machine, or a description of others.

use std::path::Path;

use anyhow::anyhow;
use sluicegate::device::{
    self, DeviceSelector,
    discover::{self, FoundDevice},
};
use sluicegate_placement::{Cluster, Objective};

use crate::{
    bounded,
    cli::{ModelArgs, TaskArgs},
    error::CliError,
    layers::StageLayers,
};

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
    Ok(device::cluster(&select(selection)?, objective))
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
}
