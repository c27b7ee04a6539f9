//! The devices of a plan: those of this machine, or the described ones.

use std::path::Path;

use anyhow::anyhow;
use sluicegate::device::{
    self, DeviceSelector, Routes,
    discover::{self, Discovery},
};
use sluicegate_placement::{Cluster, Objective};

use crate::{
    bounded,
    cli::{ModelArgs, TaskArgs},
    error::CliError,
    layers::StageLayers,
};

/// The devices of this machine to use.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    selector: DeviceSelector,
    /// The number of logical CPU devices of this machine.
    cpu_devices: u32,
    /// The argument that selects the devices.
    argument: &'static str,
}

impl Selection {
    /// Combines `--device`, `--cpu-devices` and `--layers`.
    fn new(
        device: Option<&DeviceSelector>,
        cpu_devices: Option<u32>,
        layers: Option<&StageLayers>,
    ) -> Self {
        let implied = layers.map_or(1, |layers| layers.num_cpu_devices().max(1));
        let (argument, selector) = match (device, layers) {
            (Some(selector), _) => ("--device", selector.clone()),
            (None, Some(layers)) => ("--layers", DeviceSelector::List(layers.devices())),
            (None, None) => ("--device", DeviceSelector::Auto),
        };
        Self { selector, cpu_devices: cpu_devices.unwrap_or(implied), argument }
    }

    /// Selects devices of this machine.
    pub(crate) fn of_machine(device: Option<&DeviceSelector>, cpu_devices: u32) -> Self {
        Self::new(device, Some(cpu_devices), None)
    }

    /// Selects the devices of a plan, each once, with as many logical CPU devices as it names.
    pub(crate) fn of_plan(stages: &StageLayers, cpu_devices: Option<u32>) -> Self {
        Self { argument: "--plan", ..Self::new(None, cpu_devices, Some(stages)) }
    }
}

impl From<&ModelArgs> for Selection {
    fn from(args: &ModelArgs) -> Self {
        Self::new(args.device.as_ref(), args.cpu_devices, args.layers.as_ref())
    }
}

/// Returns the selected devices of this machine, with their measured speeds.
///
/// # Errors
/// A device does not exist.
pub(crate) fn live(
    selection: &Selection,
    objective: Objective,
    routes: Routes,
) -> Result<Cluster, CliError> {
    Ok(device::cluster(&select(selection)?, objective, routes))
}

/// Returns the selected devices.
///
/// # Errors
/// A device does not exist.
pub(crate) fn select(selection: &Selection) -> Result<Discovery, CliError> {
    let found = discover::discover(&selection.selector, selection.cpu_devices);
    let found = found.map_err(|error| CliError::usage_at(selection.argument, error))?;
    for reason in &found.left_out {
        tracing::warn!("a GPU is not used: {reason}");
    }
    Ok(found)
}

/// Returns the devices to plan for.
///
/// # Errors
/// The description is invalid, or a device does not exist.
pub(crate) fn of_task(
    args: &TaskArgs,
    layers: Option<&StageLayers>,
    objective: Objective,
) -> Result<Cluster, CliError> {
    let Some(described) = &args.cluster else {
        let selection = Selection::new(args.device.as_ref(), args.cpu_devices, layers);
        return live(&selection, objective, Routes::default());
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
            Ok(found) => {
                let ids = found.devices.iter().map(|it| it.id.to_string());
                ids.collect::<Vec<_>>().join(" ")
            }
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
